package residency

import (
	_ "embed"
	"strings"
)

// codes holds the codes of ISO 3166-1 alpha-2, one a line, each followed by the parts that ISO 3166-2 gives the
// country. They are those of Unicode CLDR 48, without withdrawn ones.
//
//go:embed rules/codes.txt
var codes string

// Valid reports whether p is a code of ISO 3166-1 alpha-2, such as "AU", or of ISO 3166-2, such as "AU-NSW".
// Codes that are withdrawn or reserved, such as "UK", are not valid.
func (p Place) Valid() bool {
	country, part, cut := strings.Cut(string(p), "-")
	if len(country) != 2 || cut && strings.Contains(part, " ") {
		return false
	}
	for line := range strings.Lines(codes) {
		if !strings.HasPrefix(line, country) {
			continue
		}
		return !cut || strings.Contains(strings.TrimSuffix(line[2:], "\n")+" ", " "+part+" ")
	}
	return false
}
