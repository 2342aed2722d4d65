package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/carekeep/carekeep/internal/format"
)

const (
	// MergeEntries is the most entries that a merged segment has unless told otherwise. Such a segment
	// is full, about 30 MiB, and never merged again.
	MergeEntries = 1 << 19
	// mergeBytes is the most plaintext that a merged segment has, so that it and its object together
	// take at most 64 MiB of memory. A segment that reached it is full too.
	mergeBytes = 32 << 20
	// mergeInput is what the inputs of a merge take together, while it is not less than a page for each.
	mergeInput = 16 << 20
)

// Merge makes new segments of the given ones, which are of one writer and listed oldest first, and hands
// each to emit with its object, good until emit returns. The caller stores the objects; they may take the
// place of the inputs once Merge has returned nil. For any other end they are worth nothing: only then
// every input has been held against its digest.
//
// Each id is kept with every place that it has, once for each pack, and packs are named only where an entry
// needs them. Each output is a slice of all ids of at most maxEntries (0 means [MergeEntries]) and 32 MiB, so
// a lookup need look at one of them, or at two where one ends within the places of an id. Memory is at most
// about 64 MiB for an output and 16 MiB for the inputs, more only where those are over 128.
func (x *Index) Merge(ctx context.Context, segments []format.Segment, maxEntries uint64, emit func(format.Segment, []byte) error) error {
	return x.Rewrite(ctx, segments, maxEntries, nil, emit)
}

// Rewrite is [Index.Merge] without the places in packs that drop reports, which is asked at least once for
// each pack. Ids that have no other place are left out, so there may be nothing to emit. A nil drop drops
// nothing.
func (x *Index) Rewrite(ctx context.Context, segments []format.Segment, maxEntries uint64, drop func(*format.PackRef) bool, emit func(format.Segment, []byte) error) error {
	if len(segments) == 0 {
		return nil
	}
	if maxEntries == 0 {
		maxEntries = MergeEntries
	}
	list := make([]*segment, len(segments))
	for i, d := range segments {
		if d.Writer != segments[0].Writer {
			return errors.New("index segments of different writers cannot be merged")
		}
		s, done := x.handle(d)
		defer done()
		list[i] = s
	}
	if err := x.openAll(ctx, list, nil); err != nil {
		return err
	}
	m := &merge{x: x, out: output{x: x, writer: segments[0].Writer, drop: drop, emit: emit, max: int64(min(maxEntries, MaxEntries))}}
	if err := m.start(ctx, list); err != nil {
		return err
	}
	for len(m.heap) > 0 {
		if err := m.step(ctx); err != nil {
			return err
		}
	}
	return m.out.flush()
}

// input is a segment being merged, at its current entry.
type input struct {
	*scanner
	entry   []byte
	age     int      // the higher, the newer
	numbers []uint32 // of its packs in the output, plus one; 0 if not there yet, dropped if never
}

// dropped stands for the number of a pack that the output is not to name.
const dropped = math.MaxUint32

// before orders inputs by their entry's id, the newest first among equals.
func (a *input) before(b *input) bool {
	if c := bytes.Compare(a.entry[:32], b.entry[:32]); c != 0 {
		return c < 0
	}
	return a.age > b.age
}

type merge struct {
	x    *Index
	heap []*input
	all  []*input
	out  output
}

func (m *merge) start(ctx context.Context, list []*segment) error {
	step := min(piecePages, max(1, mergeInput/(2*pageBytes*int64(len(list)))))
	var entries, packs int64
	for i, s := range list {
		st, err := m.x.open(ctx, s) // open already; it has the state even if s has left the index
		if err != nil {
			return err
		}
		in := &input{scanner: newScanner(m.x, st, forMerge, step), age: i, numbers: make([]uint32, st.packs)}
		entries += st.entries
		packs += st.packs
		m.all = append(m.all, in)
		if in.entry, err = in.next(ctx); err != nil {
			return m.fail(ctx, in, err)
		}
		m.heap = append(m.heap, in)
		m.up(len(m.heap) - 1)
	}
	m.out.reserve(entries, packs)
	return nil
}

// step takes the first entry of all inputs.
func (m *merge) step(ctx context.Context) error {
	in := m.heap[0]
	if m.out.full() {
		if err := m.out.flush(); err != nil {
			return err
		}
		for _, in := range m.all {
			clear(in.numbers)
		}
	}
	if err := m.out.add(ctx, in); err != nil {
		return m.fail(ctx, in, err)
	}
	var err error
	if in.entry, err = in.next(ctx); err != nil {
		return m.fail(ctx, in, err)
	}
	if in.entry == nil {
		end := len(m.heap) - 1
		m.heap[0] = m.heap[end]
		m.heap = m.heap[:end]
		in.sealed, in.plain, in.rest = nil, nil, nil
	}
	m.down()
	return nil
}

func (m *merge) fail(ctx context.Context, in *input, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.x.fail(in.st.seg, err)
}

func (m *merge) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !m.heap[i].before(m.heap[parent]) {
			return
		}
		m.heap[i], m.heap[parent] = m.heap[parent], m.heap[i]
		i = parent
	}
}

func (m *merge) down() {
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < len(m.heap) && m.heap[c+1].before(m.heap[c]) {
			c++
		}
		if c >= len(m.heap) || !m.heap[c].before(m.heap[i]) {
			return
		}
		m.heap[i], m.heap[c] = m.heap[c], m.heap[i]
		i = c
	}
}

// output is the merged segment being made.
type output struct {
	x      *Index
	writer format.WriterID
	drop   func(*format.PackRef) bool
	emit   func(format.Segment, []byte) error
	max    int64
	enc    encoder
	object []byte
}

// reserve makes room for what the inputs can come to, so that buffers are not copied while they grow.
func (o *output) reserve(entries, packs int64) {
	l := layout{entries: min(entries, o.max), packs: packs, blocks: filterBlocks(min(entries, o.max))}
	size := min(l.size(), mergeBytes)
	o.enc.buf = make([]byte, 0, size)
	o.enc.reset()
	o.object = make([]byte, 0, o.x.c.Suite.StreamSize(size))
}

// full says whether one more entry, with a pack and a block of its own, might be too much.
func (o *output) full() bool {
	return o.enc.n >= o.max || o.enc.packCount() >= MaxPacks ||
		o.enc.plainSize()+entrySize+packSize+FilterBlockSize > mergeBytes
}

func (o *output) add(ctx context.Context, in *input) error {
	p := binary.BigEndian.Uint32(in.entry[32:])
	if in.numbers[p] == 0 {
		ref, err := o.x.packRef(ctx, in.st, p)
		if err != nil {
			return err
		}
		if o.drop != nil && o.drop(&ref) {
			in.numbers[p] = dropped
		} else {
			in.numbers[p] = o.enc.number(&ref) + 1
		}
	}
	if n := in.numbers[p]; n != dropped {
		o.enc.add(in.entry, n-1)
	}
	return nil
}

func (o *output) flush() error {
	if o.enc.n == 0 {
		return nil
	}
	sl := sealer{suite: o.x.c.Suite, key: o.x.c.Key, aad: o.x.aad}
	object, d, err := sl.seal(o.object[:0], o.enc.finish())
	if err != nil {
		return err
	}
	d.Entries, d.Writer = uint64(o.enc.n), o.writer
	if err := o.emit(d, object); err != nil {
		return err
	}
	o.enc.reset()
	return nil
}
