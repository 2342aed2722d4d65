package register

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/carekeep/carekeep/residency"
)

// plain takes from a text what could move the cursor of a terminal or turn the direction of the lines around it.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return ' '
		case unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c):
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

func class(c residency.Class) string {
	switch c {
	case residency.Operational:
		return "no personal data"
	case residency.Deidentified:
		return "records of patients that nobody can tell"
	case residency.Business:
		return "the practice's finances and staff"
	case residency.Demographic:
		return "who the patients are"
	case residency.Clinical:
		return "clinical records without names"
	case residency.Identifiable:
		return "patient records with names"
	}
	return "not classified, so judged as patient records with names"
}

func verdict(v residency.Verdict) string {
	switch v {
	case residency.Allowed:
		return "No rule in this ruleset denies"
	case residency.Denied:
		return "A rule denies"
	}
	return "Not enough is known"
}

// verdictWord is for one step of a decision.
func verdictWord(v residency.Verdict) string {
	switch v {
	case residency.Allowed:
		return "does not deny"
	case residency.Denied:
		return "denies"
	}
	return "not known"
}

func level(l residency.Level) string {
	switch l {
	case residency.Inferred:
		return "told from the address of the service (E1)"
	case residency.Observed:
		return "seen at the provider's interface (E2)"
	case residency.Attested:
		return "seen at the provider's interface, with a contract or attestation on file (E3)"
	}
	return "declared by the operator (E0)"
}

func (v *viewer) keys(c residency.Custody) string {
	s := ""
	switch c.Holder {
	case residency.CustomerHeld:
		s = "You hold the keys; nobody at the provider can decrypt"
	case residency.ThirdPartyHeld:
		s = "A third party holds the keys"
	case residency.ProviderHeld:
		s = "The provider holds the keys and can decrypt"
	default:
		return "Not known who holds the keys"
	}
	if len(c.Places) > 0 {
		s += "; they are in " + v.places(c.Places)
	}
	return s
}

// reach says who can reach a site, or be made to.
func (v *viewer) reach(s Site) string {
	var parts []string
	run := "Run by " + orUnknown(plain(s.Operator))
	if s.Operator == "" && s.Onsite {
		run = "Run by the practice"
	}
	e := s.Target.Exposure
	if e.Operator != "" {
		run += ", established in " + v.place(e.Operator)
	}
	parts = append(parts, run)
	if e.Parent != "" && e.Parent != e.Operator {
		parts = append(parts, "its parent is in "+v.place(e.Parent))
	}
	if len(e.Support) > 0 {
		parts = append(parts, "its staff can reach it from "+v.places(e.Support))
	}
	if !s.Onsite && e.Operator == "" && e.Parent == "" {
		parts = append(parts, "not known who else can be made to hand it over")
	}
	return strings.Join(parts, "; ")
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

// place is the name of a place with its code.
func (v *viewer) place(p residency.Place) string {
	code := plain(string(p))
	if name := plain(v.r.Names[p]); name != "" {
		return name + " (" + code + ")"
	}
	if country := v.r.Names[country(p)]; country != "" {
		return code + ", " + plain(country)
	}
	return code
}

func (v *viewer) places(all []residency.Place) string {
	var names []string
	for _, p := range all {
		names = append(names, v.place(p))
	}
	return list(names)
}

// country is the country that a place lies in.
func country(p residency.Place) residency.Place {
	c, _, _ := strings.Cut(string(p), "-")
	return residency.Place(c)
}

// list joins with commas and "and".
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

func (v *viewer) date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(v.r.At.Location()).Format("2 January 2006")
}

func (v *viewer) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(v.r.At.Location()).Format("2 January 2006, 15:04 MST")
}

func day(d residency.Day) string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d %s %d", d.Day, d.Month, d.Year)
}

// lastDay is the day before an exclusive end.
func lastDay(d residency.Day) string {
	if d.IsZero() {
		return "no end given"
	}
	return day(d.AddDays(-1))
}

// objects is like "12,345 objects, 1.2 GB".
func objects(n, bytes int64) string {
	return count(n, "object") + ", " + size(bytes)
}

// count is like "1 object" or "12,345 objects".
func count(n int64, noun string) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n != 1 {
		noun += "s"
	}
	return digits + " " + noun
}

// size is in decimal units, as disks are sold.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for i, unit := range units {
		if f /= 1000; f < 999.95 || i == len(units)-1 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return ""
}

// unique returns the members once each, in the order of their first occurrence.
func unique[T comparable](all []T) (out []T) {
	for _, v := range all {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
