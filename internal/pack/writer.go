// Package pack writes frames into packs and reads them back.
//
// A pack is one encrypted stream, so the store sees neither frames nor chunks, only that a pack exists.
// Full packs all have the same size; the last of a run is padded by the Padmé rule (Nikitin et al.,
// "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019), which
// hides all but O(log log n) bits of its length at a cost of at most 12 %, 3 % from 64 KiB on.
package pack

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// MinSize is the smallest pack in bytes.
const MinSize = 64 << 10

// DefaultSize is a full pack in bytes: 255 whole segments, which stays below the 16 MiB from which S3
// clients split an upload in parts and learn of a conflict only at its end.
const DefaultSize = 255 * seal.SegmentSize

// Domain begins what the stream of a pack authenticates.
const Domain = "carekeep/v1 pack"

// AAD is what the stream of a pack authenticates beside its bytes: where it belongs.
func AAD(suite seal.Suite, repo format.RepoID, t format.Type, session format.SessionID, number uint32) []byte {
	b := append([]byte(Domain), byte(suite))
	b = append(b, repo[:]...)
	b = append(b, byte(t))
	b = append(b, session[:]...)
	return binary.BigEndian.AppendUint32(b, number)
}

// Config says what a Writer writes and where to.
type Config struct {
	Suite   seal.Suite
	Repo    format.RepoID
	Session format.SessionID
	Type    format.Type // TypeData or TypeMetadata
	Key     []byte      // of the session's streams of this type
	Number  uint32      // of the first pack
	Size    int         // bytes of a full pack
	// Buffers holds one buffer per pack that may be in memory at once; writers of one run share it.
	Buffers chan []byte
	// Put stores a finished pack.
	Put func(ctx context.Context, key string, object []byte) error
	// Stored is called once for every pack that Put has stored, by one goroutine at a time.
	Stored func(ctx context.Context, ref format.PackRef, frames []format.Frame) error
}

// Writer fills packs and stores them in the background. It is safe for concurrent use. The first error
// sticks and is returned from every later call.
type Writer struct {
	c     Config
	plain int // capacity of a full pack

	mu     sync.Mutex
	x      *seal.Sealer
	frames []format.Frame
	footer int // upper bound of the footer's bytes so far
	number uint32

	wg       sync.WaitGroup
	storedMu sync.Mutex
	errMu    sync.Mutex
	err      error
}

// NewWriter returns a Writer. Its background work ends with [Writer.Flush] or [Writer.Abort].
func NewWriter(c Config) (*Writer, error) {
	plain, err := c.Suite.PlainSize(int64(c.Size))
	if err != nil || plain < 2*MinSize {
		return nil, fmt.Errorf("pack size %d is not usable: %w", c.Size, err)
	}
	return &Writer{c: c, plain: int(plain), number: c.Number}, nil
}

// NewBuffers returns room for n packs of size bytes in memory at once.
func NewBuffers(n int) chan []byte {
	ch := make(chan []byte, n)
	for range n {
		ch <- nil // allocated on first use
	}
	return ch
}

// Add copies one frame into a pack. Stored is the frame as encoded; it and the chunks are the caller's
// again on return, the chunks' slice is kept.
func (w *Writer) Add(ctx context.Context, codec byte, stored []byte, chunks []format.Chunk) error {
	if err := w.failure(); err != nil {
		return err
	}
	need := 16 + 36*len(chunks)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.x != nil && int(w.x.Len())+len(stored)+w.footer+need > w.plain {
		w.close(ctx, w.plain)
	}
	if w.x == nil {
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	if len(stored)+w.footer+need > w.plain {
		return fmt.Errorf("a frame of %d bytes does not fit a pack", len(stored))
	}
	w.x.Write(stored)
	w.frames = append(w.frames, format.Frame{Codec: codec, Stored: uint32(len(stored)), Chunks: chunks})
	w.footer += need
	return nil
}

func (w *Writer) begin(ctx context.Context) error {
	var buf []byte
	select {
	case buf = <-w.c.Buffers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if cap(buf) < w.c.Size {
		buf = make([]byte, 0, w.c.Size)
	}
	aad := AAD(w.c.Suite, w.c.Repo, w.c.Type, w.c.Session, w.number)
	x, err := w.c.Suite.NewSealer(buf, format.Header(w.c.Type), w.c.Key, aad)
	if err != nil {
		w.c.Buffers <- buf
		return err
	}
	w.x, w.frames, w.footer = x, nil, 16
	return nil
}

// zeros is what padding is cut from.
type zeros [4096]byte

// close finishes the current pack at plain bytes of plaintext and stores it in the background.
func (w *Writer) close(ctx context.Context, plain int) {
	x, frames, number := w.x, w.frames, w.number
	footer := format.AppendFooter(nil, frames)
	var z zeros
	for pad := plain - int(x.Len()) - len(footer); pad > 0; {
		n := min(pad, len(z))
		x.Write(z[:n])
		pad -= n
	}
	x.Write(footer)
	w.x, w.frames = nil, nil
	w.number++
	w.wg.Go(func() {
		object := x.Close()
		defer func() { w.c.Buffers <- object[:0] }()
		if err := w.store(ctx, object, frames, number); err != nil {
			w.fail(err)
		}
	})
}

func (w *Writer) store(ctx context.Context, object []byte, frames []format.Frame, number uint32) error {
	ref := format.PackRef{
		Type: w.c.Type, Session: w.c.Session, Number: number,
		Size: uint32(len(object)), Hash: sha256.Sum256(object),
	}
	copy(ref.Prologue[:], object[format.HeaderSize:])
	if err := w.c.Put(ctx, ref.Key(), object); err != nil {
		return err
	}
	w.storedMu.Lock()
	defer w.storedMu.Unlock()
	return w.c.Stored(ctx, ref, frames)
}

// Flush stores what is left as the last, padded pack and waits until every pack is stored.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	if w.x != nil && w.failure() == nil {
		used := int(w.x.Len()) + len(format.AppendFooter(nil, w.frames))
		w.close(ctx, w.padded(used))
	}
	w.mu.Unlock()
	w.wg.Wait()
	w.Abort()
	return w.failure()
}

// Abort waits for packs under way and drops an unfinished one. It may follow Flush.
func (w *Writer) Abort() {
	w.mu.Lock()
	if w.x != nil {
		w.c.Buffers <- w.x.Close()[:0]
		w.x = nil
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// Number is the number that the next pack will get.
func (w *Writer) Number() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.number
}

// padded returns the plaintext length that gives a last pack of used bytes its padded size.
func (w *Writer) padded(used int) int {
	size := max(Padme(w.c.Suite.StreamSize(int64(used))), MinSize)
	for size < int64(w.c.Size) {
		if plain, err := w.c.Suite.PlainSize(size); err == nil && plain >= int64(used) {
			return int(plain)
		}
		size++ // a few lengths next to a segment's border belong to no stream
	}
	return w.plain
}

// Padme rounds n up so that its floating-point mantissa is no longer than its exponent.
func Padme(n int64) int64 {
	if n < 2 {
		return n
	}
	e := bits.Len64(uint64(n)) - 1
	s := bits.Len64(uint64(e))
	mask := int64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

func (w *Writer) fail(err error) {
	w.errMu.Lock()
	defer w.errMu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) failure() error {
	w.errMu.Lock()
	defer w.errMu.Unlock()
	return w.err
}
