package seal_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

// borderSizes are plaintext lengths around every border of the layout.
func borderSizes(s seal.Suite) []int {
	body := seal.SegmentSize - tagSize(s)
	first := body - seal.PrologueSize
	sizes := []int{0, 1, 15, 16, 17, 31, 32, 33, 1000}
	for segments := range 4 {
		for _, d := range []int{-33, -17, -16, -1, 0, 1, 16, 17, 33} {
			sizes = append(sizes, first+segments*body+d)
		}
	}
	return sizes
}

var (
	testHeader = []byte{'C', 'K', 3, 1}
	testAAD    = []byte("repo|suite|class|session")
)

func TestStreamAgainstTink(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		key := fixed("stream")
		for _, n := range borderSizes(s) {
			plaintext := pattern(n)
			size := s.StreamSize(int64(n))

			ours, err := s.SealStream([]byte("before"), testHeader, key, testAAD, plaintext)
			require.NoError(t, err, n)
			require.Equal(t, "before", string(ours[:6]))
			ours = ours[6:]
			require.EqualValues(t, size, len(ours), n)
			require.Equal(t, testHeader, ours[:4])
			got, err := tinkOpen(t, s, key, testAAD, ours)
			require.NoError(t, err, n)
			require.True(t, bytes.Equal(plaintext, got), n)

			theirs := tinkSeal(t, s, testHeader, key, testAAD, plaintext)
			require.EqualValues(t, size, len(theirs), n)
			got, err = openAll(s, key, testAAD, theirs)
			require.NoError(t, err, n)
			require.True(t, bytes.Equal(plaintext, got), n)

			back, err := s.PlainSize(size)
			require.NoError(t, err)
			require.EqualValues(t, n, back)
		}
	})
}

func TestStreamIsFresh(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		a, err := s.SealStream(nil, testHeader, fixed("k"), nil, pattern(100))
		require.NoError(t, err)
		b, err := s.SealStream(nil, testHeader, fixed("k"), nil, pattern(100))
		require.NoError(t, err)
		for _, part := range [][2]int{{5, 37}, {37, 44}, {44, len(a)}} { // salt, nonce prefix, ciphertext
			require.NotEqual(t, a[part[0]:part[1]], b[part[0]:part[1]])
		}
	})
}

func TestStreamSizes(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		tag := int64(tagSize(s))
		// Every object length up to three segments comes from exactly one plaintext length, or is refused.
		plain := int64(0)
		for object := int64(-1); object <= 3*seal.SegmentSize; object++ {
			want := int64(-1)
			if object == s.StreamSize(plain) {
				want, plain = plain, plain+1
			}
			got, err := s.PlainSize(object)
			if err != nil {
				got = -1
				if !errors.Is(err, seal.ErrAuthentication) {
					require.NoError(t, err)
				}
			}
			if got != want {
				require.Equal(t, want, got, "object length %d", object)
			}
		}
		require.EqualValues(t, 3*seal.SegmentSize-seal.PrologueSize-3*tag+1, plain)
		const longest = int64(math.MaxUint32) * seal.SegmentSize
		plain, err := s.PlainSize(longest)
		require.NoError(t, err)
		require.Equal(t, longest-seal.PrologueSize-math.MaxUint32*tag, plain)
		require.EqualValues(t, longest, s.StreamSize(plain))
		require.Zero(t, s.StreamSize(plain+1))
		require.Zero(t, s.StreamSize(-1))
		require.Zero(t, s.StreamSize(math.MaxInt64))
		for _, n := range []int64{longest + 1, math.MaxInt64, math.MinInt64} {
			_, err = s.PlainSize(n)
			require.ErrorIs(t, err, seal.ErrAuthentication)
		}
	})
}

func TestStreamRandomAccess(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		random := rand.New(rand.NewPCG(1, 2))
		plaintext := pattern(5*seal.SegmentSize + 123)
		object, err := s.SealStream(nil, testHeader, fixed("k"), testAAD, plaintext)
		require.NoError(t, err)
		size := int64(len(object))
		st, err := s.OpenStream(fixed("k"), testAAD, object[:seal.PrologueSize])
		require.NoError(t, err)
		read := func(off, n int64) {
			objOff, objLen := st.Span(off, n)
			require.Zero(t, objOff%seal.SegmentSize)
			end := min(objOff+objLen, size)
			got, plainOff, err := st.Decrypt(nil, objOff, object[objOff:end], size)
			require.NoError(t, err)
			require.LessOrEqual(t, plainOff, off)
			require.GreaterOrEqual(t, plainOff+int64(len(got)), off+n)
			require.True(t, bytes.Equal(plaintext[plainOff:plainOff+int64(len(got))], got))
			// No segment is fetched in vain.
			require.Less(t, off-plainOff, int64(seal.SegmentSize))
			require.Less(t, plainOff+int64(len(got))-off-n, int64(seal.SegmentSize))
		}
		for range 300 {
			off := random.Int64N(int64(len(plaintext)))
			read(off, 1+random.Int64N(min(int64(len(plaintext))-off, 2*seal.SegmentSize)))
		}
		for _, border := range borderSizes(s) {
			for _, off := range []int{border - 1, border} {
				if off >= 0 && off < len(plaintext)-2 {
					read(int64(off), 1)
					read(int64(off), 2)
				}
			}
		}
	})
}

func TestStreamSpanEdges(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		object, err := s.SealStream(nil, testHeader, fixed("k"), nil, nil)
		require.NoError(t, err)
		st, err := s.OpenStream(fixed("k"), nil, object)
		require.NoError(t, err)
		body := int64(seal.SegmentSize - tagSize(s))
		for _, c := range [][4]int64{ // off, n, objOff, objLen
			{0, 0, 0, 0},
			{-1, 5, 0, 0},
			{5, -1, 0, 0},
			{math.MaxInt64, 1, 0, 0},
			{0, 1, 0, seal.SegmentSize},
			{0, body - 44, 0, seal.SegmentSize},
			{0, body - 43, 0, 2 * seal.SegmentSize},
			{body - 44, 1, seal.SegmentSize, seal.SegmentSize},
			{body - 44, 0, seal.SegmentSize, 0},
			{0, math.MaxInt64, 0, math.MaxUint32 * seal.SegmentSize},
		} {
			objOff, objLen := st.Span(c[0], c[1])
			require.Equal(t, [2]int64{c[2], c[3]}, [2]int64{objOff, objLen}, c)
		}
	})
}

// rejected requires that no part of the altered object opens to something that was never sealed there:
// a segment that opens must be one left untouched, and the whole never opens.
func rejected(t *testing.T, s seal.Suite, key, aad, object []byte, what string) {
	t.Helper()
	got, err := openAll(s, key, aad, object)
	require.ErrorIs(t, err, seal.ErrAuthentication, what)
	require.Nil(t, got, what)
}

func TestStreamEveryByteCounts(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		key := fixed("k")
		small, err := s.SealStream(nil, testHeader, key, testAAD, pattern(50))
		require.NoError(t, err)
		for i := range small {
			for bit := range 8 {
				small[i] ^= 1 << bit
				rejected(t, s, key, testAAD, small, "flipped bit")
				small[i] ^= 1 << bit
			}
		}
		for n := range len(small) {
			rejected(t, s, key, testAAD, small[:n], "truncated")
		}
		rejected(t, s, key, testAAD, append(slices.Clip(small), 0), "one byte more")
		rejected(t, s, key, []byte("other"), small, "other aad")
		rejected(t, s, key, nil, small, "no aad")
		rejected(t, s, fixed("other"), testAAD, small, "other key")
		rejected(t, 3-s, key, testAAD, small, "other suite")
	})
}

func TestStreamBorders(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		key, body := fixed("k"), seal.SegmentSize-tagSize(s)
		first := body - seal.PrologueSize
		for _, n := range []int{first, first + body, first + 2*body, first + 2*body + 7} {
			object, err := s.SealStream(nil, testHeader, key, testAAD, pattern(n))
			require.NoError(t, err)
			for border := seal.SegmentSize; border < len(object)+seal.SegmentSize; border += seal.SegmentSize {
				for _, d := range []int{-33, -32, -17, -16, -1, 0, 1, 15, 16, 17, 32, 33} {
					at := border + d
					if at < len(object) {
						rejected(t, s, key, testAAD, object[:at], "truncated near a border")
						object[at] ^= 0x80
						rejected(t, s, key, testAAD, object, "flipped near a border")
						object[at] ^= 0x80
					}
				}
			}
			for extra := range 40 { // an empty last segment has no place after a full one
				rejected(t, s, key, testAAD, append(slices.Clip(object), make([]byte, extra+1)...), "longer")
			}
		}
	})
}

func TestStreamSegmentsStay(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		key, body := fixed("k"), seal.SegmentSize-tagSize(s)
		plaintext := pattern(4*body - seal.PrologueSize) // four full segments
		object, err := s.SealStream(nil, testHeader, key, testAAD, plaintext)
		require.NoError(t, err)
		segment := func(o []byte, i int) []byte { return o[i*seal.SegmentSize:][:seal.SegmentSize] }

		swapped := bytes.Clone(object)
		copy(segment(swapped, 1), segment(object, 2))
		copy(segment(swapped, 2), segment(object, 1))
		rejected(t, s, key, testAAD, swapped, "segments swapped")

		repeated := append(bytes.Clone(object), segment(object, 3)...)
		rejected(t, s, key, testAAD, repeated, "last segment repeated")

		other, err := s.SealStream(nil, testHeader, key, testAAD, plaintext)
		require.NoError(t, err)
		spliced := bytes.Clone(object)
		copy(segment(spliced, 1), segment(other, 1))
		rejected(t, s, key, testAAD, spliced, "segment of another object")

		// The last-segment flag: a full middle segment cannot end an object, nor a last one be followed.
		st, err := s.OpenStream(key, testAAD, object)
		require.NoError(t, err)
		refuse := func(objOff int64, part []byte, size int64) {
			_, _, err := st.Decrypt(nil, objOff, part, size)
			require.ErrorIs(t, err, seal.ErrAuthentication)
		}
		refuse(0, object[:3*seal.SegmentSize], 3*seal.SegmentSize)
		refuse(2*seal.SegmentSize, segment(object, 2), 3*seal.SegmentSize)
		refuse(3*seal.SegmentSize, segment(object, 3), 5*seal.SegmentSize)
		refuse(seal.SegmentSize, segment(object, 2), 4*seal.SegmentSize) // in another's place
		refuse(0, other, int64(len(other)))                              // another object's prologue
		for i := range seal.PrologueSize {                               // or an altered one
			object[i] ^= 1
			refuse(0, object, int64(len(object)))
			object[i] ^= 1
		}
		for i := range 4 { // and each opens where it belongs
			got, off, err := st.Decrypt(nil, int64(i)*seal.SegmentSize, segment(object, i), int64(len(object)))
			require.NoError(t, err)
			require.True(t, bytes.Equal(plaintext[off:off+int64(len(got))], got))
		}
	})
}

func TestStreamDecryptArguments(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		object, err := s.SealStream(nil, testHeader, fixed("k"), nil, pattern(3*seal.SegmentSize))
		require.NoError(t, err)
		size := int64(len(object))
		st, err := s.OpenStream(fixed("k"), nil, object)
		require.NoError(t, err)
		for _, c := range []struct {
			off  int64
			part []byte
			size int64
		}{
			{0, nil, size},
			{-seal.SegmentSize, object[:seal.SegmentSize], size},
			{1, object[1:seal.SegmentSize], size},
			{0, object[:seal.SegmentSize-1], size},
			{0, object[:10], size},
			{math.MaxInt64 / seal.SegmentSize * seal.SegmentSize, object, size},
			{seal.SegmentSize, object, size},
			{0, object, -1},
			{0, object, 10},
		} {
			_, _, err := st.Decrypt(nil, c.off, c.part, c.size)
			require.Error(t, err)
		}
		kept := []byte("kept")
		got, _, err := st.Decrypt(kept, 0, object, size)
		require.NoError(t, err)
		require.Equal(t, "kept", string(got[:4]))
		require.True(t, bytes.Equal(pattern(3*seal.SegmentSize), got[4:]))

		// After a failure nothing of the plaintext stays in the caller's buffer.
		object[len(object)-1] ^= 1
		buf := make([]byte, 0, len(object))
		_, _, err = st.Decrypt(buf, 0, object, size)
		require.ErrorIs(t, err, seal.ErrAuthentication)
		require.Equal(t, make([]byte, 3*seal.SegmentSize), buf[:3*seal.SegmentSize])

		for _, header := range [][]byte{nil, {1, 2, 3}, {1, 2, 3, 4, 5}} {
			_, err = s.SealStream(nil, header, fixed("k"), nil, nil)
			require.Error(t, err)
		}
		for _, key := range [][]byte{nil, make([]byte, 16), make([]byte, 33)} {
			_, err = s.SealStream(nil, testHeader, key, nil, nil)
			require.Error(t, err)
			_, err = s.OpenStream(key, nil, object)
			require.Error(t, err)
		}
	})
}

func TestStreamConcurrent(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		plaintext := pattern(3 * seal.SegmentSize)
		object, err := s.SealStream(nil, testHeader, fixed("k"), nil, plaintext)
		require.NoError(t, err)
		st, err := s.OpenStream(fixed("k"), nil, object)
		require.NoError(t, err)
		var wg sync.WaitGroup
		results := make([]bool, 8)
		for g := range results {
			wg.Go(func() {
				ok := true
				for i := range 20 {
					off := int64((g+i)%3) * seal.SegmentSize
					got, at, err := st.Decrypt(nil, off, object[off:off+seal.SegmentSize], int64(len(object)))
					ok = ok && err == nil && bytes.Equal(plaintext[at:at+int64(len(got))], got)
				}
				results[g] = ok
			})
		}
		wg.Wait()
		require.NotContains(t, results, false)
	})
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	object, err := seal.T1.SealStream(nil, testHeader, fixed("k"), nil, pattern(4*seal.SegmentSize))
	require.NoError(t, err)
	st, err := seal.T1.OpenStream(fixed("k"), nil, object)
	require.NoError(t, err)
	plain, err := seal.T1.PlainSize(int64(len(object)))
	require.NoError(t, err)
	dst := make([]byte, 0, plain) // exactly enough
	require.Zero(t, testing.AllocsPerRun(20, func() {
		_, _, err = st.Decrypt(dst, 0, object, int64(len(object)))
	}))
	require.NoError(t, err)

	prf, err := seal.NewPRF(fixed("k"))
	require.NoError(t, err)
	data := pattern(16 << 10)
	require.Zero(t, testing.AllocsPerRun(20, func() {
		var id [32]byte // a caller's local stays off the heap
		prf.Sum(&id, data)
	}))

	// Sealing into room allocates keys, not buffers.
	room := make([]byte, 0, len(object))
	before := &room[:1][0]
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	room, err = seal.T1.SealStream(room, testHeader, fixed("k"), nil, dst[:plain])
	runtime.ReadMemStats(&m1)
	require.NoError(t, err)
	require.Same(t, before, &room[0])
	require.Less(t, m1.TotalAlloc-m0.TotalAlloc, uint64(16<<10))
}
