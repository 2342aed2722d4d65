package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
)

const (
	// frameSize is how many bytes of new chunks are compressed together. Neighbours compress better
	// together, and a reader of one chunk decodes no more than this.
	frameSize = 512 << 10
	// metaFrameSize is the same for nodes, which are read one by one more often.
	metaFrameSize = 256 << 10
	// flushEntries is how many chunks a run keeps in memory before it stores an index segment. Each takes some
	// 150 bytes, and twice that while the segment is made.
	flushEntries = 32 << 10
	// maxBuilt is the most that may come together: a pack of tiny chunks holds up to 450,000, and what runs that
	// were cut off stored is taken in at once.
	maxBuilt = 1 << 20
	// packBuffers is how many packs are in memory at once: one filling and two on their way.
	packBuffers = 3
	// partialEvery is how many packs a run stores before it tells the log of them; partialEntries, how many chunks.
	partialEvery   = 256
	partialEntries = 128 << 10
	// mergeEvery is how many segments of about one size a run lets gather in the log before it merges them.
	mergeEvery = 8
	// maxMeanwhile is the most entries of a segment that a run makes of others while its buffers are in memory: it takes 36
	// MiB. Such segments are left to the end of a run.
	maxMeanwhile = 256 << 10
)

// Limits replace the constants above of the same names where they are not zero, so that a test meets what takes a run
// of hours otherwise.
type Limits struct{ FlushEntries, PartialEvery, PartialEntries int }

func (l Limits) orDefaults() Limits {
	return Limits{
		FlushEntries:   cmp.Or(l.FlushEntries, flushEntries),
		PartialEvery:   cmp.Or(l.PartialEvery, partialEvery),
		PartialEntries: cmp.Or(l.PartialEntries, partialEntries),
	}
}

// sink takes the chunks of one run: it drops those that are stored already, gathers the others in frames
// and packs, and keeps the index of what it stored. It is safe for concurrent use.
type sink struct {
	r       *Repo
	ctx     context.Context // of the run: packs are stored beside the calls that fill them
	op      *observe.Operation
	writer  format.WriterID
	signer  *seal.Signer
	run     *host.Run // nil without a host folder
	session format.SessionID
	secret  []byte
	size    int
	level   compress.Level

	data, meta *pack.Writer
	buffers    chan []byte

	begin    sync.Once // writes the session object before the first pack
	beginErr error

	dead *condemned
	seen seenSet  // chunks of this run that the index does not know yet
	mine sync.Map // digests of the segments of this run, by format.Hash

	mu       sync.Mutex
	builder  *index.Builder
	built    []format.ID // ids in builder
	packs    []format.Object
	segments []format.Segment
	sessions []format.SessionID // that this run opened or took over
	reported int                // packs named in a partial entry
	untold   int                // chunks in segments that no partial entry names

	merged      map[format.Hash]bool // segments, of runs taken over, in whose place the log names others
	mergedSome  bool                 // this run has merged segments
	unmergeable bool                 // and failed to
}

// seenSet is a sharded set of ids.
type seenSet struct {
	shards [64]struct {
		mu sync.Mutex
		m  map[format.ID]struct{}
	}
}

// add reports whether id is new to the set.
func (s *seenSet) add(id format.ID) bool {
	sh := &s.shards[id[0]&63]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.m == nil {
		sh.m = map[format.ID]struct{}{}
	}
	if _, ok := sh.m[id]; ok {
		return false
	}
	sh.m[id] = struct{}{}
	return true
}

func (s *seenSet) has(id format.ID) bool {
	sh := &s.shards[id[0]&63]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.m[id]
	return ok
}

func (s *seenSet) remove(ids []format.ID) {
	for _, id := range ids {
		sh := &s.shards[id[0]&63]
		sh.mu.Lock()
		if delete(sh.m, id); len(sh.m) == 0 {
			sh.m = nil // a map keeps the memory of what it held
		}
		sh.mu.Unlock()
	}
}

func (r *Repo) newSink(ctx context.Context, op *observe.Operation, run *host.Run, dead *condemned, level compress.Level) (*sink, error) {
	signer, err := seal.NewSigner(r.keys.Writer)
	if err != nil {
		return nil, err
	}
	s := &sink{
		r: r, ctx: ctx, op: op, signer: signer, writer: ledger.SignerID(signer.Public()), run: run, dead: dead,
		size: int(r.format.PackSize), level: level, buffers: pack.NewBuffers(packBuffers),
		builder: r.newBuilder(signer), merged: map[format.Hash]bool{},
	}
	if run != nil {
		s.session, s.secret = run.Session, run.Secret[:]
	} else {
		seal.Random(s.session[:])
		s.secret = make([]byte, seal.KeySize)
		seal.Random(s.secret)
	}
	keys, err := r.ring.add(s.session, s.secret)
	if err != nil {
		return nil, err
	}
	if s.data, err = s.packWriter(format.TypeData, keys.data); err != nil {
		return nil, err
	}
	s.meta, err = s.packWriter(format.TypeMetadata, keys.metadata)
	return s, err
}

func (r *Repo) newBuilder(signer *seal.Signer) *index.Builder {
	return index.NewBuilder(r.indexConfig, ledger.SignerID(signer.Public()), maxBuilt)
}

func (s *sink) packWriter(t format.Type, key []byte) (*pack.Writer, error) {
	return pack.NewWriter(pack.Config{
		Suite: s.r.suite, Repo: s.r.format.Repo, Session: s.session, Type: t, Key: key,
		Size: s.size, Buffers: s.buffers, Put: s.put, Stored: s.stored,
	})
}

// put stores a pack, after the session object without which nobody could read it.
func (s *sink) put(_ context.Context, key string, object []byte) error {
	ctx := s.ctx
	s.begin.Do(func() { s.beginErr = s.storeSession(ctx) })
	if s.beginErr != nil {
		return s.beginErr
	}
	if err := s.r.store.Put(ctx, key, object); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	s.op.AddStored(int64(len(object)))
	return nil
}

func (s *sink) storeSession(ctx context.Context) error {
	object, err := sessionObject(s.r.format, s.signer, s.r.ledger.State().Enrolment.Recipients, s.session, s.secret, s.r.now().UnixMilli())
	if err != nil {
		return err
	}
	if err := s.r.store.Put(ctx, format.SessionKey(s.session, 0), object); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	s.op.AddStored(int64(len(object)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = append(s.sessions, s.session)
	return nil
}

// stored takes a pack that the store has into the run's index and the host's journal.
func (s *sink) stored(_ context.Context, ref format.PackRef, frames []format.Frame) error {
	// Together, or a segment recorded in between would seem to locate this pack.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		if err := s.run.Stored(ref, frames); err != nil {
			return err
		}
	}
	if err := s.note(ref, frames); err != nil {
		return err
	}
	l := &s.r.limits
	partial := s.untold+len(s.built) >= l.PartialEntries || len(s.packs)-s.reported >= l.PartialEvery
	if partial || len(s.built) >= l.FlushEntries {
		return s.flushIndex(s.ctx, partial)
	}
	return nil
}

// note adds a stored pack to the index in the making.
func (s *sink) note(ref format.PackRef, frames []format.Frame) error {
	s.packs = append(s.packs, object(ref))
	if err := s.builder.AddFrames(ref, frames); err != nil {
		return err
	}
	for _, f := range frames {
		for _, c := range f.Chunks {
			s.built = append(s.built, c.ID)
		}
	}
	return nil
}

// flushIndex stores what the builder holds as a segment. With partial, the log is told of it and of the
// packs so far, so that they outlive a long run that is cut off.
func (s *sink) flushIndex(ctx context.Context, partial bool) error {
	if len(s.built) == 0 {
		return nil
	}
	object, seg, err := s.builder.Build()
	if err != nil {
		return err
	}
	if err := s.r.store.Put(ctx, format.IndexKey(seg.Hash), object); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	s.op.AddStored(int64(len(object)))
	if s.run != nil {
		if err := s.run.Indexed(seg); err != nil {
			return err
		}
	}
	s.mine.Store(seg.Hash, nil)
	if err := s.r.addSegment(seg, object); err != nil {
		return err
	}
	s.segments = append(s.segments, seg)
	s.seen.remove(s.built)
	s.untold += len(s.built)
	s.builder, s.built = s.r.newBuilder(s.signer), nil
	if !partial {
		return nil
	}
	s.untold = 0
	if err := s.commitPartial(ctx); err != nil {
		return err
	}
	return s.mergeMeanwhile(ctx)
}

// mergeMeanwhile merges what a long run has told the log of. Otherwise a chunk that is not there would cost a look at the
// filters of ever more segments, and at a page of one in 64 of them; and whoever opens the repository would read ever
// more entries. Called with the lock held.
func (s *sink) mergeMeanwhile(ctx context.Context) error {
	many := func(group []format.Segment) bool { return len(group) >= mergeEvery }
	if s.unmergeable || !s.r.ledger.CheckpointAllowed() || !slices.ContainsFunc(s.r.mergeable(s.writer, maxMeanwhile), many) {
		return nil
	}
	replaced, err := s.r.mergeAndCheckpoint(ctx, maxMeanwhile, s.r.ledger.CheckpointAllowed)
	if err != nil {
		s.unmergeable = true // the run can do without, and would fail again
		return ctx.Err()
	}
	s.mergedSome = true
	var gone []format.Segment
	for _, seg := range s.segments {
		if replaced[seg.Hash] {
			gone = append(gone, seg)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	s.replaced(gone)
	if s.run != nil {
		return s.run.Merged(gone)
	}
	return nil
}

// replaced forgets segments in whose place the log names others. No entry of the run names those: they locate also what
// other runs have stored, which may be condemned once others have taken their place in turn. Called with the lock held.
func (s *sink) replaced(gone []format.Segment) {
	s.segments = slices.DeleteFunc(s.segments, func(seg format.Segment) bool { return slices.Contains(gone, seg) })
	s.r.settle(gone)
	s.r.follow()
}

// shed lets go of the memory of finished packs, but for keep of them.
func (s *sink) shed(keep int) {
	for i := range len(s.buffers) {
		buf := <-s.buffers
		if i >= keep {
			buf = nil
		}
		s.buffers <- buf
	}
}

// known reports whether a chunk is stored, or on its way, in packs that this writer may rely on.
func (s *sink) known(ctx context.Context, id format.ID) (bool, error) {
	if s.seen.has(id) {
		return true, nil
	}
	_, ok, err := s.place(ctx, id)
	return ok, err
}

// framer gathers the new chunks of one worker. It is used by one goroutine.
type framer struct {
	s      *sink
	w      *pack.Writer
	enc    *compress.Encoder
	limit  int
	class  compress.Class
	buf    []byte
	chunks []format.Chunk
	out    *[]byte // shared by the framers of a worker
}

// add stores a chunk unless it is known.
func (f *framer) add(ctx context.Context, id format.ID, data []byte) error {
	if known, err := f.s.known(ctx, id); err != nil || known {
		return err
	}
	if !f.s.seen.add(id) { // another worker was faster
		return nil
	}
	if len(f.buf) > 0 && len(f.buf)+len(data) > f.limit {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.chunks = append(f.chunks, format.Chunk{ID: id, Len: uint32(len(data))})
	if len(f.buf) == 0 && len(data) >= f.limit { // alone: no need to gather it
		return f.store(ctx, data)
	}
	f.buf = append(f.buf, data...)
	if len(f.buf) >= f.limit {
		return f.flush(ctx)
	}
	return nil
}

func (f *framer) flush(ctx context.Context) error {
	if len(f.chunks) == 0 {
		return nil
	}
	err := f.store(ctx, f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *framer) store(ctx context.Context, plain []byte) error {
	stored, codec := plain, compress.Raw
	if f.class != compress.Dense {
		*f.out, codec = f.enc.Encode((*f.out)[:0], plain, f.class)
		stored = *f.out
	}
	chunks := f.chunks
	f.chunks = make([]format.Chunk, 0, cap(chunks))
	return f.w.Add(ctx, codec, stored, chunks)
}

// nodes stores metadata nodes. It implements tree.Saver and is used by one goroutine.
type nodes struct {
	f   framer
	prf *seal.PRF
	ids []format.ID // of all nodes saved, but for those that a collector took
}

func (s *sink) newNodes() (*nodes, error) {
	prf, err := seal.NewPRF(s.r.metaID)
	if err != nil {
		return nil, err
	}
	enc, err := compress.NewEncoder(s.level)
	if err != nil {
		return nil, err
	}
	return &nodes{prf: prf, f: framer{s: s, w: s.meta, enc: enc, limit: metaFrameSize, class: compress.Plain, out: new([]byte)}}, nil
}

// SaveNode implements tree.Saver.
func (n *nodes) SaveNode(ctx context.Context, plaintext []byte) (format.ID, error) {
	var id [32]byte
	n.prf.Sum(&id, plaintext)
	n.ids = append(n.ids, id)
	return id, n.f.add(ctx, id, plaintext)
}

// collect returns a function that takes out the ids of the nodes saved since.
func (n *nodes) collect() func() []format.ID {
	from := len(n.ids)
	return func() []format.ID {
		own := append([]format.ID(nil), n.ids[from:]...)
		n.ids = n.ids[:from]
		return own
	}
}
