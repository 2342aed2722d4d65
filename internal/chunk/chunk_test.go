package chunk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/chunk"
)

// vectors is testdata/vectors.json: what another implementation must agree with.
type vectors struct {
	Comment string   `json:"comment"`
	Cases   []vector `json:"cases"`
}

type vector struct {
	Name   string       `json:"name"`
	Key    string       `json:"key"`
	Params chunk.Params `json:"params"`
	Input  input        `json:"input"`
	SHA256 string       `json:"sha256"`
	Cuts   []int        `json:"cuts"`
}

type input struct {
	Kind string `json:"kind"`
	Seed uint64 `json:"seed"`
	Size int    `json:"size"`
}

// bytes makes the input of a vector; the comment in the JSON describes it.
func (in input) bytes() []byte {
	out := make([]byte, in.Size)
	x := in.Seed
	for i := range out {
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		switch in.Kind {
		case "random":
			out[i] = byte(z >> 56)
		case "letters":
			out[i] = "etaoin shrdlu,.\n"[z>>60&(z>>56)&15]
		case "cycle":
			out[i] = byte(i % 251)
		}
	}
	return out
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var vs vectors
	require.NoError(t, json.Unmarshal(raw, &vs))
	require.NotEmpty(t, vs.Cases)
	for _, v := range vs.Cases {
		t.Run(v.Name, func(t *testing.T) {
			key, err := hex.DecodeString(v.Key)
			require.NoError(t, err)
			data := v.Input.bytes()
			sum := sha256.Sum256(data)
			require.Equal(t, v.SHA256, hex.EncodeToString(sum[:]), "the generator of the test is wrong")
			require.Equal(t, v.Cuts, cutPoints(newCutter(t, key, v.Params), data))
		})
	}
}

func newCutter(t testing.TB, key []byte, p chunk.Params) *chunk.Cutter {
	t.Helper()
	table, err := chunk.NewTable(key)
	require.NoError(t, err)
	c, err := table.Cutter(p)
	require.NoError(t, err)
	return c
}

// testKey is any key; sums below hold for it.
func testKey() []byte { return bytes.Repeat([]byte{7}, chunk.KeySize) }

// smallParams keep properties cheap to test on small inputs.
func smallParams() chunk.Params { return chunk.Params{Min: 256, Avg: 1024, Max: 4096} }

// cutPoints returns the end of every chunk of data.
func cutPoints(c *chunk.Cutter, data []byte) []int {
	ends := []int{}
	for at := 0; at < len(data); {
		at += c.Cut(data[at:], true)
		ends = append(ends, at)
	}
	return ends
}

func randomBytes(n int, seed uint64) []byte {
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	out := make([]byte, n)
	src.Read(out)
	return out
}

// record returns lines like an export of observations: text with much repetition.
func recordText(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, 0, n+200)
	for len(out) < n {
		out = fmt.Appendf(out, `{"resourceType":"Observation","id":"%d","status":"final","code":{"text":"test-%d"},"valueQuantity":{"value":%.2f,"unit":"mmol/L"}}`+"\n",
			r.IntN(1e7), r.IntN(60), r.Float64()*100)
	}
	return out[:n]
}

func TestParams(t *testing.T) {
	require.NoError(t, chunk.DefaultParams().Validate())
	require.NoError(t, smallParams().Validate())
	for _, p := range []chunk.Params{
		{},
		{Min: 63, Avg: 1024, Max: 4096},
		{Min: 64, Avg: 512, Max: 4096},
		{Min: 1024, Avg: 1024, Max: 4096},
		{Min: 256, Avg: 1024, Max: 1024},
		{Min: 256, Avg: 1000, Max: 4096},
		{Min: 256, Avg: 1 << 20, Max: 4<<20 + 1},
	} {
		require.ErrorIs(t, p.Validate(), chunk.ErrParams, "%+v", p)
		table, err := chunk.NewTable(testKey())
		require.NoError(t, err)
		_, err = table.Cutter(p)
		require.ErrorIs(t, err, chunk.ErrParams)
	}
	for _, n := range []int{0, 31, 33} {
		_, err := chunk.NewTable(make([]byte, n))
		require.ErrorIs(t, err, chunk.ErrKey)
	}
}

// TestCutIgnoresBuffering feeds the same bytes in reads of every kind and
// expects the same cuts, none of them before it is certain.
func TestCutIgnoresBuffering(t *testing.T) {
	c := newCutter(t, testKey(), smallParams())
	data := append(randomBytes(200_000, 3), recordText(200_000, 4)...)
	want := cutPoints(c, data)
	r := rand.New(rand.NewPCG(5, 6))
	for _, most := range []int{1, 100, 5000, 20_000} {
		var got []int
		start, have := 0, 0
		for start < len(data) {
			n := c.Cut(data[start:have], have == len(data))
			if n == 0 {
				require.Less(t, have-start, c.Max(), "Cut must decide on Max bytes")
				have = min(len(data), have+1+r.IntN(most))
				continue
			}
			start += n
			got = append(got, start)
		}
		require.Equal(t, want, got, "reads of up to %d bytes", most)
	}
}

func TestCutDegenerate(t *testing.T) {
	p := smallParams()
	c := newCutter(t, testKey(), p)
	require.Zero(t, c.Cut(nil, true))
	require.Zero(t, c.Cut(nil, false))
	require.Equal(t, 1, c.Cut([]byte{1}, true))
	require.Zero(t, c.Cut(make([]byte, p.Max-1), false))
	require.Equal(t, int(p.Max), c.Cut(make([]byte, p.Max), false), "zeros have no cut before Max under this key")
	require.Equal(t, int(p.Max), c.Cut(make([]byte, 10*p.Max), false))
}

// TestSizes bounds the distribution with the default sizes.
func TestSizes(t *testing.T) {
	p := chunk.DefaultParams()
	c := newCutter(t, testKey(), p)
	for name, data := range map[string][]byte{
		"random": randomBytes(64<<20, 1), "text": recordText(64<<20, 2),
	} {
		at, n, forced, small := 0, 0.0, 0.0, 0.0
		var squares float64
		for _, end := range cutPoints(c, data) {
			size := end - at
			at = end
			require.LessOrEqual(t, size, int(p.Max))
			if end < len(data) {
				require.Greater(t, size, int(p.Min))
			}
			n++
			squares += float64(size) * float64(size)
			if size == int(p.Max) {
				forced++
			}
			if size < 96<<10 {
				small++
			}
		}
		require.Equal(t, len(data), at)
		mean := float64(at) / n
		dev := math.Sqrt(squares/n - mean*mean)
		t.Logf("%s: mean %.0f KiB, deviation %.0f KiB, %.1f %% at Max, %.1f %% below 96 KiB",
			name, mean/1024, dev/1024, 100*forced/n, 100*small/n)
		require.InDelta(t, float64(p.Avg), mean, 0.12*float64(p.Avg), name)
		require.Less(t, dev, 0.5*float64(p.Avg), name)
		require.Less(t, forced/n, 0.01, name)
		require.Less(t, small/n, 0.15, name)
	}
}

// TestShiftResistance inserts and deletes at random places and bounds what
// has to be stored again. The ideal is the chunk that was hit and no other;
// fixed chunking stores everything behind the first edit again.
func TestShiftResistance(t *testing.T) {
	const edits = 10
	c := newCutter(t, testKey(), chunk.DefaultParams())
	for name, data := range map[string][]byte{
		"random": randomBytes(64<<20, 11), "text": recordText(64<<20, 12),
	} {
		seed := maphash.MakeSeed()
		known := map[uint64]bool{}
		var squares float64
		eachChunk(c, data, func(b []byte) {
			known[maphash.Bytes(seed, b)] = true
			squares += float64(len(b)) * float64(len(b))
		})
		ideal := edits * squares / float64(len(data)) // mean size of a chunk hit by a random byte
		again := 0.0
		eachChunk(c, edit(data, edits), func(b []byte) {
			if !known[maphash.Bytes(seed, b)] {
				again += float64(len(b))
			}
		})
		t.Logf("%s: %d edits in 64 MiB: %.2f %% again, ideal %.2f %%", name, edits,
			100*again/float64(len(data)), 100*ideal/float64(len(data)))
		require.Greater(t, again, 0.0, name)
		require.Less(t, again, 1.5*ideal, name)
	}
}

// eachChunk calls f with every chunk of data.
func eachChunk(c *chunk.Cutter, data []byte, f func([]byte)) {
	for len(data) > 0 {
		n := c.Cut(data, true)
		f(data[:n])
		data = data[n:]
	}
}

// edit inserts or deletes up to 100 bytes at n random places.
func edit(data []byte, n int) []byte {
	r := rand.New(rand.NewPCG(9, 9))
	out := bytes.Clone(data)
	for i := range n {
		p, m := r.IntN(len(out)-200), 1+r.IntN(100)
		if i%2 == 0 {
			out = append(out[:p], append(randomBytes(m, uint64(i)), out[p:]...)...)
		} else {
			out = append(out[:p], out[p+m:]...)
		}
	}
	return out
}

// slowCut is the algorithm of the package comment, word for word.
func slowCut(gear *[256]uint64, pr chunk.Params, d []byte) int {
	a := uint(0)
	for 1<<a < pr.Avg {
		a++
	}
	hash := func(p int) uint64 {
		var h uint64
		for k := range 64 {
			h += gear[d[p-1-k]] << k
		}
		return h
	}
	end := min(int(pr.Max), len(d))
	for p := int(pr.Min); ; {
		p++
		if p >= end {
			return end
		}
		limit := uint64(1) << (64 - (a - 2))
		if p > int(pr.Avg) {
			limit = 1 << (64 - (a - 5))
		}
		if hash(p) < limit {
			return p
		}
		if hash(p) < 1<<(64-(a-7)) {
			p += 7 * int(pr.Avg) / 128
		}
	}
}

// FuzzCut compares the fast cutter with the specification.
func FuzzCut(f *testing.F) {
	f.Add([]byte("seed"), uint64(1), uint16(256), uint8(10))
	f.Add([]byte{0}, uint64(2), uint16(64), uint8(11))
	f.Add(recordText(3000, 1), uint64(3), uint16(300), uint8(10))
	f.Add(randomBytes(200, 1), uint64(4), uint16(1000), uint8(12))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, lo uint16, exp uint8) {
		avg := uint32(1) << (10 + exp%4)
		pr := chunk.Params{Min: max(64, uint32(lo)%avg), Avg: avg, Max: 3 * avg}
		key := sha256.Sum256(fmt.Append(nil, seed))
		c := newCutter(t, key[:], pr)
		gear := referenceGear(t, key[:])
		// Stretch short inputs: the fuzzer seldom finds long ones.
		data = append(bytes.Repeat(data, 1+4000/(len(data)+1)), randomBytes(int(seed%9000), seed)...)
		for len(data) > 0 {
			n := c.Cut(data, true)
			require.Equal(t, slowCut(gear, pr, data), n)
			if early := c.Cut(data[:n], false); early != 0 {
				require.Equal(t, n, early)
			}
			data = data[n:]
		}
	})
}
