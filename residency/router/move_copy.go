package router

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"time"

	"gocloud.dev/blob"
)

type sum = [sha256.Size]byte

// bring makes sure that an object which the home site has is at the targets as well, if the leaving site has it, and
// at as many lawful sites as the placement requires. All copies that it counts have been read. It returns what it
// found, or nil if the object is gone.
func (m *mover) bring(ctx context.Context, key string, atFrom bool) (*movedEntry, error) {
	unlock, err := m.r.keys.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	const attempts = 4 // others may replace the object meanwhile
	var e *movedEntry
	for range attempts {
		b := &bringing{m: m, key: key, home: m.r.home()}
		if b.home == nil {
			return nil, fail(ErrHomeDown)
		}
		var again bool
		e, again, err = b.once(ctx, atFrom)
		if isNotFound(err) {
			there, herr := b.home.exists(ctx, key)
			if herr != nil || !there {
				return nil, herr
			}
			continue
		}
		if err != nil || !again {
			break
		}
	}
	if err == nil && e != nil {
		m.count(&m.report.Checked, 1)
	}
	return e, err
}

// count adds to a number of the report, for any worker. Atomic operations on it would fail on 32 bit, where it
// need not be aligned for them.
func (m *mover) count(n *int64, by int64) {
	m.counts.Lock()
	defer m.counts.Unlock()
	*n += by
}

// bringing is an attempt to bring one object.
type bringing struct {
	m    *mover
	key  string
	home *site
	size int64
	ref  *sum // of the home site's copy, once it was read
	good []*site
}

func (b *bringing) once(ctx context.Context, atFrom bool) (e *movedEntry, again bool, err error) {
	a, err := attributes(ctx, b.key, b.home)
	if err != nil {
		return nil, false, err
	}
	b.size = a.Size
	e = &movedEntry{Key: b.key, Size: a.Size, Time: a.ModTime.UnixNano()}
	if atFrom {
		for _, s := range b.m.to {
			if s == b.home {
				continue
			}
			if err := b.m.mayGo(ctx, s); err != nil {
				return nil, false, err
			}
			if same, err := b.settle(ctx, s); err != nil || !same {
				return e, true, err
			}
		}
	}
	if err := b.need(ctx); err != nil {
		return nil, false, err
	}
	e.Sum = hex.EncodeToString(b.ref[:])
	if atFrom && b.home != b.m.from {
		got, err := b.read(ctx, b.m.from)
		if err != nil && !isNotFound(err) {
			return nil, false, err
		}
		// What was written since may well have been replaced after the leaving site had it, and so may what it owes.
		if err == nil && got != *b.ref && a.ModTime.Before(b.m.begun) {
			old, err := b.m.missed(ctx, b.key, opPut, b.m.from)
			if err != nil {
				return nil, false, err
			}
			e.Odd = !old
		}
	}
	if b.m.legal(b.home) && b.home != b.m.from {
		b.good = append(b.good, b.home)
	}
	if err := b.enlist(ctx); err != nil {
		return nil, false, err
	}
	e.Good = len(b.m.r.lacks(b.good)) == 0
	return e, false, nil
}

// early reports whether the set of sites has not changed yet: then it is for the second pass to make copies beyond
// those at the targets.
func (b *bringing) early() bool {
	return slices.Contains(b.m.r.epoch.Load().Sites, b.m.from.Name)
}

// need reads the home site's copy, unless that was done.
func (b *bringing) need(ctx context.Context) error {
	if b.ref != nil {
		return nil
	}
	got, err := b.read(ctx, b.home)
	b.ref = &got
	return err
}

func (b *bringing) read(ctx context.Context, s *site) (sum, error) {
	if err := b.m.pass.pace(ctx, b.size); err != nil {
		return sum{}, err
	}
	got, _, err := digest(ctx, b.key, s)
	return got, err
}

// settle makes a target's copy equal to the home site's, and reads it back. It reports false if they changed meanwhile.
func (b *bringing) settle(ctx context.Context, to *site) (bool, error) {
	there, err := to.exists(ctx, b.key)
	if err != nil {
		return false, err
	}
	if there {
		if err := b.need(ctx); err != nil {
			return false, err
		}
		got, err := b.read(ctx, to)
		if err == nil && got == *b.ref {
			b.good = append(b.good, to)
			return true, b.m.r.flush(ctx, b.key, to)
		}
		if err != nil && !isNotFound(err) {
			return false, err
		}
	}
	if err := b.copy(ctx, to, !there); err != nil {
		if isTaken(err) || errors.Is(err, errChanged) {
			return false, nil
		}
		return false, err
	}
	got, err := b.read(ctx, to)
	if err != nil || got != *b.ref {
		return false, err
	}
	b.good = append(b.good, to)
	return true, nil
}

// copy writes the home site's copy to a site. To one that takes part in writes it goes as any other change, with
// intents, and is taken back if the object was deleted meanwhile. A home site that may no longer be written, because it is
// being left, gets no intent: it names the key.
func (b *bringing) copy(ctx context.Context, to *site, once bool) error {
	r := b.m.r
	live := slices.Contains(r.epoch.Load().Sites, to.Name)
	var own *ownIntent
	if live {
		op := opCreate
		if !once {
			op = opPut
		}
		own = r.intend(b.key, op, &plan{home: b.home, want: []*site{to}})
		own.ask()
		at := []*site{b.home, to}
		if ok, err := r.writable(ctx, b.home); err != nil {
			return err
		} else if !ok {
			at = at[1:]
		}
		for _, s := range at {
			if err := s.put(ctx, own.name(), &own.intentRecord); err != nil {
				own.settle(false)
				r.withdraw(ctx, own, []*site{to, b.home})
				return err
			}
		}
		// A deletion that has not seen the intent is noted for it, in case that this is killed before it undoes the copy.
		del, err := r.deleting(ctx, b.home, b.key)
		if err == nil && del != nil {
			err = r.bury(ctx, del, &plan{home: b.home, try: []*site{b.home}})
		}
		if err != nil {
			own.settle(false)
			r.withdraw(ctx, own, []*site{to, b.home})
			return err
		}
	}
	err := b.transfer(ctx, to, once)
	if !live {
		return err
	}
	if err == nil {
		err = b.undo(ctx, to)
	}
	own.settle(err == nil)
	if err == nil || isTaken(err) {
		r.withdraw(ctx, own, []*site{to, b.home})
	}
	return err
}

// undo removes a copy of what was deleted while it was made. A deletion that is under way has its intent at the
// home site from before it asks the other sites until after the home site has carried it out.
func (b *bringing) undo(ctx context.Context, to *site) error {
	wait := 10 * time.Millisecond
	for {
		pending, err := b.m.r.deleting(ctx, b.home, b.key)
		if err != nil {
			return err
		}
		there, err := b.home.exists(ctx, b.key)
		if err != nil {
			return err
		}
		if !there {
			if err := to.remove(ctx, b.key); err != nil {
				return err
			}
			return notFound()
		}
		if pending == nil {
			return nil
		}
		if wait > b.home.Timeout {
			return b.m.r.settleOther(ctx, pending, &plan{home: b.home, want: b.m.r.enrolled(), try: []*site{b.home, to}})
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// transfer copies the object with its attributes, and takes the sum of what it read.
func (b *bringing) transfer(ctx context.Context, to *site, once bool) error {
	if err := b.m.pass.pace(ctx, b.size); err != nil {
		return err
	}
	a, err := attributes(ctx, b.key, b.home)
	if err != nil {
		return err
	}
	o := *writerOptions(driverAttributes(a))
	o.IfNotExist = once
	h := sha256.New()
	err = b.home.open(ctx, b.key, func(r io.Reader, from *blob.Reader) error {
		return pour(io.TeeReader(r, h), from.Size(), b.home, newFeed(ctx, to, b.key, o))
	})
	if err != nil {
		return err
	}
	var got sum
	copy(got[:], h.Sum(nil))
	if b.ref != nil && got != *b.ref {
		return errChanged
	}
	b.ref = &got
	b.m.count(&b.m.report.Copied, 1)
	b.m.count(&b.m.report.Bytes, a.Size)
	return nil
}

// enlist reads copies of other sites, and makes some, until enough lawful ones are known.
func (b *bringing) enlist(ctx context.Context) error {
	r := b.m.r
	for _, add := range []bool{false, true} {
		for _, s := range r.enrolled() {
			if s == b.m.from || contains(b.good, s) {
				continue
			}
			if len(r.lacks(b.good)) == 0 || add && b.early() {
				return nil
			}
			if ok, err := r.writable(ctx, s); err != nil {
				return err
			} else if !ok || !s.takes() {
				continue
			}
			if err := b.consult(ctx, s, add); err != nil {
				if ctx.Err() != nil || isNotFound(err) { // who deletes it meanwhile is for bring to find out
					return err
				}
				r.log("a copy does not count", s.Name, err)
			}
		}
	}
	return nil
}

// consult counts a site's copy if it is equal. With add it makes one where there is none.
func (b *bringing) consult(ctx context.Context, s *site, add bool) error {
	there, err := s.exists(ctx, b.key)
	switch {
	case err != nil:
		return err
	case there:
		got, err := b.read(ctx, s)
		if err == nil && got == *b.ref {
			b.good = append(b.good, s)
		}
		return err
	case !add:
		return nil
	}
	_, err = b.settle(ctx, s)
	return err
}

// mayGo is nil while a target may be written.
func (m *mover) mayGo(ctx context.Context, s *site) error {
	ok, err := m.r.writable(ctx, s)
	if err != nil || ok {
		return err
	}
	return m.r.affords(ctx, []string{s.Name}, []string{s.Name})
}
