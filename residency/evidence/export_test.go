package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/evidence"
)

// seal makes the last line of a file anew, as anybody can.
func seal(lines []byte) []byte {
	n := bytes.Count(lines, []byte("\n"))
	blocks := bytes.Count(lines, []byte(`{"v":1,`))
	return fmt.Appendf(bytes.Clone(lines), `{"end":{"lines":%d,"blocks":%d,"sha256":"%x"}}`+"\n", n, blocks, sha256.Sum256(lines))
}

func appendTogether(t testing.TB, l *evidence.Log, n int) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { appendDebt(t, l, int64(i)) })
	}
	wg.Wait()
}

// What a later version writes is kept, counted, and checked for alteration.
func TestWhatALaterVersionWritesIsForeignNotBroken(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	appendDebt(t, l, 1)
	first := s.Get(key("w", 1))
	for _, later := range []string{`"data":{"taken":1,"open":1,"interest":2}`, `"data":"text"`, `"data":null`, `"data":{"open":1,"taken":1}`} {
		s.Set(key("w", 1), bytes.Replace(first, []byte(`"data":{"taken":1,"open":1}`), []byte(later), 1))
		sum := sound(t, open(t, s.Bucket(), "x"))
		require.EqualValues(t, 1, sum.Foreign, later)
	}
	s.Set(key("w", 1), bytes.Replace(first, []byte(`"kind":"debt"`), []byte(`"kind":"loan"`), 1))
	sum := sound(t, open(t, s.Bucket(), "x"))
	require.EqualValues(t, 1, sum.Foreign)
	require.Equal(t, map[evidence.Kind]int64{"loan": 1}, sum.Kinds)
	s.Set(key("w", 1), bytes.Replace(first, []byte(`"v":1`), []byte(`"v":2`), 1))
	require.Contains(t, broken(t, s).Error(), "version 2")
}

// FuzzVerify: no file makes Verify fail in another way than by its error, and what it takes for sound is made of
// lines that are read in one way only.
func FuzzVerify(f *testing.F) {
	s := faultstore.New()
	for _, w := range []string{"a", "b"} {
		l := open(f, s.Bucket(), w)
		for kind, data := range every() {
			require.NoError(f, l.Append(f.Context(), kind, "akl", data))
		}
		file, err := export(f, l)
		require.NoError(f, err)
		f.Add(file)
	}
	s.Set(key("b", 3), []byte("rubbish"))
	file, _ := export(f, open(f, s.Bucket(), "c"))
	f.Add(file)
	f.Add([]byte(`{"format":"carekeep evidence","version":1,"made":"2026-11-26T09:00:00Z"}` + "\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		sum, err := evidence.Verify(bytes.NewReader(file))
		// The same file with a right last line must give the same blocks.
		if err == nil {
			again, err := evidence.Verify(bytes.NewReader(file), sum.Heads...)
			require.NoError(t, err)
			require.Equal(t, sum, again)
			require.EqualValues(t, bytes.Count(file, []byte("\n"))-2, sum.Blocks)
		} else {
			require.ErrorIs(t, err, evidence.ErrBroken)
			require.NotEmpty(t, err.Error())
		}
	})
}

// FuzzBlock puts rubbish and near-rubbish into a chain: the reader never fails and a writer always goes on.
func FuzzBlock(f *testing.F) {
	s := faultstore.New()
	l := open(f, s.Bucket(), "w")
	for kind, data := range every() {
		require.NoError(f, l.Append(f.Context(), kind, "akl", data))
	}
	for _, k := range s.Keys() {
		f.Add(s.Get(k))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := faultstore.New()
		s.Set(key("w", 1), data)
		l := open(t, s.Bucket(), "w")
		appendDebt(t, l, 1)
		n := 0
		for _, err := range l.Records(t.Context()) {
			if err != nil {
				require.ErrorIs(t, err, evidence.ErrBroken)
			}
			n++
		}
		require.GreaterOrEqual(t, n, 2, "the object is a block or a fault")
		require.EqualValues(t, 2, l.Head().Seq)
	})
}
