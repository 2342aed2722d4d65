package refreader

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// page is the specification, of which the examples are checked here.
const page = "../../backup/FORMAT.md"

// exampleName finds an object that the page prints, as the words before the print name it, with its size.
var exampleName = regexp.MustCompile(
	`(/format|keys/[0-9a-f]{32}|[Ee]ntry \d+|[Rr]oot node of snapshot \d+|first leaf)[^.]*?, ([\d,]+)\s+bytes`)

// examples resolves the names.
type examples struct {
	*Repository
	objects map[string][]byte
}

func newExamples(t *testing.T) *examples {
	files, want := load(t, "repo-v1")
	r, err := Open(files, want.Passwords[0])
	require.NoError(t, err)
	x := &examples{r, map[string][]byte{}}
	for name, f := range files {
		x.objects[name] = f.Data
	}
	return x
}

// node gives the root node of a snapshot, or its first child.
func (x *examples) node(t *testing.T, seq uint64, leaf bool) []byte {
	snaps, err := x.Snapshots()
	require.NoError(t, err)
	for _, s := range snaps {
		if s.Seq != seq {
			continue
		}
		at := s.root
		b, err := x.chunk(at.id, at.size, true)
		require.NoError(t, err)
		if leaf {
			d := &dec{b: b[1:]}
			at = child{path: d.path(""), id: d.id32(), size: d.uv()}
			require.NoError(t, d.err)
			b, err = x.chunk(at.id, at.size, true)
			require.NoError(t, err)
		}
		return b
	}
	require.Fail(t, "no such snapshot")
	return nil
}

func (x *examples) resolve(t *testing.T, name string, snapshot *uint64) []byte {
	name = strings.ToLower(name)
	word := name[strings.LastIndexByte(name, ' ')+1:]
	n, err := strconv.ParseUint(word, 10, 64)
	switch {
	case strings.HasPrefix(name, "entry"):
		require.NoError(t, err)
		return x.objects[logName(n)]
	case strings.HasPrefix(name, "root node"):
		require.NoError(t, err)
		*snapshot = n
		return x.node(t, n, false)
	case name == "first leaf":
		return x.node(t, *snapshot, true)
	}
	return x.objects[strings.TrimPrefix(name, "/")]
}

// Columns of a print: an offset, then bytes, then words.
const (
	bytesColumn = 4
	wordsColumn = 55
)

// compareDump holds a print against the object, and gives the number of bytes of it that were compared. After an
// ellipsis follow the last bytes of the object, if any. A print from offset 0 on leaves nothing out.
func compareDump(t *testing.T, dump string, object []byte) (compared int) {
	at, whole := 0, strings.HasPrefix(dump, "00 ")
	for line := range strings.Lines(dump) {
		columns := []rune(strings.TrimRight(line, "\n"))
		require.Greater(t, len(columns), bytesColumn, line)
		if offset := strings.TrimSpace(string(columns[:bytesColumn])); offset != "" {
			n, err := strconv.ParseInt(offset, 16, 64)
			require.NoError(t, err, line)
			require.GreaterOrEqual(t, int(n), at, line)
			require.True(t, !whole || int(n) == at, line)
			at = int(n)
		}
		field := string(columns[bytesColumn:min(len(columns), wordsColumn)])
		first, last, _ := strings.Cut(field, "…")
		unhex := func(s string) []byte {
			b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
			require.NoError(t, err, line)
			return b
		}
		b := unhex(first)
		require.LessOrEqual(t, at+len(b), len(object), line)
		require.Equal(t, hex.EncodeToString(object[at:at+len(b)]), hex.EncodeToString(b), line)
		at += len(b)
		compared += len(b)
		if b := unhex(last); len(b) > 0 {
			require.True(t, bytes.HasSuffix(object, b), line)
			compared += len(b)
			at = len(object)
		}
	}
	return compared
}

// TestPageDumps: what the page prints of objects is what they hold, and all of what it prints is held against them.
func TestPageDumps(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	x := newExamples(t)
	parts := strings.Split(string(text), "```\n")
	require.Equal(t, 1, len(parts)%2, "a print is not closed")
	found, snapshot, compared := []string{}, uint64(0), 0
	for i := 1; i < len(parts); i += 2 {
		if !regexp.MustCompile(`^[0-9a-f]{2}  [0-9a-f]{2}`).MatchString(parts[i]) {
			require.NotRegexp(t, `(?m)^[ 0-9a-f]{2}  ([0-9a-f]{2} ){4}`, parts[i], "bytes of no object")
			continue
		}
		before := parts[i-1]
		before = strings.ReplaceAll(before[strings.LastIndex(strings.TrimSpace(before), "\n\n")+1:], "\n", " ")
		names := exampleName.FindAllStringSubmatch(before, -1)
		dumps := strings.Split(parts[i], "\n\n")
		require.Len(t, dumps, len(names), before)
		for k, dump := range dumps {
			object := x.resolve(t, names[k][1], &snapshot)
			require.Equal(t, strings.ReplaceAll(names[k][2], ",", ""), strconv.Itoa(len(object)), names[k][0])
			compared += compareDump(t, dump, object)
			found = append(found, names[k][1])
		}
	}
	require.Len(t, found, 7, found)
	require.Greater(t, compared, 600)
}

// TestPageDigests: so are the keys and the chain.
func TestPageDigests(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, want := load(t, "repo-v1")
	x := newExamples(t)
	keys := regexp.MustCompile(`(stretched password|slot key|dataset secret|data id key)\s+`+"`([0-9a-f]+)`").
		FindAllSubmatch(text, -1)
	require.Len(t, keys, 4)
	for _, k := range keys {
		name := map[string]string{"dataset secret": "dataset", "data id key": "data id"}[string(k[1])]
		if name == "" {
			name = string(k[1])
		}
		require.Equal(t, want.Keys[name], string(k[2]), name)
	}
	chain, seq := [32]byte{}, uint64(0)
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d+) \\| `([0-9a-f]{64})` \\| `([0-9a-f]{64})` \\|$").
		FindAllSubmatch(text, -1) {
		require.Equal(t, strconv.FormatUint(seq, 10), string(row[1]))
		_, sum, err := x.slot(seq)
		require.NoError(t, err)
		chain = link(chain, sum)
		require.Equal(t, hex.EncodeToString(sum[:]), string(row[2]))
		require.Equal(t, hex.EncodeToString(chain[:]), string(row[3]))
		seq++
	}
	require.EqualValues(t, 3, seq)
}

// TestPageLog: the table of the vectors says of what kind each slot of the log is.
func TestPageLog(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	x := newExamples(t)
	row := regexp.MustCompile(`(?m)^\| log \| (.*?) \|`).FindSubmatch(text)
	require.NotNil(t, row)
	kinds := map[string]byte{
		"genesis": 1, "snapshot": 3, "partial": 4, "forgotten": 5, "record": 5, "condemned": 6, "swept": 6,
		"checkpoint": 7, "slot": 8, "slots": 8, "broken": 0,
	}
	next := uint64(0)
	for item := range strings.SplitSeq(string(row[1]), "; ") {
		m := regexp.MustCompile(`^(\d+)(?:–(\d+))? (\w+)`).FindStringSubmatch(item)
		require.NotNil(t, m, item)
		kind, ok := kinds[m[3]]
		require.True(t, ok, item)
		from, err := strconv.ParseUint(m[1], 10, 64)
		require.NoError(t, err)
		to := from
		if m[2] != "" {
			to, err = strconv.ParseUint(m[2], 10, 64)
			require.NoError(t, err)
		}
		require.Equal(t, next, from, item)
		for ; next <= to; next++ {
			e, _, err := x.slot(next)
			require.NoError(t, err)
			require.Equal(t, kind == 0, e == nil, item)
			if e != nil {
				require.Equal(t, kind, e.kind, item)
			}
		}
	}
	require.Equal(t, x.head+1, next)
}
