package engine

import (
	"bytes"
	"context"
	"fmt"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
)

// checkFormat verifies the format object and its copy.
func (c *checkBase) checkFormat(ctx context.Context) error {
	var first []byte
	for _, key := range []string{format.FormatKey, format.FormatCopyKey} {
		object, err := c.store.Get(ctx, key, maxSmallObject)
		if err == nil {
			_, err = parseFormat(object)
		}
		if err == nil && c.format.Repo != ([16]byte{}) {
			f, _ := parseFormat(object)
			if f.Repo != c.format.Repo || !bytes.Equal(f.AdminKey, c.format.AdminKey) {
				err = fmt.Errorf("%w: it is of another repository", ErrDamaged)
			}
		}
		if err == nil && first != nil && !bytes.Equal(object, first) {
			err = fmt.Errorf("%w: it differs from its copy", ErrDamaged)
		}
		if ok, err := c.object(ctx, key, err); err != nil {
			return err
		} else if ok {
			first = object
		}
	}
	return nil
}

// checkSlots verifies that every key slot the log names is there and is one. Whether it opens can only be
// told with its key.
func (c *checkBase) checkSlots(ctx context.Context) error {
	return each(ctx, len(c.state.Slots), checkRequests, func(ctx context.Context, i int) error {
		info := c.state.Slots[i]
		object, err := c.store.Get(ctx, format.SlotKey(info.ID), maxSmallObject)
		if err == nil {
			var s *format.Slot
			if s, err = format.DecodeSlot(object); err == nil && (s.Kind != info.Kind || s.Repo != c.format.Repo) {
				err = fmt.Errorf("%w: it is not the slot that the log names", ErrDamaged)
			}
		}
		_, err = c.object(ctx, format.SlotKey(info.ID), err)
		return err
	})
}

// verifyLog verifies the chain and the signatures of the whole log, and returns the slots that hold no
// valid entry.
func (c *checkBase) verifyLog(ctx context.Context) (map[uint64]bool, error) {
	damage, err := c.ledger.Verify(ctx)
	if cerr := ctx.Err(); cerr != nil {
		return nil, cerr
	}
	head := c.ledger.Head().Seq
	bad := map[uint64]bool{}
	for _, d := range damage {
		bad[d.Seq] = true
		switch {
		case d.Accepted:
			c.rep.Accepted++
			continue
		case d.Vouched:
			c.rep.Skipped++
			continue
		}
		c.found(Finding{Kind: DamagedLog, Object: format.EntryKey(d.Seq), Err: fmt.Errorf("%w: the slot holds no valid entry", ErrDamaged)})
	}
	if err != nil && !bad[head] {
		f := Finding{Kind: DamagedLog, Err: err}
		if f.Object, err = c.whichEntry(ctx, bad); err != nil {
			return nil, err
		}
		// An entry that cannot be read leaves a state that contradicts the one we know: that is no more news.
		if f.Object != "" || len(damage) == 0 {
			c.found(f)
		}
	}
	c.rep.Objects += int64(head) + 1
	return bad, nil
}

// whichEntry names the entry at fault where the log as a whole is not as this host knows it: the newest, if it
// is another, or the first, if the second was not chained to it. It may be neither.
func (c *checkBase) whichEntry(ctx context.Context, bad map[uint64]bool) (string, error) {
	head := c.ledger.Head()
	newest, err := c.store.Get(ctx, format.EntryKey(head.Seq), maxLogEntry)
	if err != nil || hashOf(newest) != head.Hash {
		return format.EntryKey(head.Seq), ctx.Err()
	}
	if head.Seq == 0 || bad[1] {
		return "", nil
	}
	first, err := c.store.Get(ctx, format.EntryKey(0), maxLogEntry)
	second, err2 := c.store.Get(ctx, format.EntryKey(1), maxLogEntry)
	e, _, _, derr := format.DecodeLogEntry(second)
	if err != nil || err2 == nil && derr == nil && e.Seq == 1 && e.Prev != format.Chain(format.Hash{}, first) {
		return format.EntryKey(0), ctx.Err()
	}
	return "", ctx.Err()
}

// entries reads the log once more, without its damaged slots, and hands out the entries in order, many at
// once. Ledger.Verify has verified them.
func (c *checkBase) entries(ctx context.Context, bad map[uint64]bool, f func(window []logged) error) error {
	const window = 256
	head := c.head.Seq
	for from := uint64(0); from <= head; from += window {
		n := int(min(window, head-from+1))
		objects := make([][]byte, n)
		err := each(ctx, n, checkRequests, func(ctx context.Context, i int) (err error) {
			if seq := from + uint64(i); !bad[seq] {
				objects[i], err = c.store.Get(ctx, format.EntryKey(seq), maxLogEntry)
			}
			if err != nil && ctx.Err() == nil {
				err = nil // found by verifyLog
			}
			return err
		})
		if err != nil {
			return err
		}
		var sound []logged
		for i, object := range objects {
			e, _, _, err := format.DecodeLogEntry(object)
			if object != nil && err == nil && e.Seq == from+uint64(i) && e.Repo == c.format.Repo {
				sound = append(sound, logged{e, hashOf(object)})
			}
		}
		if err := f(sound); err != nil {
			return err
		}
	}
	return nil
}

// logged is an entry and the digest of its object.
type logged struct {
	*format.LogEntry
	hash format.Hash
}

// maxLogEntry bounds one entry, as package ledger does.
const maxLogEntry = 128 << 20

// enrolled takes the writers that an entry enrols.
func (c *checkBase) enrolled(e *format.LogEntry) {
	var x *format.Enrolment
	switch e.Kind {
	case format.KindGenesis, format.KindCheckpoint:
		if s, err := format.DecodeState(e.Body); err == nil {
			x = &s.Enrolment
		}
	case format.KindSettle:
		if s, err := format.DecodeSettle(e.Body); err == nil {
			x = &s.State.Enrolment
		}
	case format.KindEnrol:
		x, _ = format.DecodeEnrolment(e.Body)
	}
	if x != nil {
		c.enrol(x)
	}
}

func (c *checkBase) enrol(x *format.Enrolment) {
	for _, w := range x.Writers {
		c.writers[ledger.SignerID(w)] = w
	}
}

// session verifies a session object and its signature.
func (c *checkBase) session(object []byte, id format.SessionID) (*format.Session, error) {
	s, signed, sig, err := format.DecodeSession(object)
	if err != nil {
		return nil, err
	}
	if s.Repo != c.format.Repo || s.ID != id {
		return nil, fmt.Errorf("%w: it belongs elsewhere", ErrDamaged)
	}
	key := c.writers[s.Writer]
	if key == nil {
		return nil, fmt.Errorf("%w: its writer was never enrolled", ErrDamaged)
	}
	if err := seal.Verify(key, domainSession, signed, sig); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}
