package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
	"github.com/carekeep/carekeep/internal/tree"
)

// resolve finds out what files lack and asks for it.
func (x *restore) resolve(ctx context.Context) error {
	prf, err := seal.NewPRF(x.r.dataID)
	if err != nil {
		return err
	}
	c := &comparer{prf: prf}
	for {
		select {
		case f, ok := <-x.tasks:
			if !ok {
				return nil
			}
			c.begin(f)
			if err := x.lacks(ctx, f, c); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lacks asks for every chunk that a file does not hold already. Failures of the file are its problem.
func (x *restore) lacks(ctx context.Context, f *restoreFile, c *comparer) error {
	existed := f.out.Existed()
	if now := f.out.Entry(); existed && !x.o.FullCompare && now.Size == f.entry.Size &&
		now.ModTime == f.entry.ModTime && now.ModTime != (format.Time{}) {
		return x.release(f, 1)
	}
	for ref, err := range x.s.Content(f.entry).Refs(ctx, 0) {
		if f.failed.Load() != nil {
			break
		}
		if err == nil {
			err = x.piece(ctx, f, c, ref, existed)
		}
		var p *localfs.Problem
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &p):
			if fatal := targetFull(err); fatal != nil {
				return fatal
			}
			f.fail(asEntryProblem("content", f.entry.Path, err))
		default:
			cause, fatal := x.unread(ctx, err, nil)
			if fatal != nil {
				return fatal
			}
			f.fail(contentProblem(f, cause))
		}
	}
	return x.release(f, 1)
}

// piece asks for one run of a file's bytes, unless they are there.
func (x *restore) piece(ctx context.Context, f *restoreFile, c *comparer, ref tree.RefAt, existed bool) error {
	if ref.Hole {
		if !existed {
			return nil // a new file is one hole
		}
		f.touched.Store(true)
		return f.out.Hole(ref.Offset, ref.Len)
	}
	if existed && c.same(ref) {
		return nil
	}
	at, err := x.r.loader.locate(ctx, ref.ID, ref.Len, format.TypeData)
	if err != nil {
		return err
	}
	f.pending.Add(1)
	return x.queue.add(&at, wantedPiece{file: f, off: ref.Offset, start: at.Location.Start, len: at.Location.Len, id: ref.ID})
}

// comparer reads what an existing file holds. It is used by one goroutine.
type comparer struct {
	prf  *seal.PRF
	file *restoreFile
	buf  []byte
	off  int64 // of buf in the file
}

// compareBytes is how much is read at once.
const compareBytes = 256 << 10

func (c *comparer) begin(f *restoreFile) { c.file, c.off, c.buf = f, 0, c.buf[:0] }

// same reports whether the file holds the bytes of a chunk where they belong. What cannot be read is not the same. The calls
// for one file come in the order of its bytes, each before the bytes are asked for.
func (c *comparer) same(ref tree.RefAt) bool {
	size := c.file.out.Entry().Size
	if ref.Offset+ref.Len > size {
		return false
	}
	if ref.Offset < c.off || ref.Offset+ref.Len > c.off+int64(len(c.buf)) {
		n := int(min(max(ref.Len, compareBytes), size-ref.Offset))
		if cap(c.buf) < n {
			c.buf = make([]byte, n)
		}
		k, _ := c.file.out.ReadAt(c.buf[:n], ref.Offset)
		c.buf, c.off = c.buf[:k], ref.Offset
		if int64(k) < ref.Len {
			return false
		}
	}
	var sum [32]byte
	c.prf.Sum(&sum, c.buf[ref.Offset-c.off:][:ref.Len])
	return sum == ref.ID
}

// worker reads, decodes and writes frames. It is used by one goroutine.
type worker struct {
	ctx     context.Context // of the restore
	x       *restore
	prf     *seal.PRF
	checked map[checkedChunk]bool // of the frame at hand: whether the bytes are right
	at      []pack.FrameAt
}

type checkedChunk struct {
	id         format.ID
	start, len uint32
}

func (x *restore) work(ctx context.Context) error {
	prf, err := seal.NewPRF(x.r.dataID)
	if err != nil {
		return err
	}
	w := &worker{ctx: ctx, x: x, prf: prf, checked: map[checkedChunk]bool{}}
	for {
		r, err := x.queue.next()
		if err != nil || r == nil {
			return err
		}
		if err := w.run(ctx, r); err != nil {
			return err
		}
	}
}

// run restores everything that is wanted of a run of frames. If it cannot be read as one, which damage to a
// single byte can do, its frames are read one by one.
func (w *worker) run(ctx context.Context, r *frameRun) error {
	rest := r.frames[:0]
	for _, f := range r.frames {
		plain := w.x.kept.get(f)
		if plain == nil {
			rest = append(rest, f)
			continue
		}
		if err := w.frame(f, plain); err != nil {
			return err
		}
	}
	if r.frames = rest; len(rest) == 0 {
		return nil
	}
	done, err, fatal := w.read(ctx, r)
	if err == nil || fatal != nil {
		return fatal
	}
	rest = rest[done:]
	alone := len(rest) > 1 && !errors.Is(err, store.ErrNotFound) && isDamage(err)
	for i := range rest {
		if alone {
			_, err, fatal = w.read(ctx, &frameRun{pack: r.pack, frames: rest[i : i+1]})
			if fatal != nil {
				return fatal
			}
			if err == nil {
				continue
			}
		}
		if err := w.lost(rest[i], err); err != nil {
			return err
		}
	}
	return nil
}

// read reads a run. It returns how many of its frames are done with, why the next could not be read, and
// what ends the restore.
func (w *worker) read(ctx context.Context, r *frameRun) (done int, err, fatal error) {
	w.at = w.at[:0]
	for _, f := range r.frames {
		w.at = append(w.at, f.at)
	}
	w.x.op.AddStored(r.size())
	err = w.x.r.packs.Frames(ctx, r.pack, w.at, func(i int, plain []byte) error {
		w.x.outage.Store(0)
		w.x.answered.Store(true)
		if fatal = w.frame(r.frames[i], plain); fatal == nil {
			fatal = ctx.Err()
		}
		w.x.kept.keep(r.frames[i], plain)
		done = i + 1
		return fatal
	})
	if fatal == nil {
		fatal = ctx.Err()
	}
	if fatal == nil && errors.Is(err, io.ErrUnexpectedEOF) {
		// The store broke off each time, or the object is shorter than it was.
		if n, serr := w.x.r.store.Size(ctx, r.pack.Key()); serr == nil && n < int64(r.pack.Size) {
			err = fmt.Errorf("%w: %w", pack.ErrDamaged, err)
		}
	}
	return done, err, fatal
}

// lost takes a frame that cannot be read as a problem of the files that want something of it.
func (w *worker) lost(f *wantedFrame, err error) error {
	cause, fatal := w.x.unread(w.ctx, err, &f.pack.ref.Hash)
	if fatal != nil {
		return fatal
	}
	for i := range f.wants {
		k := &f.wants[i]
		file := k.file
		if saved, err := w.elsewhere(f, k, err); err != nil {
			return err
		} else if !saved {
			file.fail(contentProblem(file, cause))
		}
		if err := w.x.release(file, 1); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere writes a piece from another place than the frame that it was wanted of, which is damaged or missing.
// It reports whether there was one. Only what ends the restore is an error.
func (w *worker) elsewhere(f *wantedFrame, k *wantedPiece, why error) (bool, error) {
	if k.file.failed.Load() != nil || !isDamage(why) {
		return false, nil
	}
	b, err := w.x.r.loader.elsewhere(w.ctx, k.id, int64(k.len), format.TypeData, f.pack.ref.Hash, why)
	if err != nil {
		return false, w.ctx.Err()
	}
	return true, w.write(k.file, b, k.off)
}

// frame writes the pieces of a decoded frame. Only what ends the restore is an error.
func (w *worker) frame(f *wantedFrame, plain []byte) error {
	clear(w.checked)
	for wants := f.wants; len(wants) > 0; {
		first := &wants[0]
		if !w.right(first, plain) {
			if saved, err := w.elsewhere(f, first, errWrongChunk); err != nil {
				return err
			} else if !saved {
				first.file.fail(contentProblem(first.file, errWrongChunk))
			}
			if err := w.x.release(first.file, 1); err != nil {
				return err
			}
			wants = wants[1:]
			continue
		}
		// Pieces that follow each other here and in the file are one write.
		n, size := 1, first.len
		for ; n < len(wants); n++ {
			k := &wants[n]
			if k.file != first.file || k.start != first.start+size || k.off != first.off+int64(size) {
				break
			}
			if !w.right(k, plain) {
				break
			}
			size += k.len
		}
		if err := w.write(first.file, plain[first.start:first.start+size], first.off); err != nil {
			return err
		}
		if err := w.x.release(first.file, int64(n)); err != nil {
			return err
		}
		wants = wants[n:]
	}
	return nil
}

var errWrongChunk = fmt.Errorf("%w: %w: a chunk's bytes are not those its id names", ErrContentLost, ErrDamaged)

// right tells whether the bytes for k are those its id names.
func (w *worker) right(k *wantedPiece, plain []byte) bool {
	key := checkedChunk{k.id, k.start, k.len}
	ok, known := w.checked[key]
	if !known {
		var sum [32]byte
		w.prf.Sum(&sum, plain[k.start:k.start+k.len])
		ok = sum == k.id
		w.checked[key] = ok
	}
	return ok
}

// write writes a piece of a file that has not failed.
func (w *worker) write(f *restoreFile, b []byte, off int64) error {
	if f.failed.Load() != nil {
		return nil
	}
	n, err := f.out.WriteAt(b, off)
	w.x.wrote.Add(int64(n))
	f.touched.Store(true)
	if err == nil {
		return nil
	}
	if fatal := targetFull(err); fatal != nil {
		return fatal
	}
	f.fail(asEntryProblem("write", f.entry.Path, err))
	return nil
}

// isDamage tells what will not change by waiting.
func isDamage(err error) bool {
	for _, e := range []error{
		ErrDamaged, pack.ErrDamaged, store.ErrNotFound, store.ErrTooLarge, format.ErrMalformed, format.ErrVersion,
		seal.ErrAuthentication, ErrRole,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func contentProblem(f *restoreFile, cause error) *localfs.Problem {
	return &localfs.Problem{Path: f.entry.Path, Op: "content", Err: cause}
}

// unread gives the cause of a content's problem for an error of the repository. When the store fails again and
// again, that ends the restore.
func (x *restore) unread(ctx context.Context, err error, pack *format.Hash) (cause, fatal error) {
	if !isDamage(err) {
		n := x.outage.Add(1)
		if first := x.failed.Load(); n == 1 {
			x.failed.Store(pack)
		} else if first != nil && (pack == nil || *first != *pack) {
			x.failed.Store(nil)
		}
		if n >= restoreOutage {
			if x.gone(ctx) {
				return nil, fmt.Errorf("%w: %w", ErrStoreGone, err)
			}
			x.outage.Store(1) // with the pack, so that the next one that fails is noticed to be another
		}
		return fmt.Errorf("%w: %w", ErrContentUnread, err), nil
	}
	x.outage.Store(0)
	if !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("%w: %w", ErrContentLost, err), nil
}

// gone tells, after reads that failed, whether the store answers no more. One large pack that cannot be read is no
// outage, as long as the store answers for another object.
func (x *restore) gone(ctx context.Context) bool {
	if x.failed.Load() == nil {
		return true
	}
	_, err := x.r.store.Exists(ctx, format.FormatKey)
	return err != nil
}
