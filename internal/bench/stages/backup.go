package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// depth is how far the bytes of a file go in a line of the table.
type depth int

const (
	reads depth = iota
	cuts
	names
	compresses
	seals
	digests
	writes
)

const frameSize = 512 << 10 // as in the engine

// keys are those of one measurement. They protect nothing but test data.
type keys struct {
	id, gear, stream []byte
	repo             format.RepoID
	session          format.SessionID
}

func newKeys() *keys {
	k := &keys{id: make([]byte, seal.KeySize), gear: make([]byte, chunk.KeySize), stream: make([]byte, seal.KeySize)}
	for _, b := range [][]byte{k.id, k.gear, k.stream, k.repo[:], k.session[:]} {
		seal.Random(b)
	}
	return k
}

// packSet is what the last line of a backup leaves for restores and checks.
type packSet struct {
	keys  *keys
	store *store.Store
	mu    sync.Mutex
	packs []packed
	refs  [][]format.Ref // of each file
}

type packed struct {
	ref    format.PackRef
	frames []format.Frame
}

// backupLines measures the way of the bytes from files to packs.
func backupLines(ctx context.Context, t *table, files *fileSet, work string) (*packSet, error) {
	t.head("backup")
	if err := t.names("walk: names and attributes", len(files.names), nil, func() error { _, err := list(files.dir); return err }); err != nil {
		return nil, err
	}
	lines := []string{"read", "+ cut", "+ HMAC, drop duplicates", "+ classify, compress", "+ seal", "+ SHA-256 of packs", "+ write packs, synced"}
	dir := filepath.Join(work, "packs")
	var set *packSet
	for d, name := range lines {
		prepare := func() (err error) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			b, err := dirblob.OpenBucket(dir, &dirblob.Options{CreateDir: true})
			if err != nil {
				return err
			}
			set = &packSet{keys: newKeys(), store: store.New(b, store.Options{}), refs: make([][]format.Ref, len(files.names))}
			return nil
		}
		if err := t.line(name, prepare, func() error { return set.fill(ctx, files, depth(d)) }); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// fill takes all files to the given depth.
func (s *packSet) fill(ctx context.Context, files *fileSet, to depth) error {
	table, err := chunk.NewTable(s.keys.gear)
	if err != nil {
		return err
	}
	cutter, err := table.Cutter(chunk.DefaultParams())
	if err != nil {
		return err
	}
	prf, err := seal.NewPRF(s.keys.id)
	if err != nil {
		return err
	}
	sink, err := s.newSink(ctx, to)
	if err != nil {
		return err
	}
	var next atomic.Int64
	seen := &sync.Map{}
	err = parallel(ctx, runtime.GOMAXPROCS(0), func(ctx context.Context, _ int) error {
		enc, err := compress.NewEncoder(compress.Fastest)
		if err != nil {
			return err
		}
		w := &worker{to: to, set: s, cutter: cutter, prf: prf.Clone(), enc: enc, sink: sink, seen: seen, buf: make([]byte, 2*cutter.Max())}
		for i := next.Add(1) - 1; i < int64(len(files.names)); i = next.Add(1) - 1 {
			if err := w.file(ctx, files, int(i)); err != nil {
				return err
			}
		}
		return w.finish(ctx)
	})
	return errors.Join(err, sink.flush(ctx))
}

// worker takes one file after the other.
type worker struct {
	to     depth
	set    *packSet
	cutter *chunk.Cutter
	prf    *seal.PRF
	enc    *compress.Encoder
	sink   sink
	seen   *sync.Map // of format.ID
	buf    []byte
	out    []byte
	frames [4]struct { // by compress.Class
		buf    []byte
		chunks []format.Chunk
	}
}

func (w *worker) file(ctx context.Context, files *fileSet, i int) error {
	f, err := files.open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	have, unit := 0, 0
	for final := false; !final; {
		n, err := io.ReadFull(f, w.buf[have:])
		final = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !final {
			return err
		}
		if w.to == reads {
			continue
		}
		have += n
		if unit == 0 {
			unit = w.unit(w.buf[:have], final, fi.Size())
		}
		used := 0
		for used < have {
			k := w.next(w.buf[used:have], unit, final)
			if k == 0 {
				break
			}
			if err := w.chunk(ctx, i, w.buf[used:used+k]); err != nil {
				return err
			}
			used += k
		}
		have = copy(w.buf, w.buf[used:have])
	}
	return nil
}

// unit decides how a file is cut, as the engine does: in pages, as one piece, or by content (-1).
func (w *worker) unit(head []byte, final bool, size int64) int {
	if u, ok := chunk.DetectPages(head[:min(len(head), 4096)], size); ok && size > int64(u) {
		return int(u)
	}
	if final && len(head) <= int(chunk.DefaultParams().Avg) {
		return math.MaxInt
	}
	return -1
}

func (w *worker) next(data []byte, unit int, final bool) int {
	switch {
	case unit < 0:
		return w.cutter.Cut(data, final)
	case len(data) >= unit:
		return unit
	case final:
		return len(data)
	}
	return 0
}

func (w *worker) chunk(ctx context.Context, file int, data []byte) error {
	if w.to == cuts {
		return nil
	}
	var id format.ID
	w.prf.Sum((*[32]byte)(&id), data)
	w.set.refs[file] = append(w.set.refs[file], format.Ref{ID: id, Len: int64(len(data))})
	if _, known := w.seen.LoadOrStore(id, struct{}{}); known || w.to == names {
		return nil
	}
	class := compress.Classify(data)
	f := &w.frames[class]
	if len(f.buf) > 0 && len(f.buf)+len(data) > frameSize {
		if err := w.frame(ctx, class); err != nil {
			return err
		}
	}
	f.buf = append(f.buf, data...)
	f.chunks = append(f.chunks, format.Chunk{ID: id, Len: uint32(len(data))})
	if len(f.buf) >= frameSize {
		return w.frame(ctx, class)
	}
	return nil
}

// frame compresses what was gathered of a class and hands it on.
func (w *worker) frame(ctx context.Context, class compress.Class) error {
	f := &w.frames[class]
	if len(f.chunks) == 0 {
		return nil
	}
	stored, codec := f.buf, compress.Raw
	if class != compress.Dense {
		w.out, codec = w.enc.Encode(w.out[:0], f.buf, class)
		stored = w.out
	}
	err := w.sink.Add(ctx, codec, stored, f.chunks)
	f.buf, f.chunks = f.buf[:0], nil
	return err
}

func (w *worker) finish(ctx context.Context) error {
	for c := range w.frames {
		if err := w.frame(ctx, compress.Class(c)); err != nil {
			return err
		}
	}
	return nil
}

// sink takes frames. It is safe for concurrent use.
type sink interface {
	Add(ctx context.Context, codec byte, stored []byte, chunks []format.Chunk) error
	flush(ctx context.Context) error
}

// newSink returns what takes the frames of a line. Packs are stored beside the calls that fill them and outlive
// those, so ctx is that of the line.
func (s *packSet) newSink(ctx context.Context, to depth) (sink, error) {
	switch {
	case to < seals:
		return dropSink{}, nil
	case to == seals:
		return &sealSink{keys: s.keys}, nil
	}
	put := func(context.Context, string, []byte) error { return nil }
	if to == writes {
		put = func(_ context.Context, key string, object []byte) error { return s.store.Put(ctx, key, object) }
	}
	w, err := pack.NewWriter(pack.Config{
		Suite: seal.T1, Repo: s.keys.repo, Session: s.keys.session, Type: format.TypeData, Key: s.keys.stream,
		Size: pack.DefaultSize, Buffers: pack.NewBuffers(3), Put: put, Stored: s.stored,
	})
	return packSink{w}, err
}

func (s *packSet) stored(_ context.Context, ref format.PackRef, frames []format.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range frames {
		frames[i].Plain = 0
		for _, c := range frames[i].Chunks {
			frames[i].Plain += c.Len
		}
	}
	s.packs = append(s.packs, packed{ref, frames})
	return nil
}

// dropSink forgets everything.
type dropSink struct{}

func (dropSink) Add(context.Context, byte, []byte, []format.Chunk) error { return nil }
func (dropSink) flush(context.Context) error                             { return nil }

// packSink is the engine's way.
type packSink struct{ *pack.Writer }

func (p packSink) flush(ctx context.Context) error { return p.Flush(ctx) }

// sealSink seals packs and forgets them.
type sealSink struct {
	keys *keys
	mu   sync.Mutex
	buf  []byte
	x    *seal.Sealer
}

func (s *sealSink) Add(_ context.Context, _ byte, stored []byte, _ []format.Chunk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.x != nil && int(s.x.Len())+len(stored) > pack.DefaultSize-pack.MinSize {
		s.buf = s.x.Close()
		s.x = nil
	}
	if s.x == nil {
		if s.buf == nil {
			s.buf = make([]byte, 0, pack.DefaultSize)
		}
		aad := pack.AAD(seal.T1, s.keys.repo, format.TypeData, s.keys.session, 0)
		x, err := seal.T1.NewSealer(s.buf[:0], format.Header(format.TypeData), s.keys.stream, aad)
		if err != nil {
			return err
		}
		s.x = x
	}
	_, err := s.x.Write(stored)
	return err
}

func (s *sealSink) flush(context.Context) error {
	if s.x != nil {
		s.x.Close()
	}
	return nil
}
