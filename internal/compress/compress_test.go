package compress_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/compress"
)

func codecs(t testing.TB, level compress.Level) (*compress.Encoder, *compress.Decoder) {
	t.Helper()
	e, err := compress.NewEncoder(level)
	require.NoError(t, err)
	d, err := compress.NewDecoder()
	require.NoError(t, err)
	return e, d
}

var hints = []compress.Class{compress.Unknown, compress.Plain, compress.Dense, compress.Sampled}

// TestRoundTrip stores every kind at every level under every hint, right or
// wrong, behind bytes that must survive.
func TestRoundTrip(t *testing.T) {
	frames := kinds(t, 150_001)
	for level := compress.Fastest; level <= compress.Smallest; level++ {
		e, d := codecs(t, level)
		for name, frame := range frames {
			for _, hint := range hints {
				roundTrip(t, e, d, frame, hint, name)
			}
		}
	}
}

func roundTrip(t testing.TB, e *compress.Encoder, d *compress.Decoder, frame []byte, hint compress.Class, name string) {
	t.Helper()
	before := []byte("before")
	out, codec := e.Encode(bytes.Clone(before), frame, hint)
	require.True(t, bytes.HasPrefix(out, before), name)
	stored := out[len(before):]
	require.LessOrEqual(t, len(stored), len(frame), name)
	back, err := d.Decode(bytes.Clone(before), codec, stored, len(frame))
	require.NoError(t, err, name)
	require.True(t, bytes.HasPrefix(back, before), name)
	require.True(t, bytes.Equal(frame, back[len(before):]), name)
}

// TestShortFrames tries every length around the limits of the format.
func TestShortFrames(t *testing.T) {
	e, d := codecs(t, compress.Fastest)
	for n := range 600 {
		for _, hint := range hints {
			roundTrip(t, e, d, fhir(n, 1), hint, "text")
			roundTrip(t, e, d, image16(n, 1), hint, "image")
		}
	}
	for _, n := range []int{2047, 2048, 2049, 65535, 65536, 65791, 65792, 128 << 10, 128<<10 + 1, 1<<20 + 1, 4 << 20} {
		roundTrip(t, e, d, pages(n, 1), compress.Unknown, "pages")
		roundTrip(t, e, d, image16(n, 1), compress.Sampled, "image")
	}
}

// TestChoice pins which codec each kind gets and bounds what it gains.
func TestChoice(t *testing.T) {
	e, _ := codecs(t, compress.Fastest)
	frames := kinds(t, 256<<10)
	for name, want := range map[string]struct {
		class compress.Class
		codec byte
		ratio float64
	}{
		"random":         {compress.Dense, compress.Raw, 1},
		"jpeg":           {compress.Dense, compress.Raw, 1},
		"zeros":          {compress.Plain, compress.Zstd, 1000},
		"fhir":           {compress.Plain, compress.Zstd, 4},
		"pages":          {compress.Plain, compress.Zstd, 1.6},
		"base64":         {compress.Plain, compress.Zstd, 1.3},
		"counter":        {compress.Plain, compress.Zstd, 100},
		"text then jpeg": {compress.Plain, compress.Zstd, 1.5},
		"image":          {compress.Sampled, compress.Samples, 2.2},
		"image, odd":     {compress.Sampled, compress.Samples, 2.2},
		"mono":           {compress.Sampled, compress.Samples, 1.4},
		"stereo":         {compress.Sampled, compress.Samples, 1.4},
		"utf16":          {compress.Sampled, compress.Zstd, 6},
	} {
		frame := frames[name]
		out, codec := e.Encode(nil, frame, compress.Unknown)
		require.Equal(t, want.class, compress.Classify(frame), name)
		require.Equal(t, want.codec, codec, name)
		require.GreaterOrEqual(t, float64(len(frame))/float64(len(out)), want.ratio, name)
	}
}

// TestFilterPays compares the filter with Zstandard alone on the same frame.
func TestFilterPays(t *testing.T) {
	e, _ := codecs(t, compress.Fastest)
	for name, frame := range map[string][]byte{
		"image": image16(512<<10, 1), "odd": odd(image16(512<<10, 2)), "mono": speech(512<<10, 1, 3), "stereo": speech(512<<10, 2, 4),
	} {
		filtered, codec := e.Encode(nil, frame, compress.Sampled)
		require.Equal(t, compress.Samples, codec, name)
		plain, _ := e.Encode(nil, frame, compress.Plain)
		require.Less(t, float64(len(filtered)), 0.92*float64(len(plain)), name)
		t.Logf("%s: %.3f, without the filter %.3f", name, float64(len(frame))/float64(len(filtered)), float64(len(frame))/float64(len(plain)))
	}
}

// TestClassifyNeverDense: nothing that compresses may be taken for noise, in
// frames of any length and alignment.
func TestClassifyNeverDense(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 4096, 40_000, 1 << 20} {
		for seed := range uint64(4) {
			for name, frame := range map[string][]byte{
				"fhir": fhir(n, seed), "pages": pages(n, seed), "base64": base64Text(n, seed), "image": image16(n, seed), "floats": floats(n, seed),
			} {
				require.NotEqual(t, compress.Dense, compress.Classify(frame), "%s of %d", name, n)
				require.NotEqual(t, compress.Dense, compress.Classify(frame[n/3:]), "%s of %d", name, n)
			}
		}
	}
	for seed := range uint64(100) {
		require.Equal(t, compress.Dense, compress.Classify(random(64<<10, seed)))
	}
}

// TestClassifyMixture: a little text among noise, and noise that is uneven,
// are both worth compressing.
func TestClassifyMixture(t *testing.T) {
	mixed := random(1<<20, 1)
	copy(mixed[300_000:], fhir(36_000, 2)) // under one of the places that are looked at
	require.Equal(t, compress.Plain, compress.Classify(mixed))
	grainy := make([]byte, 256<<10) // an 8-bit image of noise, 7.4 bits in a byte
	r := source(3)
	for i := range grainy {
		grainy[i] = uint8(min(max(128+40*r.NormFloat64(), 0), 255))
	}
	require.Equal(t, compress.Plain, compress.Classify(grainy))
	e, _ := codecs(t, compress.Fastest)
	out, codec := e.Encode(nil, grainy, compress.Unknown)
	require.Equal(t, compress.Zstd, codec)
	require.Less(t, len(out), len(grainy)*95/100)
}

// zstdFrame is stored data written with options of the caller's choice.
func zstdFrame(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	opts = append([]zstd.EOption{zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)}, opts...)
	w, err := zstd.NewWriter(nil, opts...)
	require.NoError(t, err)
	return w.EncodeAll(data, nil)
}

func TestDecodeRefuses(t *testing.T) {
	_, d := codecs(t, compress.Fastest)
	text := fhir(5000, 1)
	good := zstdFrame(t, text)
	back, err := d.Decode(nil, compress.Zstd, good, len(text))
	require.NoError(t, err)
	require.Equal(t, text, back)
	skippable := binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, 0)
	withBit := func(bit byte) []byte {
		b := bytes.Clone(good)
		b[4] ^= bit
		return b
	}
	for name, c := range map[string]struct {
		codec byte
		src   []byte
		size  int
	}{
		"raw too short":       {compress.Raw, text, len(text) + 1},
		"raw too long":        {compress.Raw, text, len(text) - 1},
		"negative size":       {compress.Raw, nil, -1},
		"announces more":      {compress.Zstd, good, len(text) - 1},
		"announces less":      {compress.Zstd, good, len(text) + 1},
		"empty":               {compress.Zstd, nil, 0},
		"cut":                 {compress.Zstd, good[:len(good)-1], len(text)},
		"byte behind":         {compress.Zstd, append(bytes.Clone(good), 0), len(text)},
		"second frame":        {compress.Zstd, append(bytes.Clone(good), zstdFrame(t, nil, zstd.WithZeroFrames(true))...), len(text)},
		"skippable behind":    {compress.Zstd, append(bytes.Clone(good), skippable...), len(text)},
		"skippable before":    {compress.Zstd, append(skippable, good...), len(text)},
		"checksum":            {compress.Zstd, zstdFrame(t, text, zstd.WithEncoderCRC(true)), len(text)},
		"window":              {compress.Zstd, zstdFrame(t, text, zstd.WithSingleSegment(false), zstd.WithWindowSize(1024)), len(text)},
		"unused bit":          {compress.Zstd, withBit(0x10), len(text)},
		"reserved bit":        {compress.Zstd, withBit(0x08), len(text)},
		"dictionary bit":      {compress.Zstd, withBit(0x01), len(text)},
		"bomb":                {compress.Zstd, zstdFrame(t, make([]byte, 64<<20)), 1000},
		"bomb, forged header": {compress.Zstd, forged(zstdFrame(t, make([]byte, 64<<20)), 70_000), 70_000},
		"samples, no frame":   {compress.Samples, nil, 0},
		"samples, bad filter": {compress.Samples, append([]byte{4}, good...), len(text)},
		"samples, offset":     {compress.Samples, append([]byte{1}, zstdFrame(t, nil, zstd.WithZeroFrames(true))...), 0},
	} {
		dst := []byte("kept")
		out, err := d.Decode(dst, c.codec, c.src, c.size)
		require.ErrorIs(t, err, compress.ErrMalformed, name)
		require.Equal(t, "kept", string(out), name)
	}
	_, err = d.Decode(nil, 3, good, len(text))
	require.ErrorIs(t, err, compress.ErrCodec)
}

// forged rewrites the content size of a frame that has a 4-byte one.
func forged(frame []byte, size uint32) []byte {
	out := bytes.Clone(frame)
	binary.LittleEndian.PutUint32(out[5:], size)
	return out
}

// TestDecodeMemory holds a bomb to the memory of what was promised.
func TestDecodeMemory(t *testing.T) {
	_, d := codecs(t, compress.Fastest)
	bomb := forged(zstdFrame(t, make([]byte, 64<<20)), 70_000)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.Decode(nil, compress.Zstd, bomb, 70_000)
			require.Error(b, err)
		}
	})
	require.Less(t, result.AllocedBytesPerOp(), int64(1<<20))
}

// TestNoAllocations: in the steady state nothing is allocated.
func TestNoAllocations(t *testing.T) {
	for level := compress.Fastest; level <= compress.Smallest; level++ {
		e, d := codecs(t, level)
		for _, frame := range [][]byte{fhir(200_000, 1), image16(200_000, 2), random(200_000, 3)} {
			dst, back := make([]byte, 0, 300_000), make([]byte, 0, 300_000)
			var codec byte
			encode := func() { dst, codec = e.Encode(dst[:0], frame, compress.Unknown) }
			decode := func() { back, _ = d.Decode(back[:0], codec, dst, len(frame)) }
			encode()
			decode()
			require.Zero(t, testing.AllocsPerRun(5, encode))
			require.Zero(t, testing.AllocsPerRun(5, decode))
			require.True(t, bytes.Equal(frame, back))
		}
	}
}

// TestDamage flips bits: the result is an error or bytes of the right length,
// whatever came before does not leak into what follows.
func TestDamage(t *testing.T) {
	e, d := codecs(t, compress.Fastest)
	r := rand.New(rand.NewPCG(1, 2))
	for _, frame := range [][]byte{fhir(20_000, 1), image16(20_000, 2)} {
		stored, codec := e.Encode(nil, frame, compress.Unknown)
		for range 2000 {
			bad := bytes.Clone(stored)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			out, err := d.Decode(nil, codec, bad, len(frame))
			if err == nil {
				require.Len(t, out, len(frame))
			}
		}
		back, err := d.Decode(nil, codec, stored, len(frame))
		require.NoError(t, err)
		require.True(t, bytes.Equal(frame, back))
	}
}

func TestUnknownLevel(t *testing.T) {
	_, err := compress.NewEncoder(-1)
	require.Error(t, err)
	_, err = compress.NewEncoder(compress.Smallest + 1)
	require.Error(t, err)
}
