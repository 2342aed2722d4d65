package localfs

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// These test what only Windows uses, on every system, and so from inside.

func TestWindowsNames(t *testing.T) {
	for _, bad := range []string{"", "CON", "con", "aux.txt", "NUL .x", "COM1", "com0", "LPT9.doc", "COM²", "a.", "a ", "...",
		"x:stream", "C:", "a\\b", "..\\x", "a/b", "wild*", "q?", "<", ">", "|", "\"", "a\x01", "CONIN$", "conout$", "prn.a.b", " ."} {
		require.False(t, windowsName(bad), "%q", bad)
	}
	for _, good := range []string{"a", "console", "COM10", "LPT", "COM", "nul1", "aux-", ".git", "a b", "ä", "\xff", "a.b", "..a", "x;y"} {
		require.True(t, windowsName(good), "%q", good)
	}
}

func TestLinkTargets(t *testing.T) {
	for target, want := range map[string]struct {
		real     string
		relative bool
	}{
		`a\b`:                                   {`a\b`, true},
		`..\..\x`:                               {`..\..\x`, true},
		`\rooted`:                               {`\rooted`, true},
		`C:\x`:                                  {`\??\C:\x`, false},
		`\\server\share\x`:                      {`\??\UNC\server\share\x`, false},
		`\\?\C:\long`:                           {`\??\C:\long`, false},
		"half \xed\xa0\x80 pair and \U0001F600": {"half \xed\xa0\x80 pair and \U0001F600", true},
	} {
		b, ok := linkData(target)
		require.True(t, ok)
		got, ok := linkTarget(b)
		require.True(t, ok)
		require.Equal(t, target, got)
		require.Equal(t, want.relative, b[16] == relativeLink)
		n := binary.LittleEndian.Uint16(b[10:])
		require.Equal(t, want.real, decodeUTF16(b[20:20+n]))
		require.Equal(t, int(binary.LittleEndian.Uint16(b[4:])), len(b)-8)
	}
	b, ok := linkData("with/slash")
	require.True(t, ok)
	got, _ := linkTarget(b)
	require.Equal(t, `with\slash`, got)
	_, ok = linkData(strings.Repeat("x", 9000))
	require.False(t, ok)
}

func FuzzLinkTarget(f *testing.F) {
	for _, s := range []string{"a", `C:\x`, ""} {
		b, _ := linkData(s)
		f.Add(b)
	}
	junction := binary.LittleEndian.AppendUint32(nil, tagJunction)
	junction = append(junction, 12, 0, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0)
	f.Add(append(junction, 'x', 0, 'y', 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		target, ok := linkTarget(b)
		if !ok {
			return
		}
		require.NotEmpty(t, target)
		if again := encodeUTF16(target); utf8.ValidString(target) {
			require.Equal(t, target, decodeUTF16(again))
		}
	})
}
