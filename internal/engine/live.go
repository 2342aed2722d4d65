package engine

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/carekeep/carekeep/internal/format"
)

// liveChunks is a Bloom filter of the ids that kept snapshots need. It errs to the safe side: what it does
// not have is dead; of what is dead it takes about one in a thousand for alive.
type liveChunks struct {
	bits []uint64
}

const (
	liveBits   = 16 // bits for each id
	liveHashes = 8
)

// newLiveChunks makes room for n ids in at most memory bytes.
func newLiveChunks(n uint64, memory int64) *liveChunks {
	words := max(n*liveBits/64, 1024)
	return &liveChunks{bits: make([]uint64, min(words, uint64(max(memory, 1<<20))/8))}
}

// slots are the bits of an id: ids are pseudo-random, so they hash themselves.
func (l *liveChunks) slots(id *format.ID, f func(word int, bit uint64) bool) bool {
	a, b := binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:])|1
	for range liveHashes {
		if !f(int(a/64%uint64(len(l.bits))), 1<<(a%64)) {
			return false
		}
		a += b
	}
	return true
}

func (l *liveChunks) add(id format.ID) {
	l.slots(&id, func(word int, bit uint64) bool {
		l.bits[word] |= bit
		return true
	})
}

func (l *liveChunks) has(id format.ID) bool {
	return l.slots(&id, func(word int, bit uint64) bool { return l.bits[word]&bit != 0 })
}

// liveWalk visits what kept snapshots need: every node once, as far as it can remember.
type liveWalk struct {
	r     *Repo
	load  *loader // of its own, so that what it keeps is let go after the walk
	room  int
	seen  map[format.ID]struct{}
	visit func(format.ID) // every chunk and node
}

// seenBytes is about what a remembered node takes.
const seenBytes = 80

// snapshot visits everything that a snapshot needs.
func (w *liveWalk) snapshot(ctx context.Context, ref format.SnapRef) error {
	s, err := w.r.Snapshot(ctx, ref)
	if err != nil {
		return err
	}
	d := s.Description
	if err := w.tree(ctx, d.Root); err != nil {
		return fmt.Errorf("log entry %d: tree of the snapshot: %w", ref.Seq, err)
	}
	if d.ProblemBytes == 0 {
		return nil
	}
	noted := &recordingLoader{loader: w.load}
	if err := readProblems(ctx, noted, d); err != nil {
		return fmt.Errorf("log entry %d: problems of the snapshot: %w", ref.Seq, err)
	}
	for _, id := range noted.ids {
		w.visit(id)
	}
	return nil
}

// nodesAtOnce is how many nodes are fetched together.
const nodesAtOnce = 64

// tree visits a node and all that is below it.
func (w *liveWalk) tree(ctx context.Context, root format.Child) error {
	stack := []format.Child{root}
	for len(stack) > 0 {
		batch := make([]format.Child, 0, nodesAtOnce)
		taken := map[format.ID]struct{}{}
		for len(stack) > 0 && len(batch) < nodesAtOnce {
			ch := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if _, ok := w.seen[ch.ID]; ok {
				continue
			}
			if _, ok := taken[ch.ID]; !ok {
				taken[ch.ID] = struct{}{}
				batch = append(batch, ch)
			}
		}
		parsed := make([]*parsedNode, len(batch))
		err := each(ctx, len(batch), checkRequests, func(ctx context.Context, i int) error {
			data, err := w.load.LoadNode(ctx, batch[i].ID, batch[i].Len)
			if err == nil {
				parsed[i], err = parseNode(data)
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, p := range parsed {
			w.visit(batch[i].ID)
			for _, r := range p.refs {
				if !r.Hole {
					w.visit(r.ID)
				}
			}
			for _, b := range p.below {
				stack = append(stack, b.child)
			}
			if len(w.seen) >= w.room {
				clear(w.seen) // what was forgotten is only read again
			}
			w.seen[batch[i].ID] = struct{}{}
		}
	}
	return nil
}

// walkLive visits every chunk and node that the snapshots need.
func (r *Repo) walkLive(ctx context.Context, snapshots []format.SnapRef, memory int64, visit func(format.ID)) error {
	w := &liveWalk{r: r, load: newLoader(r), room: int(max(memory/seenBytes, 1024)), seen: map[format.ID]struct{}{}, visit: visit}
	for _, ref := range snapshots {
		if err := w.snapshot(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}
