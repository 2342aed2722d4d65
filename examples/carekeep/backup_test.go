package main

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPartNames: each thing that is backed up gets a name that every system can restore, beside the others.
func TestPartNames(t *testing.T) {
	parts := map[string]fs.FS{}
	for _, c := range []struct{ volume, base, want string }{
		{"C:", `\`, "C"},
		{"D:", `\`, "D"},
		{"", "/", "root"},
		{`\\nas\scans`, `\`, "scans"},
		{`\\?\E:`, `\`, "E"},
		{"C:", "data", "data"},
		{"D:", "Data", "Data-2"},
		{"", "data", "data-3"},
		{`\\other\Scans`, `\`, "Scans-2"},
	} {
		got := partName(parts, c.volume, c.base)
		require.Equal(t, c.want, got)
		parts[got] = nil
	}
}
