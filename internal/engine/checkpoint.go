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

// checkpoint merges index segments and writes the state of the log down, so that the next opening reads
// neither the entries nor the segments before it.
func (r *Repo) checkpoint(ctx context.Context) error {
	signer, err := seal.NewSigner(r.keys.Writer)
	if err != nil {
		return err
	}
	dead, err := newCondemned(ctx, r.ledger, r.ledger.State().Condemned)
	if err != nil {
		return err
	}
	merged := map[format.Hash]int{} // segment → its group
	var outputs [][]format.Segment
	me := ledger.SignerID(signer.Public())
	for _, group := range index.Plan(r.ledger.State().Segments) {
		if group[0].Writer != me { // a group is of one writer, and only that one may merge it
			continue
		}
		var out []format.Segment
		err := r.index.Merge(ctx, group, 0, func(s format.Segment, object []byte) error {
			out = append(out, s)
			if err := r.store.Put(ctx, format.IndexKey(s.Hash), object); err != nil {
				return fmt.Errorf("index: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, s := range group {
			merged[s.Hash] = len(outputs)
		}
		outputs = append(outputs, out)
	}
	build := func(st *format.State) ([]byte, []byte, error) {
		s := *st
		if dead.current(st) {
			s.Segments = replaceGroups(st.Segments, merged, outputs)
		} // else a collector may have taken an output for left over
		return s.Append(nil), nil, nil
	}
	// Whether a checkpoint is due is asked again after every lost race: what won it may be in doubt.
	for at := r.ledger.Head(); r.ledger.CheckpointDue(); at = r.ledger.Head() {
		_, err = r.ledger.Append(ctx, ledger.Proposal{Kind: format.KindCheckpoint, Signer: signer, Build: build, After: &at})
		if !errors.Is(err, ledger.ErrMoved) {
			break
		}
	}
	if err != nil {
		return err
	}
	r.follow()
	return nil
}

// replaceGroups puts the outputs of each merge where the first of its inputs stood. A group of which a
// concurrent checkpoint has taken an input is left as it is.
func replaceGroups(segments []format.Segment, merged map[format.Hash]int, outputs [][]format.Segment) []format.Segment {
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
	var out []format.Segment
	placed := make([]bool, len(outputs))
	for _, s := range segments {
		g, ok := merged[s.Hash]
		if !ok || present[g] != wanted[g] {
			out = append(out, s)
			continue
		}
		if !placed[g] {
			placed[g] = true
			for _, o := range outputs[g] {
				if !slices.Contains(out, o) {
					out = append(out, o)
				}
			}
		}
	}
	return out
}
