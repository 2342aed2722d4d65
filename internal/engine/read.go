package engine

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
)

const (
	// sideRefs is how many references of a file are held in memory before a side file takes them.
	sideRefs = 4096
	// rereadBelow is the size in bytes up to which a file that changed while it was read is read again.
	rereadBelow = 64 << 20
)

// sideNumbers numbers the side files of a run, from 1.
type sideNumbers struct{ n atomic.Uint32 }

func (s *sideNumbers) next() uint32 { return s.n.Add(1) }

// frames compresses full frames beside the readers and adds them to packs.
type frames struct {
	s    *sink
	jobs chan frameJob
	free chan []byte
	once sync.Once
}

type frameJob struct {
	class  compress.Class
	plain  []byte
	chunks []format.Chunk
}

// startFrames starts n compressors in g. They end when close is called.
func (s *sink) startFrames(g *errgroup.Group, ctx context.Context, n int) *frames {
	f := &frames{s: s, jobs: make(chan frameJob, n), free: make(chan []byte, 2*n)}
	for range n {
		g.Go(func() error {
			enc, err := compress.NewEncoder(s.level)
			if err != nil {
				return err
			}
			return f.compress(ctx, enc)
		})
	}
	return f
}

func (f *frames) compress(ctx context.Context, enc *compress.Encoder) error {
	var out []byte
	for j := range f.jobs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var codec byte
		stored := j.plain
		if j.class == compress.Dense {
			codec = compress.Raw
		} else {
			out, codec = enc.Encode(out[:0], j.plain, j.class)
			stored = out
		}
		if err := f.s.data.Add(ctx, codec, stored, j.chunks); err != nil {
			return err
		}
		select {
		case f.free <- j.plain[:0]:
		default:
		}
	}
	return nil
}

func (f *frames) close() { f.once.Do(func() { close(f.jobs) }) }

// gather collects new chunks of one class until they fill a frame. It is used by one goroutine.
type gather struct {
	class  compress.Class
	buf    []byte
	chunks []format.Chunk
}

// reader reads, cuts and hashes files. It is used by one goroutine.
type reader struct {
	b      *backup
	frames *frames
	prf    *seal.PRF
	cutter *chunk.Cutter
	whole  int // bytes up to which a file is one chunk
	buf    []byte
	byKind [4]gather // by compress.Class
	refs   []format.Ref
	side   *sideFile
	unit   int // how the file at hand is cut: in pages of so many bytes, by content (-1), or not decided (0)
}

// sideFile holds the references of a file that are too many for memory.
type sideFile struct {
	number uint32
	w      interface {
		Write([]format.Ref) error
		Finish() error
		Abandon()
	}
}

func (b *backup) newReader(f *frames) (*reader, error) {
	prf, err := seal.NewPRF(b.r.dataID)
	if err != nil {
		return nil, err
	}
	p := chunk.Params{Min: b.r.format.ChunkMin, Avg: b.r.format.ChunkAvg, Max: b.r.format.ChunkMax}
	cutter, err := b.r.table.Cutter(p)
	if err != nil {
		return nil, err
	}
	rd := &reader{b: b, frames: f, prf: prf, cutter: cutter, whole: int(p.Avg), buf: make([]byte, max(2*cutter.Max(), 256<<10))}
	for c := range rd.byKind {
		rd.byKind[c].class = compress.Class(c)
	}
	return rd, nil
}

// run reads files until there are no more, then hands on what was gathered.
func (rd *reader) run(ctx context.Context, jobs <-chan *item) error {
	for it := range jobs {
		err := rd.item(ctx, it)
		it.folder.release()
		it.folder = nil
		close(it.done)
		if err != nil {
			return err
		}
	}
	for c := range rd.byKind {
		if err := rd.hand(ctx, &rd.byKind[c]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// item reads one file. Only failures of the run are errors; those of the file become its problem.
func (rd *reader) item(ctx context.Context, it *item) (err error) {
	f, err := it.folder.dir.File(it.name)
	if err != nil {
		return rd.lost(ctx, it, err)
	}
	defer func() {
		// What was read is whole, whatever closing says of the file.
		if cerr := f.Close(); err == nil && source.EndsBackup(cerr) {
			err = cerr
		}
	}()
	for again := false; ; again = true {
		changed, err := rd.file(ctx, it, f)
		var fe fileError
		if errors.As(err, &fe) {
			return rd.lost(ctx, it, fe.error)
		}
		if err != nil {
			return err
		}
		if !changed {
			break
		}
		if again || it.rec.Entry.Size > rereadBelow {
			it.problem = &format.Problem{Path: it.rec.Entry.Path, Reason: ReasonChanged, Detail: "it changed while it was read"}
			break
		}
		next, err := it.folder.dir.File(it.name)
		if err != nil {
			return rd.lost(ctx, it, err)
		}
		if cerr := f.Close(); source.EndsBackup(cerr) {
			err = cerr
		}
		if f = next; err != nil {
			return err
		}
	}
	rd.compare(it)
	return nil
}

// fileError is a failure to read the file at hand, as opposed to one of the run.
type fileError struct{ error }

func (rd *reader) lost(ctx context.Context, it *item, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if source.EndsBackup(err) {
		return err
	}
	it.skip = true
	it.problem = &format.Problem{Path: it.rec.Entry.Path, Reason: reasonOf(err), Detail: bare(err)}
	return nil
}

// compare notices a file that was read again and is as it was recorded.
func (rd *reader) compare(it *item) {
	if it.before == nil || it.rec.Refs != nil || it.rec.Side != 0 || it.problem != nil {
		return
	}
	now := format.AppendEntryBody(nil, &it.rec.Entry)
	if slices.Equal(now, format.AppendEntryBody(nil, &it.before.Entry)) {
		it.rec, it.carried = *it.before, true
	}
}

// file reads f once and reports whether it changed meanwhile.
func (rd *reader) file(ctx context.Context, it *item, f source.File) (changed bool, err error) {
	e := &it.rec.Entry
	st, err := f.Stat()
	if err != nil {
		return false, fileError{err}
	}
	if st.Inode != e.Inode || st.ChangeTime != e.ChangeTime || st.ModTime != e.ModTime {
		// Another file, or another version, than the walk met: it is the one that is kept.
		path, xattrs := e.Path, e.Xattrs
		*e = *st
		e.Path, e.Xattrs = path, xattrs
		if err := it.folder.dir.Xattrs(it.name, e); source.EndsBackup(err) {
			return false, err
		} else if err != nil {
			it.problem = &format.Problem{Path: path, Reason: ReasonAttributes, Detail: bare(err)}
		}
	}
	rd.refs = rd.refs[:0]
	size, err := rd.content(ctx, f, st.Size)
	// Samples are filtered by pairs of bytes, and the next file may be out of step with this one.
	if g := &rd.byKind[compress.Sampled]; err == nil && len(g.buf) >= frameSize/4 {
		err = rd.hand(ctx, g)
	}
	if err == nil {
		err = rd.finishRefs(it)
	}
	rd.dropSide()
	if err != nil {
		return false, err
	}
	e.Size = size
	rd.b.read.Add(size)
	after, err := f.Stat()
	if err != nil {
		return false, fileError{err}
	}
	// A stream, or a file of the kernel's, tells its size late or never.
	resized := after.Size != st.Size && after.Size != size
	return resized || after.ModTime != st.ModTime || after.ChangeTime != st.ChangeTime, nil
}

// content reads a file to its end, stores what is new and collects its references.
func (rd *reader) content(ctx context.Context, f source.File, size int64) (int64, error) {
	var at int64 // bytes of the file behind us
	rd.unit = 0
	for {
		start, end, err := f.NextData(at)
		if err != nil {
			return 0, fileError{err}
		}
		if start > at {
			if err := rd.ref(format.Ref{Hole: true, Len: start - at}); err != nil {
				return 0, err
			}
			at = start
		}
		if end <= start {
			return at, nil
		}
		n, eof, err := rd.extent(ctx, f, at, end-start, size)
		if err != nil {
			return 0, err
		}
		if at += n; eof {
			return at, nil
		}
	}
}

// extent reads up to limit bytes of data that begin at offset at, cuts and stores them. It reports whether
// the file ended.
func (rd *reader) extent(ctx context.Context, f io.Reader, at, limit, size int64) (n int64, eof bool, err error) {
	var have int // bytes in buf that are not cut yet
	for {
		for have < len(rd.buf) && !eof && n+int64(have) < limit {
			room := int64(len(rd.buf) - have)
			k, err := f.Read(rd.buf[have : have+int(min(room, limit-n-int64(have)))])
			have += k
			if errors.Is(err, io.EOF) {
				eof = true
			} else if err != nil {
				return 0, false, fileError{err}
			}
			if ctx.Err() != nil {
				return 0, false, ctx.Err()
			}
		}
		final := eof || n+int64(have) == limit
		if rd.unit == 0 {
			rd.unit = rd.decide(rd.buf[:have], final && at == 0, max(size, int64(have)))
		}
		used := 0
		for used < have {
			k := rd.next(rd.buf[used:have], at+n+int64(used), final)
			if k == 0 {
				break
			}
			if err := rd.chunk(ctx, rd.buf[used:used+k]); err != nil {
				return 0, false, err
			}
			used += k
		}
		n += int64(used)
		have = copy(rd.buf, rd.buf[used:have])
		if final && have == 0 {
			return n, eof, nil
		}
	}
}

// decide says how a file is cut that begins with head: in pages, as one piece, or by content.
func (rd *reader) decide(head []byte, whole bool, size int64) int {
	if u, ok := chunk.DetectPages(head[:min(len(head), 4096)], size); ok && size > int64(u) {
		return int(u)
	}
	if whole && len(head) <= rd.whole {
		return math.MaxInt
	}
	return -1
}

// next returns the length of the chunk at the start of data, which lies at offset at of the file, or 0 if
// more data must be read to tell.
func (rd *reader) next(data []byte, at int64, final bool) int {
	if rd.unit < 0 {
		return rd.cutter.Cut(data, final)
	}
	want := rd.unit
	if want < math.MaxInt { // data after a hole may begin within a page
		want -= int(at % int64(rd.unit))
	}
	if len(data) >= want {
		return want
	}
	if final {
		return len(data)
	}
	return 0
}

// chunk names a chunk, stores it if it is new, and adds it to the file's references.
func (rd *reader) chunk(ctx context.Context, data []byte) error {
	var id [32]byte
	rd.prf.Sum(&id, data)
	if err := rd.ref(format.Ref{ID: id, Len: int64(len(data))}); err != nil {
		return err
	}
	if known, err := rd.b.sink.known(ctx, id); err != nil || known {
		return err
	}
	if !rd.b.sink.seen.add(id) {
		return nil
	}
	g := &rd.byKind[compress.Classify(data)]
	if len(g.buf)+len(data) > frameSize && len(g.buf) > 0 {
		if err := rd.hand(ctx, g); err != nil {
			return err
		}
	}
	if g.buf == nil {
		select {
		case g.buf = <-rd.frames.free:
		default:
			g.buf = make([]byte, 0, max(frameSize, len(data)))
		}
	}
	g.buf = append(g.buf, data...)
	g.chunks = append(g.chunks, format.Chunk{ID: id, Len: uint32(len(data))})
	if len(g.buf) >= frameSize {
		return rd.hand(ctx, g)
	}
	return nil
}

// hand passes a frame on to be compressed.
func (rd *reader) hand(ctx context.Context, g *gather) error {
	if len(g.chunks) == 0 {
		return nil
	}
	select {
	case rd.frames.jobs <- frameJob{class: g.class, plain: g.buf, chunks: g.chunks}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.buf, g.chunks = nil, nil
	return nil
}

func (rd *reader) ref(r format.Ref) error {
	rd.refs = append(rd.refs, r)
	if len(rd.refs) < sideRefs {
		return nil
	}
	if rd.side == nil {
		n := rd.b.sides.next()
		w, err := rd.b.run.NewSide(n)
		if err != nil {
			return err
		}
		rd.side = &sideFile{number: n, w: w}
	}
	err := rd.side.w.Write(rd.refs)
	rd.refs = rd.refs[:0]
	return err
}

// finishRefs puts the collected references where they belong: into the entry, the record, or a side file.
func (rd *reader) finishRefs(it *item) error {
	it.rec.Refs, it.rec.Side, it.rec.Packs = nil, 0, nil
	it.rec.Entry.Content = format.Content{}
	switch {
	case rd.side != nil:
		if len(rd.refs) > 0 {
			if err := rd.side.w.Write(rd.refs); err != nil {
				return err
			}
		}
		if err := rd.side.w.Finish(); err != nil {
			return err
		}
		it.rec.Side, rd.side = rd.side.number, nil
	case len(rd.refs) > format.MaxInline:
		it.rec.Refs = slices.Clone(rd.refs)
	case len(rd.refs) > 0:
		it.rec.Entry.Content.Refs = slices.Clone(rd.refs)
	}
	return nil
}

// dropSide forgets the side file of a file that could not be read.
func (rd *reader) dropSide() {
	if rd.side != nil {
		rd.side.w.Abandon()
		rd.b.run.RemoveSide(rd.side.number)
		rd.side = nil
	}
}
