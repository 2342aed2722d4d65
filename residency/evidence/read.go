package evidence

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carekeep/carekeep/internal/store"
)

func (l *Log) key(writer string, seq int64) string {
	return fmt.Sprintf("%s%s/%0*d", l.prefix, writer, seqDigits, seq)
}

// span is a run of numbers without a gap, both ends included.
type span struct{ from, to int64 }

// listed is what a listing says of a chain.
type listed struct {
	writer  string
	spans   []span // ascending
	written time.Time
}

func (c *listed) last() int64 { return c.spans[len(c.spans)-1].to }

func (c *listed) add(seq int64) {
	if n := len(c.spans); n > 0 && c.spans[n-1].to+1 == seq {
		c.spans[n-1].to = seq
		return
	}
	c.spans = append(c.spans, span{seq, seq})
}

// survey lists all chains. Objects below the prefix that are not named as blocks are not ours.
func (l *Log) survey(ctx context.Context) (map[string]*listed, error) {
	chains := map[string]*listed{}
	err := l.store.List(ctx, l.prefix, func(o store.Listed) error {
		writer, number, ok := strings.Cut(strings.TrimPrefix(o.Key, l.prefix), "/")
		seq, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || len(number) != seqDigits || seq < 1 || !isWriter(writer) {
			return nil
		}
		c := chains[writer]
		if c == nil {
			c = &listed{writer: writer}
			chains[writer] = c
		}
		c.add(seq)
		if o.Written.After(c.written) {
			c.written = o.Written
		}
		return nil
	})
	if err != nil {
		return nil, &storeError{"list", err}
	}
	for _, c := range chains {
		// Lists are sorted, but nothing may rest on it.
		slices.SortFunc(c.spans, func(a, b span) int { return int(max(-1, min(1, a.from-b.from))) })
	}
	return chains, nil
}

// item is an object in a chain.
type item struct {
	writer  string
	seq     int64
	missing bool
	data    []byte
	digest  Digest
	block   *block // nil if it is missing or no block
	why     string // it is no block
}

// fetch reads an object. The error is for what kept it from being read.
func (l *Log) fetch(ctx context.Context, writer string, seq int64) (item, error) {
	it := item{writer: writer, seq: seq}
	data, err := l.store.Get(ctx, l.key(writer, seq), maxBlock)
	switch {
	case errors.Is(err, store.ErrNotFound):
		it.missing = true
		return it, nil
	case errors.Is(err, store.ErrTooLarge):
		it.why = "it is longer than a block can be"
		return it, nil
	case err != nil:
		return it, &storeError{"read", err}
	}
	it.data, it.digest = data, digestOf(data)
	b, err := decodeBlock(data)
	switch {
	case err != nil:
		it.why = err.Error()
	case b.Writer != writer || b.Seq != seq:
		it.why = "it is a block of another place"
	default:
		it.block = b
	}
	return it, nil
}

// fetchAll reads n objects at once.
func (l *Log) fetchAll(ctx context.Context, n int, at func(int) (string, int64)) ([]item, error) {
	items, errs := make([]item, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			writer, seq := at(i)
			items[i], errs[i] = l.fetch(ctx, writer, seq)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}

// inFlight bounds the blocks that a merge holds, over all chains, unless there are more chains than that.
const inFlight = 128

// chain is one chain in a merge.
type chain struct {
	listed
	next  int64 // the first number not passed yet
	ready []item
}

// merge reads all chains into one order.
type merge struct {
	l      *Log
	chains map[string]*chain
	order  []*chain // by writer
}

// items yields all objects: each chain in its order, no block before those that it names, and otherwise by time.
// Where that cannot be, because something is missing, the rest is yielded all the same.
func (l *Log) items(ctx context.Context) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		found, err := l.survey(ctx)
		if err != nil {
			yield(item{}, err)
			return
		}
		m := &merge{l: l, chains: map[string]*chain{}}
		for writer, c := range found {
			m.add(writer, c.spans)
		}
		for {
			if err := m.fill(ctx); err != nil {
				yield(item{}, err)
				return
			}
			c := m.pick()
			if c == nil {
				return
			}
			it := c.ready[0]
			c.ready = c.ready[1:]
			c.next = it.seq + 1
			if !yield(it, nil) {
				return
			}
		}
	}
}

func (m *merge) add(writer string, spans []span) {
	c := &chain{listed: listed{writer: writer, spans: spans}, next: 1}
	m.chains[writer] = c
	i, _ := slices.BinarySearchFunc(m.order, writer, func(c *chain, w string) int { return strings.Compare(c.writer, w) })
	m.order = slices.Insert(m.order, i, c)
}

// fill reads on in every chain that has nothing ready.
func (m *merge) fill(ctx context.Context) error {
	for i := 0; i < len(m.order); i++ {
		c := m.order[i]
		if len(c.ready) > 0 || len(c.spans) == 0 {
			continue
		}
		seqs := c.takeNumbers(max(1, inFlight/len(m.order)))
		var err error
		c.ready, err = m.l.fetchAll(ctx, len(seqs), func(i int) (string, int64) { return c.writer, seqs[i] })
		if err != nil {
			return err
		}
		for _, it := range c.ready {
			if it.block == nil {
				continue
			}
			for _, h := range it.block.Seen {
				grown, err := m.extend(ctx, h)
				if err != nil {
					return err
				}
				if grown {
					i = -1 // a chain that was passed may have something to read now
				}
			}
		}
	}
	return nil
}

func (c *chain) takeNumbers(n int) (seqs []int64) {
	for len(seqs) < n && len(c.spans) > 0 {
		s := &c.spans[0]
		seqs = append(seqs, s.from)
		if s.from++; s.from > s.to {
			c.spans = c.spans[1:]
		}
	}
	return seqs
}

// maxLag is how many blocks a listing may lag behind what another chain names.
const maxLag = 10_000

// extend adds a block that is named but was not listed, because it was written after its chain was listed, or
// because the listing lags, with those before it. Whether it is there at all is asked first.
func (m *merge) extend(ctx context.Context, h Head) (grown bool, err error) {
	c := m.chains[h.Writer]
	end := int64(0)
	if c != nil {
		end = c.next - 1
		if n := len(c.ready); n > 0 {
			end = c.ready[n-1].seq
		}
		if len(c.spans) > 0 {
			end = c.last()
		}
	}
	if h.Seq <= end {
		return false, nil
	}
	it, err := m.l.fetch(ctx, h.Writer, h.Seq)
	if err != nil || it.missing {
		return false, err
	}
	if c == nil {
		m.add(h.Writer, nil)
		c = m.chains[h.Writer]
	}
	c.spans = append(c.spans, span{max(end+1, h.Seq-maxLag), h.Seq})
	return true, nil
}

// pick returns the chain whose next object comes next; nil at the end.
func (m *merge) pick() *chain {
	var best, fallback *chain
	for _, c := range m.order {
		if len(c.ready) == 0 {
			continue
		}
		if fallback == nil || c.time().Before(fallback.time()) {
			fallback = c
		}
		if (best == nil || c.time().Before(best.time())) && m.free(c) {
			best = c
		}
	}
	if best == nil {
		return fallback
	}
	return best
}

// time is when the next object was written; what is no block comes at once.
func (c *chain) time() time.Time {
	if b := c.ready[0].block; b != nil {
		return b.Records[0].Time
	}
	return time.Time{}
}

// free reports whether all that the next block of c names has been passed.
func (m *merge) free(c *chain) bool {
	b := c.ready[0].block
	if b == nil {
		return true
	}
	for _, h := range b.Seen {
		if other := m.chains[h.Writer]; other != nil && other.next <= h.Seq && (len(other.ready) > 0 || len(other.spans) > 0) {
			return false
		}
	}
	return true
}

// Records yields all records that are there when it is called: those of one writer in the order in which they were
// written, none before one that its writer had seen, and otherwise by time, which is that of each writer's clock.
// Faults are yielded in their place as a [*BrokenError], after which the iteration goes on; any other error ends
// it. Memory is bounded by the number of writers, and 40 bytes for each block.
func (l *Log) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		ck := newChecker()
		for it, err := range l.items(ctx) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if faults := ck.item(it); len(faults) > 0 && !yield(Record{}, &BrokenError{Faults: faults}) {
				return
			}
			if it.block == nil {
				continue
			}
			records, _ := it.block.records()
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}
