package chunk_test

import (
	"encoding/binary"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/chunk"
)

// page returns the first bytes of a file with some of them set.
func page(set map[int]string) []byte {
	head := make([]byte, chunk.PagesHead)
	for at, s := range set {
		copy(head[at:], s)
	}
	return head
}

const mib = 1 << 20

func TestDetectPages(t *testing.T) {
	sqlite := func(size string) []byte { return page(map[int]string{0: "SQLite format 3\x00" + size}) }
	innodb := map[int]string{24: "\x00\x08", 34: "\x00\x00\x00\x05\x00\x00\x00\x05", 46: "\x00\x00\x00\x06", 54: "\x00\x00\x00\x21"}
	for name, c := range map[string]struct {
		head []byte
		size int64
		unit uint32
	}{
		"sqlite":           {sqlite("\x10\x00"), mib, 16 << 10},
		"sqlite 64K pages": {sqlite("\x00\x01"), mib, 64 << 10},
		"sqlite 32K pages": {sqlite("\x80\x00"), mib, 32 << 10},
		"sqlite at 16 GiB": {sqlite("\x10\x00"), 16 << 30, 16 << 10},
		"sqlite over it":   {sqlite("\x10\x00"), 16<<30 + 1, 64 << 10},
		"sqlite bad page":  {sqlite("\x10\x01"), mib, 0},
		"sqlite page 256":  {sqlite("\x01\x00"), mib, 0},
		"sqlite cut short": {sqlite("\x10\x00")[:17], mib, 0},
		"access 97":        {page(map[int]string{0: "\x00\x01\x00\x00Standard Jet DB\x00"}), mib, 16 << 10},
		"access 2016":      {page(map[int]string{0: "\x00\x01\x00\x00Standard ACE DB\x00"}), mib, 16 << 10},
		"firebird 3":       {page(map[int]string{0: "\x01", 16: "\x00\x20\x0c\x80"}), mib, 16 << 10},
		"firebird 4 32K":   {page(map[int]string{0: "\x01", 16: "\x00\x80\x0d\x80"}), mib, 32 << 10},
		"firebird no flag": {page(map[int]string{0: "\x01", 16: "\x00\x20\x0c\x00"}), mib, 0},
		"innodb":           {page(innodb), mib, 16 << 10},
		"innodb truncated": {page(innodb), 1024, 0},
		"innodb 64K":       {page(with(innodb, 54, "\x00\x00\x01\xe1")), mib, 64 << 10},
		"innodb crc32 16K": {page(with(innodb, 54, "\x00\x00\x00\x15")), mib, 16 << 10},
		"innodb other id":  {page(with(innodb, 34, "\x00\x00\x00\x05\x00\x00\x00\x06")), mib, 0},
		"mdf":              {page(map[int]string{0: "\x01\x0f", 36: "\x01\x00"}), 8 * mib, 16 << 10},
		"mdf odd size":     {page(map[int]string{0: "\x01\x0f", 36: "\x01\x00"}), 8*mib + 1, 0},
		"ese":              {page(map[int]string{4: "\xef\xcd\xab\x89", 236: "\x00\x80\x00\x00"}), mib, 32 << 10},
		"postgres":         {page(map[int]string{12: "\x40\x00\x00\x10\x00\x20\x04\x20"}), mib, 16 << 10},
		"postgres crossed": {page(map[int]string{12: "\x00\x18\x00\x10\x00\x20\x04\x20"}), mib, 0},
		"zeros":            {page(nil), mib, 0},
		"empty":            {nil, 0, 0},
		"text":             {recordText(chunk.PagesHead, 1), mib, 0},
		"dicom":            {page(map[int]string{128: "DICM"}), mib, 0},
		"pdf":              {page(map[int]string{0: "%PDF-1.7\n"}), mib, 0},
	} {
		unit, ok := chunk.DetectPages(c.head, c.size)
		require.Equal(t, c.unit, unit, name)
		require.Equal(t, c.unit != 0, ok, name)
	}
}

// with returns m with one entry replaced.
func with(m map[int]string, at int, s string) map[int]string {
	out := maps.Clone(m)
	out[at] = s
	return out
}

// TestDetectPagesRandom bounds how often noise is taken for a database.
func TestDetectPagesRandom(t *testing.T) {
	noise := randomBytes(1<<20, 5)
	for at := 0; at+chunk.PagesHead <= len(noise); at += 16 {
		_, ok := chunk.DetectPages(noise[at:at+chunk.PagesHead], 8*mib)
		require.False(t, ok)
	}
}

// FuzzDetectPages wants no panic and a unit that a page fits into.
func FuzzDetectPages(f *testing.F) {
	f.Add([]byte("SQLite format 3\x00\x10\x00"), int64(mib))
	f.Add(page(map[int]string{0: "\x01", 16: "\x00\x20\x0c\x80"}), int64(mib))
	f.Add(binary.LittleEndian.AppendUint32(nil, 0x89abcdef), int64(-1))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		unit, ok := chunk.DetectPages(head, size)
		require.Equal(t, ok, unit != 0)
		if ok {
			require.Zero(t, unit&(unit-1))
			require.GreaterOrEqual(t, unit, uint32(16<<10))
			require.LessOrEqual(t, unit, uint32(64<<10))
		}
	})
}
