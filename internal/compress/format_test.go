package compress_test

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/compress"
)

// TestFrozenForms decodes stored forms written down by hand: they must be
// readable for ever.
func TestFrozenForms(t *testing.T) {
	_, d := codecs(t, compress.Fastest)
	for name, c := range map[string]struct {
		codec        byte
		stored, want string // hexadecimal
	}{
		"raw":             {compress.Raw, "0102", "0102"},
		"raw, empty":      {compress.Raw, "", ""},
		"zstd, empty":     {compress.Zstd, "28b52ffd2000010000", ""},
		"zstd, raw block": {compress.Zstd, "28b52ffd2003190000616263", "616263"},
		"zstd, run":       {compress.Zstd, "28b52ffd200843000061", "6161616161616161"},
		// Samples 0x0102 0x0103 0x0001: differences + 128 are 0x0182 0x0081 0xff7e.
		"samples":         {compress.Samples, "0028b52ffd2006310000" + "82817e" + "0100ff", "020103010100"},
		"samples, odd":    {compress.Samples, "0128b52ffd2008410000" + "aa" + "82817e" + "0100ff" + "bb", "aa020103010100bb"},
		"samples, second": {compress.Samples, "0228b52ffd2006310000" + "82837f" + "0101ff", "020103010100"},
	} {
		stored, err := hex.DecodeString(c.stored)
		require.NoError(t, err, name)
		got, err := d.Decode(nil, c.codec, stored, len(c.want)/2)
		require.NoError(t, err, name)
		require.Equal(t, c.want, hex.EncodeToString(got), name)
	}
}

// specSamples decodes codec 2 by the words of the package comment.
func specSamples(t testing.TB, stored []byte, n int) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer r.Close()
	b, err := r.DecodeAll(stored[1:], nil)
	require.NoError(t, err)
	require.Len(t, b, n)
	o, dist := int(stored[0]&1), 1+int(stored[0]>>1&1)
	m := (n - o) / 2
	out := append([]byte{}, b[:o]...)
	x := make([]uint16, m)
	for i := range x {
		y := uint16(b[o+i]) + uint16(b[o+m+i])<<8
		x[i] = y - 128
		if i >= dist {
			x[i] += x[i-dist]
		}
		out = binary.LittleEndian.AppendUint16(out, x[i])
	}
	return append(out, b[o+2*m:]...)
}

func TestSamplesSpec(t *testing.T) {
	e, _ := codecs(t, compress.Fastest)
	seen := map[byte]bool{}
	for _, frame := range [][]byte{
		image16(30_000, 1), image16(30_001, 1), odd(image16(30_000, 1)), odd(image16(29_999, 1)),
		speech(60_000, 2, 1), odd(speech(60_000, 2, 1)),
	} {
		stored, codec := e.Encode(nil, frame, compress.Sampled)
		require.Equal(t, compress.Samples, codec)
		require.Equal(t, frame, specSamples(t, stored, len(frame)))
		seen[stored[0]] = true
	}
	require.Len(t, seen, 4, "every parameter must have been met")
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("text"), uint8(0), uint16(1))
	f.Add(image16(3000, 1), uint8(3), uint16(2))
	f.Add(odd(speech(3000, 2, 1)), uint8(3), uint16(1))
	f.Add(random(700, 1), uint8(2), uint16(0))
	e, d := codecs(f, compress.Fastest)
	f.Fuzz(func(t *testing.T, data []byte, hint uint8, times uint16) {
		var frame []byte
		for range 1 + times%40 { // repeats, because the fuzzer seldom finds long inputs
			frame = append(frame, data...)
		}
		roundTrip(t, e, d, frame, compress.Class(hint%4), "fuzzed")
	})
}

func FuzzDecode(f *testing.F) {
	e, d := codecs(f, compress.Fastest)
	for _, frame := range [][]byte{fhir(3000, 1), image16(3000, 1), random(100, 1), make([]byte, 300)} {
		stored, codec := e.Encode(nil, frame, compress.Unknown)
		f.Add(codec, stored, len(frame))
		stored, codec = e.Encode(nil, frame, compress.Plain)
		f.Add(codec, stored, len(frame))
	}
	f.Fuzz(func(t *testing.T, codec byte, stored []byte, size int) {
		if size > 1<<20 {
			size %= 1 << 20
		}
		out, err := d.Decode(nil, codec, stored, size)
		if err != nil {
			require.Empty(t, out)
			return
		}
		require.Len(t, out, size)
	})
}
