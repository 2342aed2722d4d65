package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
)

// mergeAndCheckpoint merges index segments and writes the state of the log down, so that the next opening reads neither the
// entries nor the segments before it, if due says so. With a limit, no segment of as many entries is merged, and none of more
// is made. It returns the segments that the log names others in place of.
func (r *Repo) mergeAndCheckpoint(ctx context.Context, limit uint64, due func() bool) (replaced map[format.Hash]bool, err error) {
	signer, err := seal.NewSigner(r.keys.Writer)
	if err != nil {
		return nil, err
	}
	dead, err := newCondemned(ctx, r.ledger, r.ledger.State().Condemned)
	if err != nil {
		return nil, err
	}
	merged := map[format.Hash]int{} // segment → its group
	var outputs [][]format.Segment
	for _, group := range r.mergeable(ledger.SignerID(signer.Public()), limit) {
		var out []format.Segment
		err := r.index.Merge(ctx, group, limit, func(s format.Segment, object []byte) error {
			out = append(out, s)
			if err := r.store.Put(ctx, format.IndexKey(s.Hash), object); err != nil {
				return fmt.Errorf("index: %w", err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, s := range group {
			merged[s.Hash] = len(outputs)
		}
		outputs = append(outputs, out)
	}
	build := func(st *format.State) ([]byte, []byte, error) {
		s := *st
		replaced = nil
		if dead.current(st) {
			s.Segments, replaced = replaceGroups(st.Segments, merged, outputs)
		} // else a collector may have taken an output for left over
		return s.Append(nil), nil, nil
	}
	// Whether a checkpoint is due is asked again after every lost race: what won it may be in doubt.
	for at := r.ledger.Head(); due(); at = r.ledger.Head() {
		_, err = r.ledger.Append(ctx, ledger.Proposal{Kind: format.KindCheckpoint, Signer: signer, Build: build, After: &at})
		if !errors.Is(err, ledger.ErrMoved) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	r.follow()
	return replaced, nil
}

// mergeable returns the groups of segments that a writer may merge: its own. With a limit, there is none of a segment of as
// many entries.
func (r *Repo) mergeable(writer format.WriterID, limit uint64) [][]format.Segment {
	return slices.DeleteFunc(index.Plan(r.ledger.State().Segments), func(group []format.Segment) bool {
		return group[0].Writer != writer ||
			limit > 0 && slices.ContainsFunc(group, func(s format.Segment) bool { return s.Entries >= limit })
	})
}

// replaceGroups puts the outputs of each merge where the first of its inputs stood, and returns which were replaced. A group
// of which a concurrent checkpoint has taken an input is left as it is.
func replaceGroups(segments []format.Segment, merged map[format.Hash]int, outputs [][]format.Segment) (out []format.Segment, replaced map[format.Hash]bool) {
	present := make([]int, len(outputs))
	wanted := make([]int, len(outputs))
	for _, g := range merged {
		wanted[g]++
	}
	for _, s := range segments {
		if g, ok := merged[s.Hash]; ok {
			present[g]++
		}
	}
	replaced = map[format.Hash]bool{}
	placed := make([]bool, len(outputs))
	for _, s := range segments {
		g, ok := merged[s.Hash]
		if !ok || present[g] != wanted[g] {
			out = append(out, s)
			continue
		}
		replaced[s.Hash] = true
		if !placed[g] {
			placed[g] = true
			for _, o := range outputs[g] {
				if !slices.Contains(out, o) {
					out = append(out, o)
				}
			}
		}
	}
	return out, replaced
}
