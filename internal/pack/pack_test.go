package pack_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func sha(b []byte) format.Hash { return sha256.Sum256(b) }

const size = 6 * seal.SegmentSize

var (
	repo = format.RepoID{1}
	sess = format.SessionID{2}
)

type keyring []byte

func (k keyring) StreamKey(_ context.Context, s format.SessionID, t format.Type) ([]byte, error) {
	if s != sess || t != format.TypeData {
		return nil, errors.New("no such session")
	}
	return k, nil
}

var key = keyring(bytes.Repeat([]byte{3}, seal.KeySize))

// stored is a pack as it was told, with the frames and, in the same order, their plaintext.
type stored struct {
	ref    format.PackRef
	frames []format.Frame
}

// rig is a writer and what it stored where.
type rig struct {
	t       *testing.T
	s       *faultstore.Store
	buffers chan []byte
	w       *pack.Writer
	packs   []stored
	plain   map[format.ID][]byte // of each frame, by its first chunk
	rand    *rand.Rand
}

func newRig(t *testing.T, suite seal.Suite, change ...func(*pack.Config)) *rig {
	r := &rig{t: t, s: faultstore.New(), buffers: pack.NewBuffers(3), plain: map[format.ID][]byte{}, rand: rand.New(rand.NewPCG(1, 2))}
	st := store.New(r.s.Bucket(), store.Options{})
	c := pack.Config{
		Suite: suite, Repo: repo, Session: sess, Type: format.TypeData, Key: key, Number: 7, Size: size, Buffers: r.buffers, Put: st.Put,
		Stored: func(_ context.Context, ref format.PackRef, frames []format.Frame) error {
			r.packs = append(r.packs, stored{ref, frames})
			return nil
		},
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	r.w, err = pack.NewWriter(c)
	require.NoError(t, err)
	return r
}

// frame makes the n-th frame, of one to three chunks.
func (r *rig) frame(n, bytes int) ([]byte, []format.Chunk) {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.rand.Uint32())
	}
	var chunks []format.Chunk
	for i, left := 0, bytes; left > 0; i++ {
		k := left
		if i < 2 && left > 10 {
			k = 1 + left/3
		}
		chunks = append(chunks, format.Chunk{ID: format.ID{byte(n >> 8), byte(n), byte(i)}, Len: uint32(k)})
		left -= k
	}
	r.plain[chunks[0].ID] = b
	return b, chunks
}

func (r *rig) add(n, bytes int) error {
	b, chunks := r.frame(n, bytes)
	err := r.w.Add(r.t.Context(), compress.Raw, b, chunks)
	return err
}

func (r *rig) requireBuffers() {
	require.Len(r.t, r.buffers, 3)
}

func (r *rig) reader(suite seal.Suite, k keyring) *pack.Reader {
	return pack.NewReader(store.New(r.s.Bucket(), store.Options{Attempts: 1}), suite, repo, k)
}

// at lists where the frames of a pack lie.
func at(p stored) (out []pack.FrameAt) {
	where := uint32(0)
	for _, f := range p.frames {
		var plain uint32
		for _, c := range f.Chunks {
			plain += c.Len
		}
		out = append(out, pack.FrameAt{Offset: where, Stored: f.Stored, Plain: plain, Codec: f.Codec})
		where += f.Stored
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, suite := range []seal.Suite{seal.T1, seal.F1} {
		r := newRig(t, suite)
		const frames = 60
		for n := range frames {
			require.NoError(t, r.add(n, 1+r.rand.IntN(60_000)))
		}
		require.NoError(t, r.w.Flush(t.Context()))
		r.requireBuffers()
		require.Greater(t, len(r.packs), 4)
		require.Len(t, r.s.Keys(), len(r.packs))

		numbers := map[uint32]bool{}
		seen := 0
		reader := r.reader(suite, key)
		for _, p := range r.packs {
			numbers[p.ref.Number] = true
			object := r.s.Get(p.ref.Key())
			require.Len(t, object, int(p.ref.Size))
			if p.ref.Number != r.w.Number()-1 {
				require.Len(t, object, size, "a full pack")
			} else {
				require.GreaterOrEqual(t, len(object), pack.MinSize)
			}
			check := func(i int, plain []byte) error {
				seen++
				require.Equal(t, r.plain[p.frames[i].Chunks[0].ID], plain)
				return nil
			}
			require.NoError(t, reader.Frames(t.Context(), p.ref, at(p), check))
			i := 0
			require.NoError(t, reader.Whole(t.Context(), p.ref, &pack.Buffer{}, func(f format.Frame, where uint32, _, plain []byte) error {
				require.Equal(t, p.frames[i].Chunks, f.Chunks)
				require.Equal(t, at(p)[i].Offset, where)
				require.NoError(t, check(i, plain))
				i++
				return nil
			}))
			require.Len(t, p.frames, i)
		}
		require.Equal(t, 2*frames, seen)
		require.Len(t, numbers, len(r.packs))
		require.True(t, numbers[7] && numbers[r.w.Number()-1])
	}
}

// What the last pack's size tells is one of few sizes, and never that it is nearly empty.
func TestLastPack(t *testing.T) {
	for _, n := range []int{1, 1000, 60_000, 70_000, 131_000, 131_072, 200_001, 4*seal.SegmentSize - 2000} {
		r := newRig(t, seal.T1)
		require.NoError(t, r.add(1, n))
		require.NoError(t, r.w.Flush(t.Context()))
		require.Len(t, r.packs, 1)
		got := int64(r.packs[0].ref.Size)
		require.GreaterOrEqual(t, got, int64(pack.MinSize))
		require.LessOrEqual(t, got, int64(size))
		require.GreaterOrEqual(t, got, int64(n))
		if got < size {
			require.Equal(t, pack.Padme(got), got, n)
		}
		if n > pack.MinSize {
			require.Less(t, float64(got), 1.035*float64(n)+1000)
		}
		require.NoError(t, r.reader(seal.T1, key).Whole(t.Context(), r.packs[0].ref, &pack.Buffer{}, func(_ format.Frame, _ uint32, _, plain []byte) error {
			require.Len(t, plain, n)
			return nil
		}))
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, 1: 1, 2: 2, 7: 7, 8: 8, 9: 10, 15: 16, 17: 18, 100: 104, 255: 256, 1000: 1024, 65_535: 65_536, 65_537: 67_584, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15,
	} {
		require.Equal(t, want, pack.Padme(n), n)
	}
	for n := int64(2); n < 1<<21; n += 1 + n/97 {
		p := pack.Padme(n)
		require.GreaterOrEqual(t, p, n)
		require.Equal(t, p, pack.Padme(p))
		require.LessOrEqual(t, float64(p-n), 0.12*float64(n))
		if n >= 64<<10 {
			require.LessOrEqual(t, float64(p-n), 0.032*float64(n))
		}
	}
}

func TestNothingAdded(t *testing.T) {
	r := newRig(t, seal.T1)
	require.NoError(t, r.w.Flush(t.Context()))
	require.Empty(t, r.s.Keys())
	require.Equal(t, uint32(7), r.w.Number())
	r.requireBuffers()
	r.w.Abort()
	r.requireBuffers()
}

func TestAbort(t *testing.T) {
	r := newRig(t, seal.T1)
	for n := range 8 {
		require.NoError(t, r.add(n, 200_000))
	}
	r.w.Abort()
	r.requireBuffers()
	before := len(r.s.Keys())
	require.NoError(t, r.w.Flush(t.Context()))
	require.Len(t, r.s.Keys(), before)
	r.requireBuffers()
}

func TestUnusable(t *testing.T) {
	_, err := pack.NewWriter(pack.Config{Suite: seal.T1, Size: pack.MinSize})
	require.ErrorContains(t, err, "not usable")
	r := newRig(t, seal.T1)
	require.ErrorContains(t, r.add(1, size), "does not fit")
	r.w.Abort()
	r.requireBuffers()

	r = newRig(t, seal.T1, func(c *pack.Config) { c.Key = c.Key[:5] })
	require.Error(t, r.add(1, 10))
	require.NoError(t, r.w.Flush(t.Context()))
	r.requireBuffers()
}

func TestFailureSticks(t *testing.T) {
	full := errors.New("the store is full")
	for name, change := range map[string]func(*pack.Config){
		"put": func(c *pack.Config) { c.Put = func(context.Context, string, []byte) error { return full } },
		"stored": func(c *pack.Config) {
			c.Stored = func(context.Context, format.PackRef, []format.Frame) error { return full }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, seal.T1, change)
			var err error
			for n := 0; n < 1000 && err == nil; n++ {
				err = r.add(n, 200_000)
			}
			require.ErrorIs(t, err, full)
			require.ErrorIs(t, r.add(1, 1), full)
			require.ErrorIs(t, r.w.Flush(t.Context()), full)
			require.ErrorIs(t, r.w.Flush(t.Context()), full)
			r.requireBuffers()
			require.Empty(t, r.packs)
		})
	}
}

// With all buffers in use Add waits, until its context ends.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	r := newRig(t, seal.T1, func(c *pack.Config) {
		c.Put = func(context.Context, string, []byte) error { <-hold; return nil }
	})
	n, done := 0, make(chan error)
	go func() {
		for {
			b, chunks := r.frame(n, 300_000)
			if err := r.w.Add(ctx, compress.Raw, b, chunks); err != nil {
				done <- err
				return
			}
			n++
		}
	}()
	for len(r.buffers) > 0 {
		select {
		case err := <-done:
			require.NoError(t, err)
		default:
		}
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	close(hold)
	r.w.Abort()
	r.requireBuffers()
}

func TestConcurrentAdd(t *testing.T) {
	r := newRig(t, seal.T1)
	type frame struct {
		b      []byte
		chunks []format.Chunk
	}
	var frames []frame
	for n := range 40 {
		b, chunks := r.frame(n, 50_000)
		frames = append(frames, frame{b, chunks})
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := i; n < len(frames); n += 4 {
				if err := r.w.Add(t.Context(), compress.Raw, frames[n].b, frames[n].chunks); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, r.w.Flush(t.Context()))
	reader, seen := r.reader(seal.T1, key), map[format.ID]bool{}
	for _, p := range r.packs {
		require.NoError(t, reader.Whole(t.Context(), p.ref, &pack.Buffer{}, func(f format.Frame, _ uint32, _, plain []byte) error {
			seen[f.Chunks[0].ID] = true
			require.True(t, bytes.Equal(r.plain[f.Chunks[0].ID], plain))
			return nil
		}))
	}
	require.Len(t, seen, len(frames))
}

// full writes one pack of many frames and returns it.
func full(t *testing.T, change ...func(*pack.Config)) (*rig, stored) {
	r := newRig(t, seal.T1, change...)
	for n := range 100 {
		require.NoError(t, r.add(n, 35_000))
	}
	require.NoError(t, r.w.Flush(t.Context()))
	return r, r.packs[len(r.packs)-1]
}

// Frames that lie close together are one request; far ones are several.
func TestCoalescing(t *testing.T) {
	r, p := full(t, func(c *pack.Config) { c.Size = 56 * seal.SegmentSize })
	all := at(p)
	require.Len(t, r.packs, 1)
	for _, c := range []struct {
		pick     []int
		requests int
	}{
		{nil, 0},
		{[]int{5}, 1},
		{[]int{5, 6, 7}, 1},
		{[]int{5, 8}, 1},      // 70,000 bytes between
		{[]int{5, 10}, 2},     // 140,000 bytes between
		{[]int{0, 50, 99}, 3}, //
		{[]int{4, 4, 5}, 1},   // one of them twice
		{[]int{0, 3, 6, 9, 12}, 1},
	} {
		var pick []pack.FrameAt
		for _, i := range c.pick {
			pick = append(pick, all[i])
		}
		r.s.Record()
		var got []int
		require.NoError(t, r.reader(seal.T1, key).Frames(t.Context(), p.ref, pick, func(i int, plain []byte) error {
			got = append(got, i)
			require.Equal(t, r.plain[p.frames[c.pick[i]].Chunks[0].ID], plain)
			return nil
		}))
		require.Len(t, got, len(pick))
		require.Len(t, r.s.Log(), c.requests, fmt.Sprint(c.pick))
	}
	stop := errors.New("stop")
	require.ErrorIs(t, r.reader(seal.T1, key).Frames(t.Context(), p.ref, all, func(int, []byte) error { return stop }), stop)
}

func TestDamage(t *testing.T) {
	r, p := full(t)
	whole := func(k keyring, ref format.PackRef) error {
		return r.reader(seal.T1, k).Whole(t.Context(), ref, &pack.Buffer{}, func(format.Frame, uint32, []byte, []byte) error { return nil })
	}
	frames := func(k keyring, ref format.PackRef) error {
		return r.reader(seal.T1, k).Frames(t.Context(), ref, at(p), func(i int, plain []byte) error {
			require.True(t, bytes.Equal(r.plain[p.frames[i].Chunks[0].ID], plain), "what is handed on is right")
			return nil
		})
	}
	good := r.s.Get(p.ref.Key())
	for name, read := range map[string]func(keyring, format.PackRef) error{"whole": whole, "frames": frames} {
		require.NoError(t, read(key, p.ref), name)
		require.ErrorIs(t, read(bytes.Repeat([]byte{9}, seal.KeySize), p.ref), pack.ErrDamaged, name)
		for what, change := range map[string]func(*format.PackRef){
			"number":   func(x *format.PackRef) { x.Number++ },
			"prologue": func(x *format.PackRef) { x.Prologue[39] ^= 1 },
		} {
			ref := p.ref
			change(&ref)
			require.ErrorIs(t, read(key, ref), pack.ErrDamaged, "%s: %s", name, what)
		}
		last := at(p)[len(p.frames)-1]
		within := int(last.Offset) // every byte up to there is read by both
		for i := format.HeaderSize + 40; i < within; i += 9973 {
			bad := bytes.Clone(good)
			bad[i] ^= 0x10
			r.s.Set(p.ref.Key(), bad)
			require.ErrorIs(t, read(key, p.ref), pack.ErrDamaged, "%s: byte %d", name, i)
		}
		r.s.Set(p.ref.Key(), good)
		require.NoError(t, read(key, p.ref))
	}
	for _, n := range []int{0, 3, 50, seal.SegmentSize, len(good) / 2, len(good) - 1} {
		if n >= len(good) {
			continue // the last pack's size depends on how well the rest was packed
		}
		r.s.Set(p.ref.Key(), good[:n])
		require.Error(t, whole(key, p.ref))
		short := p.ref
		short.Size = uint32(n)
		require.ErrorIs(t, whole(key, short), pack.ErrDamaged, n)
	}
	r.s.Set(p.ref.Key(), good)
	for _, a := range []pack.FrameAt{
		{Offset: uint32(len(good)), Stored: 10, Plain: 10},
		{Offset: 1 << 31, Stored: 10, Plain: 10},
		{Offset: uint32(len(good)) - 500, Stored: 1 << 20, Plain: 1 << 20},
		{Offset: 0, Stored: 10, Plain: 11},
		{Offset: 0, Stored: 10, Plain: 10, Codec: 200},
	} {
		err := r.reader(seal.T1, key).Frames(t.Context(), p.ref, []pack.FrameAt{a}, func(int, []byte) error { return nil })
		require.ErrorIs(t, err, pack.ErrDamaged, "%+v", a)
	}
}

// forge seals a plaintext as a pack, as whoever holds a writer's key can.
func forge(t testing.TB, plain []byte) (format.PackRef, []byte) {
	aad := pack.AAD(seal.T1, repo, format.TypeData, sess, 1)
	x, err := seal.T1.NewSealer(nil, format.Header(format.TypeData), key, aad)
	require.NoError(t, err)
	_, err = x.Write(plain)
	require.NoError(t, err)
	object := x.Close()
	ref := format.PackRef{Type: format.TypeData, Session: sess, Number: 1, Size: uint32(len(object)), Hash: sha(object)}
	copy(ref.Prologue[:], object[format.HeaderSize:])
	return ref, object
}

func TestPaddingIsZeros(t *testing.T) {
	frame := []byte("frame")
	footer := format.AppendFooter(nil, []format.Frame{{Stored: 5, Codec: compress.Raw, Chunks: []format.Chunk{{Len: 5}}}})
	for _, c := range []struct {
		padding byte
		want    error
	}{{0, nil}, {1, pack.ErrDamaged}} {
		plain := bytes.Join([][]byte{frame, make([]byte, 1000), {c.padding}, footer}, nil)
		ref, object := forge(t, plain)
		s := faultstore.New()
		s.Set(ref.Key(), object)
		r := pack.NewReader(store.New(s.Bucket(), store.Options{}), seal.T1, repo, key)
		require.ErrorIs(t, r.Whole(t.Context(), ref, &pack.Buffer{}, func(format.Frame, uint32, []byte, []byte) error { return nil }), c.want)
	}
}

// FuzzFooter reads packs of a hostile writer, whose streams are sound: nothing but an error comes of them.
func FuzzFooter(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255})
	f.Add(append([]byte("frame"), format.AppendFooter(nil, []format.Frame{{Stored: 5, Codec: compress.Raw, Chunks: []format.Chunk{{Len: 5}}}})...))
	f.Add(format.AppendFooter(nil, []format.Frame{{Stored: 1 << 30, Codec: 1, Chunks: []format.Chunk{{Len: 1 << 22}}}}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		ref, object := forge(t, plain)
		s := faultstore.New()
		s.Set(ref.Key(), object)
		r := pack.NewReader(store.New(s.Bucket(), store.Options{}), seal.T1, repo, key)
		end := uint32(0)
		err := r.Whole(t.Context(), ref, &pack.Buffer{}, func(fr format.Frame, where uint32, _, plain []byte) error {
			require.Equal(t, end, where)
			require.Len(t, plain, int(fr.Plain))
			end += fr.Stored
			return nil
		})
		require.LessOrEqual(t, int(end), len(plain))
		if err != nil {
			require.ErrorIs(t, err, pack.ErrDamaged)
		}
	})
}
