package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
)

const (
	// aheadChunks is how many chunks are looked up together, which takes 5 MiB. In the order of their ids most are on a page
	// of the index that the one before was on; in the order of files, which is random, each would have a page read and
	// decrypted once the index is larger than its memory.
	aheadChunks = 128 << 10
	// aheadFrom is from how many chunks on a run looks ahead. It reads the spool twice for it.
	aheadFrom = 32 << 10
)

// lookahead says in which packs chunks lie, which are asked for in the order of the spool. It is used by one
// goroutine.
type lookahead struct {
	b *backup
	k *keeping

	next func() (format.ID, error, bool) // the chunks of the spool; nil to look each up when it is asked for
	stop func()

	ids     []format.ID // looked up together
	numbers []uint32    // of their packs
	order   []uint32    // of ids by their bytes
	asked   int         // how many of ids were asked for
}

func (b *backup) newLookahead(ctx context.Context, k *keeping) *lookahead {
	l := &lookahead{b: b, k: k, stop: func() {}}
	if b.lookups >= aheadFrom {
		l.next, l.stop = iter.Pull2(b.spooledChunks(ctx))
	}
	return l
}

// pack returns the number of the pack that the next chunk of the spool lies in.
func (l *lookahead) pack(ctx context.Context, id format.ID) (uint32, error) {
	if l.next == nil {
		return l.b.pack(ctx, l.k, id)
	}
	if l.asked == len(l.ids) {
		if err := l.fill(ctx); err != nil {
			return 0, err
		}
	}
	if l.asked == len(l.ids) || l.ids[l.asked] != id {
		return 0, errors.New("spool: it was not read in the order that it was read ahead in")
	}
	l.asked++
	return l.numbers[l.asked-1], nil
}

func (l *lookahead) fill(ctx context.Context) error {
	if l.ids == nil {
		l.ids, l.numbers, l.order = make([]format.ID, 0, aheadChunks), make([]uint32, aheadChunks), make([]uint32, 0, aheadChunks)
	}
	l.ids, l.order, l.asked = l.ids[:0], l.order[:0], 0
	for len(l.ids) < aheadChunks {
		id, err, ok := l.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		l.order = append(l.order, uint32(len(l.ids)))
		l.ids = append(l.ids, id)
	}
	slices.SortFunc(l.order, func(a, b uint32) int { return bytes.Compare(l.ids[a][:], l.ids[b][:]) })
	for i, at := range l.order {
		if i > 0 && l.ids[at] == l.ids[l.order[i-1]] {
			l.numbers[at] = l.numbers[l.order[i-1]]
			continue
		}
		var err error
		if l.numbers[at], err = l.b.pack(ctx, l.k, l.ids[at]); err != nil {
			return err
		}
	}
	return nil
}

// spooledChunks yields the chunks of files that locate will ask for, in that order. An error is the last pair.
func (b *backup) spooledChunks(ctx context.Context) iter.Seq2[format.ID, error] {
	return func(yield func(format.ID, error) bool) {
		rr, err := b.run.ReadSpool()
		if err != nil {
			yield(format.ID{}, err)
			return
		}
		defer rr.Close()
		stopped := errors.New("stopped")
		for {
			var rec host.Record
			err := rr.Next(&rec)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(format.ID{}, fmt.Errorf("spool: %w", err))
				return
			}
			if rec.Entry.Kind != format.File || rec.Packs != nil {
				continue
			}
			err = b.chunksOf(&rec, func(id format.ID) error {
				if !yield(id, nil) {
					return stopped
				}
				return ctx.Err()
			})
			if errors.Is(err, stopped) {
				return
			}
			if err != nil {
				yield(format.ID{}, err)
				return
			}
		}
	}
}

// chunksOf calls f with each chunk that a record of the spool names.
func (b *backup) chunksOf(rec *host.Record, f func(format.ID) error) error {
	refs := func(rs []format.Ref) error {
		for _, r := range rs {
			if r.Hole {
				continue
			}
			if err := f(r.ID); err != nil {
				return err
			}
		}
		return nil
	}
	if err := refs(rec.Entry.Content.Refs); err != nil {
		return err
	}
	if rec.Side != 0 {
		return b.run.ReadSide(rec.Side, refs)
	}
	return refs(rec.Refs)
}
