package pack

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// ErrDamaged is wrapped when bytes in the store are not those that were stored.
var ErrDamaged = errors.New("the repository is damaged")

// Keyring finds the key of a session's streams. It is safe for concurrent use.
type Keyring interface {
	StreamKey(ctx context.Context, session format.SessionID, t format.Type) ([]byte, error)
}

// Reader reads frames out of packs. It is safe for concurrent use.
type Reader struct {
	store *store.Store
	suite seal.Suite
	repo  format.RepoID
	keys  Keyring

	mu      sync.Mutex
	streams map[format.Hash]*list.Element // of openStream, newest in front
	recent  *list.List
	idle    []*scratch
}

type openStream struct {
	hash   format.Hash
	stream *seal.Stream
}

// scratch is what one read needs beside its result.
type scratch struct {
	object, plain, frame []byte
	decoder              *compress.Decoder
}

const (
	maxStreams = 256
	maxIdle    = 4
	// coalesce is the largest gap in bytes of plaintext that is read over rather than asked around.
	coalesce = 128 << 10
	// maxRun bounds one read.
	maxRun = 4 << 20
)

// NewReader returns a Reader of the repository's packs.
func NewReader(s *store.Store, suite seal.Suite, repo format.RepoID, keys Keyring) *Reader {
	return &Reader{store: s, suite: suite, repo: repo, keys: keys, streams: map[format.Hash]*list.Element{}, recent: list.New()}
}

// FrameAt is where a frame lies in a pack.
type FrameAt struct {
	Offset, Stored, Plain uint32
	Codec                 byte
}

// At returns where the frame of a location lies.
func At(l format.Location) FrameAt {
	return FrameAt{Offset: l.Offset, Stored: l.Stored, Plain: l.Plain, Codec: l.Codec}
}

// Frames reads frames of one pack, which are sorted by offset, in as few requests as their gaps allow, and
// calls f with each decoded frame. The bytes are valid until f returns.
func (r *Reader) Frames(ctx context.Context, ref format.PackRef, at []FrameAt, f func(i int, plain []byte) error) error {
	st, err := r.stream(ctx, ref)
	if err != nil {
		return err
	}
	sc, err := r.scratch()
	if err != nil {
		return err
	}
	defer r.release(sc)
	for first := 0; first < len(at); {
		last := first
		end := int64(at[first].Offset) + int64(at[first].Stored)
		for last+1 < len(at) {
			next := at[last+1]
			if int64(next.Offset) > end+coalesce || int64(next.Offset)+int64(next.Stored)-int64(at[first].Offset) > maxRun {
				break
			}
			last++
			end = max(end, int64(next.Offset)+int64(next.Stored))
		}
		if err := r.run(ctx, st, ref, sc, at[first:last+1], end, func(i int, plain []byte) error { return f(first+i, plain) }); err != nil {
			return err
		}
		first = last + 1
	}
	return nil
}

// run reads the frames of one stretch of a pack.
func (r *Reader) run(ctx context.Context, st *seal.Stream, ref format.PackRef, sc *scratch, at []FrameAt, end int64, f func(int, []byte) error) error {
	start := int64(at[0].Offset)
	off, n := st.Span(start, end-start)
	if off+n > int64(ref.Size) {
		n = int64(ref.Size) - off
	}
	if n <= 0 {
		return fmt.Errorf("pack: a frame lies beyond the end: %w", ErrDamaged)
	}
	var err error
	if sc.object, err = r.store.ReadRange(ctx, ref.Key(), off, n, sc.object[:0]); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	plain, at0, err := st.Decrypt(sc.plain[:0], off, sc.object, int64(ref.Size))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	sc.plain = plain
	for i, a := range at {
		lo := int64(a.Offset) - at0
		hi := lo + int64(a.Stored)
		if lo < 0 || hi > int64(len(plain)) {
			return fmt.Errorf("pack: a frame lies beyond the end: %w", ErrDamaged)
		}
		if sc.frame, err = sc.decoder.Decode(sc.frame[:0], a.Codec, plain[lo:hi], int(a.Plain)); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := f(i, sc.frame); err != nil {
			return err
		}
	}
	return nil
}

// Buffer is the memory that [Reader.Whole] works in: a pack as it is stored, and a frame before and after
// decoding. The zero Buffer is ready and grows as needed. It is for one goroutine at a time.
type Buffer struct {
	object, plain, frame []byte
	decoder              *compress.Decoder
}

// Whole reads a whole pack and verifies all of it: its digest, the footer, every frame, and that what lies
// between the last frame and the footer is zeros. F is called with each frame in the order of the pack;
// where is the frame's offset in the pack's plaintext; stored and plain, the frame as it is stored and
// decoded, are valid until f returns. An error that wraps [ErrDamaged] is of the pack; f may have been called before it. The error of f
// is returned as it is.
func (r *Reader) Whole(ctx context.Context, ref format.PackRef, b *Buffer, f func(frame format.Frame, where uint32, stored, plain []byte) error) error {
	st, err := r.stream(ctx, ref)
	if err != nil {
		return err
	}
	if b.decoder == nil {
		if b.decoder, err = compress.NewDecoder(); err != nil {
			return err
		}
	}
	if b.object, err = r.store.ReadRange(ctx, ref.Key(), 0, int64(ref.Size), b.object[:0]); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if sha256.Sum256(b.object) != ref.Hash {
		return fmt.Errorf("%w: its digest is another", ErrDamaged)
	}
	w := &window{st: st, object: b.object, plain: b.plain[:0]}
	defer func() { b.plain = w.plain }()
	frames, end, err := w.footer(r.suite)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	where := int64(0)
	for _, fr := range frames {
		stored, err := w.at(where, int64(fr.Stored))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		plain := stored
		if fr.Codec != compress.Raw || fr.Stored != fr.Plain {
			if b.frame, err = b.decoder.Decode(b.frame[:0], fr.Codec, stored, int(fr.Plain)); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			plain = b.frame
		}
		if err := f(fr, uint32(where), stored, plain); err != nil {
			return err
		}
		where += int64(fr.Stored)
	}
	return w.zeros(where, end)
}

// window decrypts an object from front to back, each segment once, and holds the plaintext of no more than
// a frame: what is in the processor's cache is not fetched from memory again.
type window struct {
	st     *seal.Stream
	object []byte
	plain  []byte // plaintext from offset base on
	base   int64
	next   int64 // offset in the object of the first segment not decrypted yet
}

// footer returns the frames of the pack and where the footer begins in the plaintext.
func (w *window) footer(suite seal.Suite) ([]format.Frame, int64, error) {
	size, err := suite.PlainSize(int64(len(w.object)))
	if err != nil || size < 4 {
		return nil, 0, ErrDamaged
	}
	length, err := w.tail(size, 4)
	if err != nil {
		return nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(length))
	if n > size-4 {
		return nil, 0, ErrDamaged
	}
	footer, err := w.tail(size, n+4)
	if err != nil {
		return nil, 0, err
	}
	end := size - 4 - n
	frames, err := format.DecodeFooterOf(footer, uint32(end))
	return frames, end, err
}

// tail decrypts the last n bytes of the plaintext, apart from the window.
func (w *window) tail(size, n int64) ([]byte, error) {
	off, _ := w.st.Span(size-n, n)
	plain, at, err := w.st.Decrypt(nil, off, w.object[off:], int64(len(w.object)))
	if err != nil {
		return nil, err
	}
	return plain[size-n-at:], nil
}

// at returns n bytes of the plaintext from offset off, which is never less than in the call before. They
// are valid until the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if drop := min(off-w.base, int64(len(w.plain))); drop > 0 {
		w.plain = w.plain[:copy(w.plain, w.plain[drop:])]
		w.base += drop
	}
	size := int64(len(w.object))
	for w.base+int64(len(w.plain)) < off+n {
		if w.next >= size {
			return nil, ErrDamaged
		}
		end := min(w.next+seal.SegmentSize, size)
		plain, _, err := w.st.Decrypt(w.plain, w.next, w.object[w.next:end], size)
		if err != nil {
			return nil, err
		}
		w.plain, w.next = plain, end
	}
	return w.plain[off-w.base:][:n], nil
}

// zeros refuses padding, from off to end, that is anything else.
func (w *window) zeros(off, end int64) error {
	for off < end {
		n := min(end-off, seal.SegmentSize)
		b, err := w.at(off, n)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for _, v := range b {
			if v != 0 {
				return fmt.Errorf("%w: its padding is not", ErrDamaged)
			}
		}
		off += n
	}
	return nil
}

// stream returns the opened stream of a pack. The prologue comes from the index, so no request is spent
// on it.
func (r *Reader) stream(ctx context.Context, ref format.PackRef) (*seal.Stream, error) {
	r.mu.Lock()
	if el, ok := r.streams[ref.Hash]; ok {
		r.recent.MoveToFront(el)
		st := el.Value.(openStream).stream
		r.mu.Unlock()
		return st, nil
	}
	r.mu.Unlock()
	key, err := r.keys.StreamKey(ctx, ref.Session, ref.Type)
	if err != nil {
		return nil, err
	}
	prologue := append(format.Header(ref.Type), ref.Prologue[:]...)
	st, err := r.suite.OpenStream(key, AAD(r.suite, r.repo, ref.Type, ref.Session, ref.Number), prologue)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.streams[ref.Hash]; !ok {
		r.streams[ref.Hash] = r.recent.PushFront(openStream{ref.Hash, st})
		if r.recent.Len() > maxStreams {
			old := r.recent.Remove(r.recent.Back()).(openStream)
			delete(r.streams, old.hash)
		}
	}
	return st, nil
}

func (r *Reader) scratch() (*scratch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n > 0 {
		sc := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return sc, nil
	}
	d, err := compress.NewDecoder()
	return &scratch{decoder: d}, err
}

func (r *Reader) release(sc *scratch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) < maxIdle {
		r.idle = append(r.idle, sc)
	}
}
