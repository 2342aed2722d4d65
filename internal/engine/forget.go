package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// ErrStale refuses what was decided on an older state of the log.
var ErrStale = errors.New("the commit log has moved on since this was decided: decide again")

func (r *Repo) needAdmin() error {
	if !r.IsAdmin() {
		return fmt.Errorf("%w: forgetting and giving back space need the password or the key service", ErrRole)
	}
	return nil
}

// Head is the position of the newest entry of the log that this process knows.
func (r *Repo) Head() ledger.Pin { return r.ledger.Head() }

// Forget takes snapshots out of the log's state, if the log's newest entry is still at. What they alone need
// is deleted by Compact. Plan is the digest of what was decided, and record what the next decision has to
// know; Record returns it. There may be no snapshots.
func (r *Repo) Forget(ctx context.Context, at ledger.Pin, plan format.Hash, ids []format.SnapID, record []byte) error {
	if err := r.needAdmin(); err != nil {
		return err
	}
	f := format.Forget{Plan: plan, Snapshots: slices.Clone(ids)}
	seal.Random(f.Record[:])
	slices.SortFunc(f.Snapshots, func(a, b format.SnapID) int { return bytes.Compare(a[:], b[:]) })
	if f.Snapshots = slices.Compact(f.Snapshots); len(f.Snapshots) != len(ids) {
		return errors.New("a snapshot is to be forgotten twice")
	}
	signer, err := seal.NewSigner(r.keys.Admin)
	if err != nil {
		return err
	}
	end, err := r.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := r.ledger.Refresh(ctx); err != nil {
		return err
	}
	body := f.Append(nil)
	sealed, err := sealBody(r.format, r.ledger.State().Enrolment.Recipients, bodyAAD(domainRecord, r.format, f.Record), record)
	if err != nil {
		return err
	}
	_, err = r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindForget, Signer: signer, After: &at,
		Build: func(*format.State) ([]byte, []byte, error) { return body, sealed, nil },
	})
	if errors.Is(err, ledger.ErrMoved) {
		return ErrStale
	}
	r.remember()
	return err
}

// Record returns what the newest forgetting left for the next decision; nil if there was none. It needs the
// reader's role.
func (r *Repo) Record(ctx context.Context) ([]byte, error) {
	if err := r.needReader(); err != nil {
		return nil, err
	}
	seq := r.ledger.State().Recorded
	if seq == 0 {
		return nil, nil
	}
	e, err := r.ledger.SignedByAdmin(ctx, seq)
	if err != nil {
		return nil, lostEntry(err)
	}
	if e.Kind != format.KindForget {
		return nil, fmt.Errorf("log entry %d: %w: it is no forget entry", seq, ErrDamaged)
	}
	f, err := format.DecodeForget(e.Body)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w", seq, err)
	}
	b, err := r.openBody(bodyAAD(domainRecord, r.format, f.Record), e.Sealed)
	if err != nil {
		return nil, fmt.Errorf("log entry %d: %w", seq, err)
	}
	return b, nil
}

// Written says when each snapshot is known to have been committed: by the store's clock, which is no
// writer's, and never later than a snapshot that follows it in the log. It is zero where the store has no
// clock.
func (r *Repo) Written(ctx context.Context, refs []format.SnapRef) ([]time.Time, error) {
	listed := map[string]time.Time{}
	err := r.store.List(ctx, "log/", func(o store.Listed) error {
		listed[o.Key] = o.Written
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]time.Time, len(refs))
	err = each(ctx, len(refs), checkRequests, func(ctx context.Context, i int) error {
		t, ok := listed[format.EntryKey(refs[i].Seq)]
		if !ok { // a listing may lag
			o, err := r.store.Stat(ctx, format.EntryKey(refs[i].Seq))
			if err != nil {
				return fmt.Errorf("log entry %d: %w", refs[i].Seq, err)
			}
			t = o.Written
		}
		out[i] = t
		return nil
	})
	for i := len(out) - 2; i >= 0; i-- {
		if next := out[i+1]; !next.IsZero() && out[i].After(next) {
			out[i] = next
		}
	}
	return out, err
}
