package media

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Hash is a SHA-256. Its text is hexadecimal.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("hash: expected %d hexadecimal digits", 2*len(h))
	}
	copy(h[:], b)
	return nil
}

// Entry is one event in a [Log]. Its hash covers the entry before it, and through it all others.
type Entry struct {
	Seq   int
	Prev  Hash
	Event Event
	Hash  Hash
}

// Log is the custody log: append-only and hash-chained. An altered, inserted, dropped or reordered entry
// breaks the chain; dropping the newest ones does not, so keep [Log.Head] elsewhere, such as in the
// repository's own log.
type Log []Entry

// logDomain separates hashes of the custody log from all others.
const logDomain = "carekeep/v1 custody log\n"

// ErrBroken is wrapped by [Log.Verify].
var ErrBroken = errors.New("custody log broken")

// Head is the hash of the newest entry, or zero for an empty log.
func (l Log) Head() Hash {
	if len(l) == 0 {
		return Hash{}
	}
	return l[len(l)-1].Hash
}

// Append returns the log with one more event. The log given is not changed, but may share memory with the
// result: go on with the result alone.
func (l Log) Append(e Event) (Log, error) {
	h, err := chain(len(l), l.Head(), e)
	if err != nil {
		return l, err
	}
	return append(l, Entry{Seq: len(l), Prev: l.Head(), Event: e, Hash: h}), nil
}

// Verify recomputes the chain, and compares its head with the one kept elsewhere; the zero Hash skips that.
func (l Log) Verify(head Hash) error {
	var prev Hash
	for i, e := range l {
		h, err := chain(i, prev, e.Event)
		if err != nil {
			return err
		}
		if e.Seq != i || e.Prev != prev || e.Hash != h {
			return fmt.Errorf("%w: at entry %d: it was altered, or one was inserted or removed before it", ErrBroken, i)
		}
		prev = h
	}
	if head != (Hash{}) && head != prev {
		return fmt.Errorf("%w: it ends at another entry than the one remembered: the newest were removed or replaced", ErrBroken)
	}
	return nil
}

// Replay applies the events to the register as it was at first, and returns it as it is now. Guards give the
// rules; the day, the number of writes and the peers come from the log itself. An event that the rules do not
// allow is an error: then the log, or the register, does not tell what happened.
func (l Log) Replay(register []Medium, g Guards) ([]Medium, error) {
	now := slices.Clone(register)
	for _, e := range l {
		i := slices.IndexFunc(now, func(m Medium) bool { return m.Name == e.Event.Medium })
		if i < 0 {
			return nil, fmt.Errorf("entry %d: there is no medium %q in the register", e.Seq, e.Event.Medium)
		}
		g.Today, g.Peers = e.Event.Day, now
		m, err := Apply(now[i], e.Event, g)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		now[i] = m
		if e.Event.Kind == WriteBegan {
			g.Writes++
		}
	}
	return now, nil
}

func chain(seq int, prev Hash, e Event) (Hash, error) {
	body, err := json.Marshal(struct {
		Seq   int
		Prev  Hash
		Event Event
	}{seq, prev, e})
	if err != nil {
		return Hash{}, fmt.Errorf("custody log: %w", err)
	}
	h := sha256.New()
	h.Write([]byte(logDomain))
	h.Write(body)
	return Hash(h.Sum(nil)), nil
}
