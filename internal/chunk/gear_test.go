package chunk_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// referenceGear expands a key by RFC 5869 written out, so that the table does
// not rest on one library.
func referenceGear(t testing.TB, key []byte) *[256]uint64 {
	t.Helper()
	mac := func(k []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, k)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	prk := mac(make([]byte, 32), key)
	var raw, block []byte
	for i := byte(1); len(raw) < 2048; i++ {
		block = mac(prk, block, []byte("carekeep/v1 gear"), []byte{i})
		raw = append(raw, block...)
	}
	gear := new([256]uint64)
	require.GreaterOrEqual(t, len(raw), 2048)
	for i := range gear {
		gear[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return gear
}
