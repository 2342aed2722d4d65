package seal_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

// FuzzDecrypt holds whole-object decryption to Tink: both accept the same objects, and agree on the
// plaintext.
func FuzzDecrypt(f *testing.F) {
	key := fixed("stream key")
	for _, v := range loadVectors(f).Streams {
		if v.File == "" {
			f.Add(byte(v.Suite), []byte(v.AAD), v.object(f), int64(0))
		}
	}
	f.Add(byte(seal.T1), []byte{}, pattern(seal.SegmentSize), int64(seal.SegmentSize))
	f.Fuzz(func(t *testing.T, suite byte, aad, object []byte, off int64) {
		s := seal.Suite(suite)
		st, err := s.OpenStream(key, aad, object)
		if err != nil {
			return
		}
		got, _, err := st.Decrypt(nil, 0, object, int64(len(object)))
		want, tinkErr := tinkOpen(t, s, key, aad, object)
		require.Equal(t, tinkErr == nil, err == nil)
		if err == nil {
			require.True(t, bytes.Equal(want, got))
		}
		for _, size := range []int64{off, off + int64(len(object))} {
			got, at, err := st.Decrypt(nil, off, object, size)
			if err == nil { // only the whole object opens
				require.Zero(t, at)
				require.True(t, bytes.Equal(want, got))
			}
		}
		objOff, objLen := st.Span(off, int64(len(object)))
		require.True(t, objOff >= 0 && objLen >= 0 && objOff%seal.SegmentSize == 0 && objLen%seal.SegmentSize == 0)
	})
}

func FuzzOpen(f *testing.F) {
	key := fixed("secret key")
	known := map[string]bool{}
	for _, v := range loadVectors(f).Secrets {
		f.Add(byte(v.Suite), []byte(v.AAD), []byte(v.Sealed))
		known[string(v.AAD)+string(v.Sealed)] = true
	}
	f.Fuzz(func(t *testing.T, suite byte, aad, sealed []byte) {
		if _, err := seal.Suite(suite).Open(key, aad, sealed); err == nil {
			require.True(t, known[string(aad)+string(sealed)], "a forgery")
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	private := fixed("recipient")
	known := map[string]bool{}
	for _, v := range loadVectors(f).Wraps {
		f.Add(byte(v.Suite), []byte(v.Info), []byte(v.Wrapped))
		known[string(v.Info)+string(v.Wrapped)] = true
	}
	f.Fuzz(func(t *testing.T, suite byte, info, wrapped []byte) {
		// Anyone can wrap, so a success proves nothing wrong in itself; the fuzzer cannot make one.
		if _, err := seal.Unwrap(seal.Suite(suite), private, info, wrapped); err == nil {
			require.True(t, known[string(info)+string(wrapped)], "a forgery")
		}
	})
}
