package seal_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	tinkstream "github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/carekeep/carekeep/internal/seal"
)

// eachSuite runs f for both suites, as subtests named T1 and F1: the FIPS tests select by these names.
func eachSuite(t *testing.T, f func(t *testing.T, s seal.Suite)) {
	t.Helper()
	for _, s := range []seal.Suite{seal.T1, seal.F1} {
		t.Run(s.String(), func(t *testing.T) { f(t, s) })
	}
}

// fixed returns 32 bytes that depend on name only.
func fixed(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// pattern returns n bytes, byte i being i mod 251: no power of two, so that shifted blocks differ.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func tagSize(s seal.Suite) int {
	if s == seal.F1 {
		return 32
	}
	return 16
}

func tinkStream(t testing.TB, s seal.Suite, key []byte) tink.StreamingAEAD {
	t.Helper()
	if s == seal.F1 {
		p, err := tinkstream.NewAESCTRHMAC(key, "SHA256", 32, "SHA256", 32, seal.SegmentSize, seal.HeaderSize)
		require.NoError(t, err)
		return p
	}
	p, err := tinkstream.NewAESGCMHKDF(key, "SHA256", 32, seal.SegmentSize, seal.HeaderSize)
	require.NoError(t, err)
	return p
}

// tinkSeal makes a stream object with Tink alone.
func tinkSeal(t testing.TB, s seal.Suite, header, key, aad, plaintext []byte) []byte {
	t.Helper()
	var object bytes.Buffer
	object.Write(header)
	w, err := tinkStream(t, s, key).NewEncryptingWriter(&object, append(bytes.Clone(header), aad...))
	require.NoError(t, err)
	_, err = w.Write(plaintext)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return object.Bytes()
}

// tinkOpen opens a stream object with Tink alone.
func tinkOpen(t testing.TB, s seal.Suite, key, aad, object []byte) ([]byte, error) {
	t.Helper()
	if len(object) < seal.HeaderSize {
		return nil, io.ErrUnexpectedEOF
	}
	header := object[:seal.HeaderSize]
	r, err := tinkStream(t, s, key).NewDecryptingReader(bytes.NewReader(object[seal.HeaderSize:]), append(bytes.Clone(header), aad...))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// openAll opens a whole object through the package.
func openAll(s seal.Suite, key, aad, object []byte) ([]byte, error) {
	st, err := s.OpenStream(key, aad, object)
	if err != nil {
		return nil, err
	}
	plaintext, off, err := st.Decrypt(nil, 0, object, int64(len(object)))
	if err == nil && off != 0 {
		return nil, fmt.Errorf("plaintext of a whole object begins at %d", off)
	}
	return plaintext, err
}
