package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// gap is how many missing slots in a row end the log. A store that lost or hides fewer is found out: the
// entries behind the gap are read, and the gap is damage.
const gap = 8

// findHead returns the newest slot of the log, probing from slot from on. With check, slot from is looked
// for as well.
func (l *Ledger) findHead(ctx context.Context, from uint64, check bool) (uint64, error) {
	if check {
		switch ok, err := l.c.Store.Exists(ctx, format.EntryKey(from)); {
		case err != nil:
			return 0, fmt.Errorf("commit log: %w", err)
		case !ok:
			return 0, ErrNoLog
		}
	}
	for {
		// One round settles the usual case, in which nothing was added.
		next := make([]uint64, gap)
		for i := range next {
			next[i] = from + 1 + uint64(i)
		}
		found, err := l.probe(ctx, next)
		if err != nil {
			return 0, err
		}
		last := lastTrue(found)
		if last < 0 {
			return from, nil
		}
		if from, err = l.gallop(ctx, next[last]); err != nil {
			return 0, err
		}
	}
}

// gallop returns an existing slot that a missing one follows, at or after lo, which exists.
func (l *Ledger) gallop(ctx context.Context, lo uint64) (_ uint64, err error) {
	from, hi := lo, uint64(0) // hi, once known, does not exist
	for step := uint64(1); hi == 0; {
		var at []uint64
		for range 8 {
			at = append(at, from+step)
			step *= 2
		}
		if lo, hi, err = l.narrow(ctx, lo, hi, at); err != nil {
			return 0, err
		}
	}
	for hi-lo > 1 {
		var at []uint64
		for i := uint64(1); i <= 16; i++ {
			if p := lo + (hi-lo)*i/17; p > lo && (len(at) == 0 || p > at[len(at)-1]) {
				at = append(at, p)
			}
		}
		if len(at) == 0 {
			at = []uint64{lo + 1}
		}
		if lo, hi, err = l.narrow(ctx, lo, hi, at); err != nil {
			return 0, err
		}
	}
	return lo, nil
}

// narrow probes ascending slots and returns the bounds they leave: the last one before the first gap, and
// the first gap.
func (l *Ledger) narrow(ctx context.Context, lo, hi uint64, at []uint64) (uint64, uint64, error) {
	found, err := l.probe(ctx, at)
	if err != nil {
		return 0, 0, err
	}
	for i, ok := range found {
		if !ok {
			return lo, at[i], nil
		}
		lo = at[i]
	}
	return lo, hi, nil
}

func (l *Ledger) probe(ctx context.Context, at []uint64) ([]bool, error) {
	found := make([]bool, len(at))
	g, ctx := errgroup.WithContext(ctx)
	for i, seq := range at {
		g.Go(func() (err error) {
			found[i], err = l.c.Store.Exists(ctx, format.EntryKey(seq))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	return found, nil
}

// load learns the state at head from the newest sound checkpoint and what follows it.
func (l *Ledger) load(ctx context.Context, head uint64) error {
	for at := head; ; {
		base, err := l.checkpointOf(ctx, at)
		if err != nil {
			return err
		}
		ok, _, err := l.start(ctx, base)
		if err != nil {
			return err
		}
		if ok {
			return l.follow(ctx, base+1, head)
		}
		if base == 0 {
			return fmt.Errorf("commit log: entry 0: %w: the repository cannot be opened without it; take it from another copy", ErrAltered)
		}
		at = base - 1
	}
}

// checkpointOf returns the newest checkpoint at or before slot at, as the nearest decodable entry at or
// before it says. What it says is verified by start.
func (l *Ledger) checkpointOf(ctx context.Context, at uint64) (uint64, error) {
	for {
		object, err := l.c.Store.Get(ctx, format.EntryKey(at), maxEntry)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, fmt.Errorf("commit log: %w", err)
		}
		if e, _, _, derr := format.DecodeLogEntry(object); err == nil && derr == nil && e.Seq == at && e.Repo == l.c.Repo {
			if e.Kind == format.KindCheckpoint || e.Kind == format.KindSettle {
				return at, nil
			}
			return e.Checkpoint, nil
		}
		if at == 0 {
			return 0, nil
		}
		at--
	}
}

// start takes the checkpoint at base as the first state, if it is sound. Who is enrolled it may only repeat
// from an entry that the administrator signed. For the rest, whoever is enrolled is trusted to have added
// the log up; Verify, which check runs, adds it up again from entry 0.
func (l *Ledger) start(ctx context.Context, base uint64) (ok bool, signer format.WriterID, err error) {
	object, err := l.c.Store.Get(ctx, format.EntryKey(base), maxEntry)
	if errors.Is(err, store.ErrNotFound) {
		return false, signer, nil
	}
	if err != nil {
		return false, signer, fmt.Errorf("commit log: %w", err)
	}
	e, signed, sig, err := format.DecodeLogEntry(object)
	if err != nil || e.Seq != base || e.Repo != l.c.Repo {
		return false, signer, nil
	}
	st, lost, err := stateOf(e)
	if err != nil {
		return false, signer, nil
	}
	key := l.c.AdminKey
	switch {
	case base == 0 && e.Kind == format.KindGenesis && st.Enrolled == 0:
	case base != 0 && e.Kind != format.KindGenesis && st.Enrolled == e.Enrolled && st.Enrolled < base:
		x, err := l.enrolment(ctx, st.Enrolled)
		if err != nil {
			return false, signer, err
		}
		if x == nil || !bytes.Equal(x.Append(nil), st.Enrolment.Append(nil)) {
			return false, signer, nil // it enrols keys that the administrator did not
		}
		if e.Kind == format.KindCheckpoint && e.Signer != SignerID(l.c.AdminKey) {
			key = writer(x, e.Signer)
		}
	default:
		return false, signer, nil
	}
	if key == nil || seal.Verify(key, signDomain, signed, sig) != nil {
		return false, signer, nil
	}
	l.state, l.checkpoint = st, base
	if e.Kind == format.KindSettle {
		l.settled, l.accepted = base, lost
	}
	l.head = Pin{Seq: base, Hash: sha256.Sum256(object), Chain: format.Chain(e.Prev, object)}
	return true, e.Signer, nil
}

// stateOf returns the state that an entry states whole, and the slots that it gives up.
func stateOf(e *format.LogEntry) (st *format.State, lost []uint64, err error) {
	switch e.Kind {
	case format.KindGenesis, format.KindCheckpoint:
		st, err = format.DecodeState(e.Body)
		return st, nil, err
	case format.KindSettle:
		s, err := format.DecodeSettle(e.Body)
		if err != nil {
			return nil, nil, err
		}
		return &s.State, s.Lost, settles(&s.State, e.Seq, s)
	}
	return nil, nil, errors.New("the entry states no state")
}

// enrolment reads an enrolment that the administrator signed, from its own entry. It is nil if there is
// none there.
func (l *Ledger) enrolment(ctx context.Context, seq uint64) (*format.Enrolment, error) {
	object, err := l.c.Store.Get(ctx, format.EntryKey(seq), maxEntry)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("commit log: %w", err)
	}
	e, err := l.signedByAdmin(seq, object)
	if err != nil {
		return nil, nil
	}
	switch e.Kind {
	case format.KindGenesis:
		if st, err := format.DecodeState(e.Body); err == nil {
			return &st.Enrolment, nil
		}
	case format.KindEnrol:
		if x, err := format.DecodeEnrolment(e.Body); err == nil {
			return x, nil
		}
	}
	return nil, nil
}

// signedByAdmin decodes the entry of slot seq, which the administrator must have signed.
func (l *Ledger) signedByAdmin(seq uint64, object []byte) (*format.LogEntry, error) {
	e, signed, sig, err := format.DecodeLogEntry(object)
	if err != nil {
		return nil, err
	}
	if e.Seq != seq || e.Repo != l.c.Repo {
		return nil, errors.New("the entry belongs elsewhere")
	}
	return e, seal.Verify(l.c.AdminKey, signDomain, signed, sig)
}

func sameState(a, b *format.State) bool { return bytes.Equal(a.Append(nil), b.Append(nil)) }

// Verify reads the whole log from entry 0, checks every signature and the chain, and compares what it adds
// up to with the state this ledger holds. It returns every slot that is no valid entry.
func (l *Ledger) Verify(ctx context.Context) ([]Damage, error) {
	st, head := l.At()
	v := &Ledger{c: l.c}
	ok, _, err := v.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("commit log: entry 0: %w", ErrAltered)
	}
	if err := v.follow(ctx, 1, head.Seq); err != nil {
		return nil, err
	}
	if v.head != head {
		return v.allDamage(), fmt.Errorf("commit log: entry %d: %w", head.Seq, ErrAltered)
	}
	if !sameState(v.state, st) {
		return v.allDamage(), fmt.Errorf("commit log: %w", errContradicts)
	}
	return v.allDamage(), nil
}

func lastTrue(found []bool) int {
	for i := len(found) - 1; i >= 0; i-- {
		if found[i] {
			return i
		}
	}
	return -1
}
