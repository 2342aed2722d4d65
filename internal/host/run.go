package host

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// Run is the folder of one backup run: its journal and its spool. It exists until the run has committed,
// so a later run finds what one that was cut off had stored.
type Run struct {
	f    *Folder
	dir  string
	lock *flock.Flock

	Session format.SessionID
	Secret  [32]byte
	Started time.Time
	Lineage string
	// Condemned is the newest condemn entry of the log when the run began: what it knows to be stored had
	// not been condemned up to there.
	Condemned uint64

	journal *blockWriter
}

const (
	recordStart   = 'S'
	recordPack    = 'P'
	recordSegment = 'I'
	recordMerged  = 'M'
)

// staleRun is the age from which a run that was cut off is not worth keeping.
const staleRun = 60 * 24 * time.Hour

// beginning is how long a run may take, at the very most, between making its folder and its journal.
const beginning = time.Hour

// NewRun begins a run with a fresh session.
func (f *Folder) NewRun(lineage string, condemned uint64) (*Run, error) {
	r := &Run{f: f, Lineage: lineage, Started: time.Now(), Condemned: condemned}
	seal.Random(r.Session[:])
	seal.Random(r.Secret[:])
	r.dir = filepath.Join(f.dir, "run-"+hex.EncodeToString(r.Session[:]))
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, withoutPath(err)
	}
	r.lock = flock.New(filepath.Join(r.dir, "lock"))
	if ok, err := r.lock.TryLock(); err != nil || !ok {
		return nil, fmt.Errorf("host folder: lock: %w", withoutPath(errors.Join(err)))
	}
	var err error
	if r.journal, err = f.newBlockWriter(r.path("journal"), "journal"); err != nil {
		return nil, err
	}
	b := append([]byte{recordStart}, r.Session[:]...)
	b = append(b, r.Secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Started.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, r.Condemned)
	b = append(b, lineage...)
	return r, r.record(b)
}

func (r *Run) path(name string) string { return filepath.Join(r.dir, name) }

func (r *Run) record(b []byte) error {
	if _, err := r.journal.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return err
	}
	return r.journal.Flush()
}

// Stored records that a pack is in the store.
func (r *Run) Stored(ref format.PackRef, frames []format.Frame) error {
	b := ref.Append([]byte{recordPack})
	return r.record(append(b, format.AppendFooter(nil, frames)...))
}

// Indexed records that a segment is in the store which locates every chunk recorded before.
func (r *Run) Indexed(s format.Segment) error {
	c := format.Commit{Segments: []format.Segment{s}}
	return r.record(c.Append([]byte{recordSegment}))
}

// Merged records that the log names other segments in place of these.
func (r *Run) Merged(segments []format.Segment) error {
	c := format.Commit{Segments: segments}
	return r.record(c.Append([]byte{recordMerged}))
}

// Spool creates the run's spool of entries.
func (r *Run) Spool() (*RecordWriter, error) {
	w, err := r.f.newBlockWriter(r.path("spool"), "spool "+hex.EncodeToString(r.Session[:]))
	if err != nil {
		return nil, err
	}
	return &RecordWriter{w: w}, nil
}

// ReadSpool reads the spool from its start.
func (r *Run) ReadSpool() (*RecordReader, error) {
	b, err := r.f.newBlockReader(r.path("spool"), "spool "+hex.EncodeToString(r.Session[:]))
	if err != nil {
		return nil, err
	}
	return &RecordReader{r: b}, nil
}

// End closes the run. Done removes its folder; otherwise a later run may take it up.
func (r *Run) End(done bool) error {
	if r.journal != nil {
		r.journal.abandon()
	}
	if !done {
		return r.lock.Unlock()
	}
	// The journal goes first: without it the rest means nothing.
	os.Remove(r.path("journal"))
	err := r.lock.Unlock()
	if rerr := os.RemoveAll(r.dir); rerr != nil {
		err = errors.Join(err, withoutPath(rerr))
	}
	return err
}

// Unfinished returns every earlier run of the lineage that was cut off and that no process works on, newest
// first. They are locked; the caller ends them.
func (f *Folder) Unfinished(lineage string) ([]*Run, error) {
	names, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, withoutPath(err)
	}
	var out []*Run
	for _, de := range names {
		if !strings.HasPrefix(de.Name(), "run-") {
			continue
		}
		if r := f.adopt(filepath.Join(f.dir, de.Name()), lineage); r != nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Run) int { return b.Started.Compare(a.Started) })
	return out, nil
}

func (f *Folder) adopt(dir, lineage string) *Run {
	r := &Run{f: f, dir: dir, lock: flock.New(filepath.Join(dir, "lock"))}
	if d, err := os.Stat(dir); err != nil || time.Since(d.ModTime()) < beginning {
		// A run that begins at this moment may not have its lock yet.
		if _, err := os.Stat(r.path("journal")); err != nil {
			return nil
		}
	}
	if ok, err := r.lock.TryLock(); err != nil || !ok {
		return nil
	}
	fi, err := os.Stat(r.path("journal"))
	if err != nil || time.Since(fi.ModTime()) > staleRun {
		r.End(true)
		return nil
	}
	err = r.replay(func(kind byte, b []byte) error {
		if kind != recordStart || len(b) < 64 {
			return errors.New("a journal does not begin as it should")
		}
		copy(r.Session[:], b)
		copy(r.Secret[:], b[16:])
		r.Started = time.Unix(0, int64(binary.BigEndian.Uint64(b[48:])))
		r.Condemned = binary.BigEndian.Uint64(b[56:])
		r.Lineage = string(b[64:])
		return errStop
	})
	switch {
	case !errors.Is(err, errStop):
		r.End(true) // cut off before it had stored anything
		return nil
	case r.Lineage != lineage:
		r.End(false)
		return nil
	}
	return r
}

var errStop = errors.New("stop")

// Replay calls pack, segment and merged with what the run recorded, in order. It ends without error where the
// journal was cut off.
func (r *Run) Replay(pack func(format.PackRef, []format.Frame) error, segment func(format.Segment) error, merged func([]format.Segment) error) error {
	return r.replay(func(kind byte, b []byte) error {
		switch kind {
		case recordPack:
			if len(b) < format.PackRefSize {
				return nil
			}
			ref, err := format.DecodePackRef(b[:format.PackRefSize])
			if err != nil {
				return err
			}
			// The journal holds the footer alone, without the frames before it.
			frames, err := format.DecodeFooterOf(b[format.PackRefSize:], ref.Size)
			if err != nil {
				return err
			}
			return pack(ref, frames)
		case recordSegment:
			c, err := format.DecodeCommit(b)
			if err != nil || len(c.Segments) != 1 {
				return err
			}
			return segment(c.Segments[0])
		case recordMerged:
			c, err := format.DecodeCommit(b)
			if err != nil {
				return err
			}
			return merged(c.Segments)
		}
		return nil
	})
}

func (r *Run) replay(f func(kind byte, b []byte) error) error {
	br, err := r.f.newBlockReader(r.path("journal"), "journal")
	if err != nil {
		return err
	}
	defer br.close()
	for {
		b, err := br.next()
		if AtEnd(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for len(b) > 4 {
			n := int(binary.BigEndian.Uint32(b))
			if n < 1 || n > len(b)-4 {
				return nil
			}
			if err := f(b[4], b[5:4+n]); err != nil {
				return err
			}
			b = b[4+n:]
		}
	}
}

// NewSide creates a side file for the references of one long file and returns its number.
func (r *Run) NewSide(n uint32) (*Side, error) {
	w, err := r.f.newBlockWriter(r.sidePath(n), "side "+strconv.FormatUint(uint64(n), 10)+" "+hex.EncodeToString(r.Session[:]))
	if err != nil {
		return nil, err
	}
	return &Side{w: w}, nil
}

func (r *Run) sidePath(n uint32) string { return r.path("side-" + strconv.FormatUint(uint64(n), 10)) }

// Side holds references of one file. It is used by one goroutine.
type Side struct{ w *blockWriter }

// Write adds references.
func (s *Side) Write(refs []format.Ref) error {
	b := format.AppendRefs(nil, refs)
	_, err := s.w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// Finish ends the side file.
func (s *Side) Finish() error { return s.w.finish() }

// Abandon closes an unfinished side file.
func (s *Side) Abandon() { s.w.abandon() }

// ReadSide calls f with the references of side file n, in order. A file that was cut off is an error.
func (r *Run) ReadSide(n uint32, f func([]format.Ref) error) error {
	br, err := r.f.newBlockReader(r.sidePath(n), "side "+strconv.FormatUint(uint64(n), 10)+" "+hex.EncodeToString(r.Session[:]))
	if err != nil {
		return err
	}
	defer br.close()
	for {
		b, err := br.next()
		if err != nil {
			if br.end != nil && !errors.Is(err, ErrUnfinished) {
				return nil
			}
			return err
		}
		for len(b) >= 4 {
			k := int(binary.BigEndian.Uint32(b))
			if k < 1 || k > len(b)-4 {
				return ErrUnfinished
			}
			refs, err := format.DecodeRefs(b[4 : 4+k])
			if err != nil {
				return err
			}
			if err := f(refs); err != nil {
				return err
			}
			b = b[4+k:]
		}
	}
}

// RemoveSide removes a side file that is not wanted.
func (r *Run) RemoveSide(n uint32) { os.Remove(r.sidePath(n)) }
