package seal_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

func TestSealerMakesWhatStreamReads(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	header, aad := []byte{'C', 'K', 'P', 1}, []byte("aad")
	for _, suite := range []seal.Suite{seal.T1, seal.F1} {
		for _, n := range []int{0, 1, 65475, 65476, 65477, 65535, 65536, 131000, 300_000} {
			plain := make([]byte, n)
			for i := range plain {
				plain[i] = byte(i * 31)
			}
			x, err := suite.NewSealer(make([]byte, 10), header, key, aad)
			require.NoError(t, err)
			for p := plain; len(p) > 0; {
				k := min(len(p), 7919)
				_, err := x.Write(p[:k])
				require.NoError(t, err)
				p = p[k:]
			}
			require.EqualValues(t, n, x.Len())
			object := x.Close()
			require.EqualValues(t, suite.StreamSize(int64(n)), len(object))
			st, err := suite.OpenStream(key, aad, object[:seal.PrologueSize])
			require.NoError(t, err)
			got, _, err := st.Decrypt(nil, 0, object, int64(len(object)))
			require.NoError(t, err)
			require.True(t, bytes.Equal(plain, got), "suite %v, %d bytes", suite, n)
		}
	}
}
