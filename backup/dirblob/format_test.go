package dirblob

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for segment, want := range map[string]string{
		"0af3-x_y.idx": "0af3-x_y.idx",
		"Ab":           "%41b",
		"":             "%",
		".":            "%2e",
		"..":           "%2e%2e",
		".tmp":         "%2etmp",
		"a.":           "a%2e",
		"a ":           "a%20",
		"con":          "%63on",
		"nul.txt":      "%6eul.txt",
		"com1":         "%63om1",
		"com":          "com",
		"conf":         "conf",
		"a\\b:c":       "a%5cb%3ac",
		"é":            "%c3%a9",
		"100%":         "100%25",
	} {
		require.Equal(t, want, escape(segment))
		back, ok := unescape(want)
		require.True(t, ok)
		require.Equal(t, segment, back)
	}
	for _, name := range []string{".DS_Store", "Thumbs.db", "%2", "%2F", "%2f", "%61", "a%", "%zz", "nul", "%ff", "lost+found", "", "a."} {
		_, ok := unescape(name)
		require.False(t, ok, "%q is not ours", name)
	}
}

// FuzzUnescape: a name is ours only if it is the one name of its segment, and
// it is safe on every system.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"abc", "%41", "%", "a.b", "%2e", "com1", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if segment, ok := unescape(s); ok {
			require.Equal(t, s, escape(segment))
			require.Equal(t, strings.ToLower(s), s)
			require.NotContains(t, segment, "/")
			require.False(t, strings.HasPrefix(s, ".") || strings.HasSuffix(s, "."))
		}
		if utf8.ValidString(s) && !strings.Contains(s, "/") {
			back, ok := unescape(escape(s))
			require.True(t, ok)
			require.Equal(t, s, back)
		}
	})
}

func TestTrailerOfEverySize(t *testing.T) {
	want := attributes{ContentType: "text/plain", Metadata: map[string]string{"k": "v"}}
	for size := range 3 * trailerStep {
		content := bytes.Repeat([]byte{7}, size)
		trailer, err := makeTrailer(&want, int64(size))
		require.NoError(t, err)
		file := bytes.NewReader(slices.Concat(content, trailer))
		require.True(t, mayHaveTrailer(file.Size()))
		got, attrs, err := readTrailer(file, file.Size())
		require.NoError(t, err)
		require.EqualValues(t, size, got)
		require.Equal(t, want, attrs)
	}
}

func TestEveryByteOfATrailerCounts(t *testing.T) {
	trailer, err := makeTrailer(&attributes{ContentType: "text/plain"}, 100)
	require.NoError(t, err)
	file := slices.Concat(make([]byte, 100), trailer)
	for i := 100; i < len(file)-len(trailerMagic); i++ {
		file[i] ^= 0x20
		_, _, err := readTrailer(bytes.NewReader(file), int64(len(file)))
		require.ErrorIs(t, err, errBadTrailer, "byte %d", i)
		file[i] ^= 0x20
	}
}

// FuzzReadTrailer: no bytes may crash it, and what it accepts it would write.
func FuzzReadTrailer(f *testing.F) {
	good, err := makeTrailer(&attributes{ContentType: "text/plain"}, 100)
	require.NoError(f, err)
	f.Add(slices.Concat(make([]byte, 100), good))
	bad := slices.Clone(good)
	binary.LittleEndian.PutUint32(bad[len(bad)-footerSize:], 1<<31)
	f.Add(bad)
	f.Fuzz(func(t *testing.T, data []byte) {
		size, attrs, err := readTrailer(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.ErrorIs(t, err, errBadTrailer)
			return
		}
		require.LessOrEqual(t, size, int64(len(data)))
		if size == int64(len(data)) {
			require.True(t, attrs.plain())
			return
		}
		again, err := makeTrailer(&attrs, size)
		require.NoError(t, err)
		_, back, err := readTrailer(bytes.NewReader(slices.Concat(data[:size], again)), size+int64(len(again)))
		require.NoError(t, err)
		require.Equal(t, attrs, back)
	})
}

func TestDamagedTrailerIsAnError(t *testing.T) {
	b, dir := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "x", []byte("bytes"), &blob.WriterOptions{ContentType: "text/plain"}))
	path := filepath.Join(dir, "x")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[7] ^= 1 // in the attributes
	require.NoError(t, os.WriteFile(path, data, 0o600))
	_, err = b.ReadAll(t.Context(), "x")
	require.ErrorIs(t, err, errBadTrailer)
	_, err = b.Attributes(t.Context(), "x")
	require.ErrorIs(t, err, errBadTrailer)
	obj, err := b.List(nil).Next(t.Context())
	require.NoError(t, err, "one damaged file does not stop a listing")
	require.Equal(t, "x", obj.Key)
}

// TestPlainObjectThatLooksTrailed stores the file of an object with attributes as
// the content of a plain object.
func TestPlainObjectThatLooksTrailed(t *testing.T) {
	b, dir := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "x", []byte("bytes"), &blob.WriterOptions{ContentType: "text/plain"}))
	data, err := os.ReadFile(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.NoError(t, b.WriteAll(t.Context(), "y", data, plainType))
	require.NoError(t, b.Copy(t.Context(), "z", "y", nil))
	for _, key := range []string{"y", "z"} {
		got, err := b.ReadAll(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, data, got)
		attrs, err := b.Attributes(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, defaultType, attrs.ContentType)
		require.EqualValues(t, len(data), attrs.Size)
	}
}

// TestListing compares pages with a plain sort and scan, over random keys, prefixes,
// delimiters, page sizes and tiny windows, with and without what was kept between pages.
func TestListing(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "ab", "a-", "a0", "A", "", "x.y", "é", "con", "b/", "//"})
	rapid.Check(t, func(t *rapid.T) {
		v := &view{model: newModel()}
		b, err := open(v, modelRoot, &Options{CreateDir: true})
		require.NoError(t, err)
		defer func() { _ = b.Close() }()
		b.lists.window = rapid.IntRange(1, 4).Draw(t, "window")
		portable := blob.NewBucket(b)
		var keys []string
		for _, parts := range rapid.SliceOfN(rapid.SliceOfN(part, 1, 4), 0, 14).Draw(t, "keys") {
			key := strings.Join(parts, "/")
			if key != "" && portable.WriteAll(t.Context(), key, nil, plainType) == nil && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		prefix := strings.Join(rapid.SliceOfN(part, 0, 3).Draw(t, "prefix"), "/")
		delimiter := rapid.SampledFrom([]string{"", "/", "b", "/a", "//"}).Draw(t, "delimiter")
		forget := rapid.Bool().Draw(t, "forget")
		size := rapid.IntRange(1, 5).Draw(t, "size")
		got := []string{}
		opts := &driver.ListOptions{Prefix: prefix, Delimiter: delimiter, PageSize: size}
		for {
			page, err := b.ListPaged(t.Context(), opts)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Objects), size)
			for _, o := range page.Objects {
				got = append(got, fmt.Sprint(o.Key, o.IsDir))
			}
			if opts.PageToken = page.NextPageToken; opts.PageToken == nil {
				break
			}
			require.Len(t, page.Objects, size)
			if forget {
				b.lists.held = nil
			}
		}
		require.Equal(t, listed(keys, prefix, delimiter), got)
	})
}

// listed is what a listing of the keys should give.
func listed(keys []string, prefix, delimiter string) []string {
	slices.Sort(keys)
	out := []string{}
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		line := fmt.Sprint(key, false)
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			line = fmt.Sprint(prefix+rest[:i+len(delimiter)], true)
		}
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// TestListingReadsAFolderOnce: the pages after the first come from what was read for it.
func TestListingReadsAFolderOnce(t *testing.T) {
	v := &view{model: newModel()}
	b, err := open(v, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	portable := blob.NewBucket(b)
	defer func() { _ = portable.Close() }()
	for i := range 200 {
		require.NoError(t, portable.WriteAll(t.Context(), fmt.Sprintf("d/%03d", i), nil, plainType))
	}
	b.lists.window = 50
	lists := 0
	v.fault = func(call, _ string) error {
		if call == "list" {
			lists++
		}
		return nil
	}
	opts := &driver.ListOptions{Prefix: "d/", PageSize: 7}
	n := 0
	for {
		page, err := b.ListPaged(t.Context(), opts)
		require.NoError(t, err)
		n += len(page.Objects)
		if opts.PageToken = page.NextPageToken; opts.PageToken == nil {
			break
		}
	}
	require.Equal(t, 200, n)
	require.Equal(t, 4, lists, "four windows, whatever the number of pages")
}

// TestListAMillion lists a folder of a million objects on a real disk and
// prints what it took.
func TestListAMillion(t *testing.T) {
	if os.Getenv("CAREKEEP_LONG") == "" {
		t.Skip("makes a million files; set CAREKEEP_LONG=1")
	}
	b, dir := openTemp(t)
	const objects = 1_000_000
	require.NoError(t, os.Mkdir(filepath.Join(dir, "flat"), 0o700))
	for i := range objects {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		f, err := os.Create(filepath.Join(dir, "flat", hex.EncodeToString(sum[:])))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	begin, peak, n, last := time.Now(), uint64(0), 0, ""
	for it := b.List(nil); ; n++ {
		obj, err := it.Next(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Less(t, last, obj.Key)
		last = obj.Key
		if n%100_000 == 50_000 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
	require.Equal(t, objects, n)
	t.Logf("%d objects listed in %v, %d MiB of heap in use", n, time.Since(begin).Round(time.Millisecond), peak>>20)
	require.Less(t, peak, uint64(100<<20))
}

// TestForeignFilesAreIgnored: what other programs put there is neither listed nor fatal.
func TestForeignFilesAreIgnored(t *testing.T) {
	b, dir := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "a/x", nil, plainType))
	for _, name := range []string{".DS_Store", "._x", "Thumbs.db", "a/.nfs0001", "%", "%2F"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "System Volume Information"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	it := b.List(&blob.ListOptions{Delimiter: "/"})
	obj, err := it.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a/", obj.Key)
	_, err = it.Next(t.Context())
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, b.Delete(t.Context(), "a/x"), "a folder with foreign files stays, without complaint")
}
