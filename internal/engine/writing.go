package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/seal"
)

// What a host keeps about writing to a repository.
const (
	hostExclusive = "exclusive" // this host has seen the store create exclusively
	hostWriter    = "writer"    // the format object's Host, if this is that host
)

// writing is what a Repo has found out about its right to write. Copies of a Repo share it.
type writing struct {
	mu     sync.Mutex
	sure   bool // the store creates exclusively
	users  int  // who write now to a store that does not
	unlock func()
}

var errNoHostFolder = fmt.Errorf("%w: it must be written from a host that keeps a folder about it", ErrSingleWriter)

// beginWrite comes before anything is written. It makes sure that nobody's object can be overwritten: by a
// race at this host's first write, or, where the store lost that race when the repository was made, by there
// being one host and one process. The caller calls end when it is done.
func (r *Repo) beginWrite(ctx context.Context) (end func(), err error) {
	w := r.writing
	w.mu.Lock()
	defer w.mu.Unlock()
	if !r.format.SingleWriter {
		return func() {}, r.probeOnce(ctx)
	}
	if r.host == nil {
		return nil, errNoHostFolder
	}
	if !isWriter(r.host, r.format) {
		return nil, fmt.Errorf("%w: another host writes to it; a host takes its place by saying so when it opens the repository", ErrSingleWriter)
	}
	if w.users == 0 {
		unlock, ok, err := r.host.TryLock("writer.lock")
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: another process of this host is writing: wait until it is done", ErrSingleWriter)
		}
		// What that process wrote must be known: the next entry would overwrite it.
		if err := r.ledger.Refresh(ctx); err != nil {
			unlock()
			return nil, err
		}
		w.unlock = unlock
	}
	w.users++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.users--; w.users == 0 {
			w.unlock()
		}
	}, nil
}

// probeOnce finds out whether the store creates exclusively when this host asks it to, which can differ from
// host to host with the way that a store is reached. The answer is remembered.
func (r *Repo) probeOnce(ctx context.Context) error {
	if r.writing.sure {
		return nil
	}
	if r.host != nil {
		if _, ok := r.host.Load(hostExclusive); ok {
			r.writing.sure = true
			return nil
		}
	}
	exclusive, err := r.store.ProbeExclusive(ctx)
	if err != nil {
		return err
	}
	if !exclusive {
		return fmt.Errorf("%w from this host, and others may write: reach the store another way", ErrSingleWriter)
	}
	r.sure()
	return nil
}

// sure notes that the store creates exclusively.
func (r *Repo) sure() {
	r.writing.sure = true
	if r.host != nil {
		_ = r.host.Save(hostExclusive, []byte{1}) // or this is found out once more
	}
}

// reserve makes this host the one that may write to a repository that is about to be made. It comes before the
// format object, so that a creation that is cut off can be completed here and nowhere else.
func reserve(dir string, f *format.Format, ks *format.Keyset) error {
	if dir == "" {
		return errNoHostFolder
	}
	folder, err := host.Enrol(dir, ks)
	if err != nil {
		return err
	}
	return folder.Save(hostWriter, f.Host[:])
}

// reserved reports whether reserve was called on this host.
func reserved(dir string, f *format.Format) bool {
	if dir == "" {
		return false
	}
	folder, _, err := host.Open(dir, f.Repo)
	return err == nil && isWriter(folder, f)
}

func isWriter(folder *host.Folder, f *format.Format) bool {
	id, ok := folder.Load(hostWriter)
	return ok && bytes.Equal(id, f.Host[:])
}

// takeOver makes this host the one that may write.
func (r *Repo) takeOver() error {
	switch {
	case !r.format.SingleWriter:
		return nil
	case !r.IsAdmin():
		return fmt.Errorf("%w: to take a repository over needs the password or the key service", ErrRole)
	case r.host == nil:
		return errNoHostFolder
	}
	return r.host.Save(hostWriter, r.format.Host[:])
}

// settleCreation makes sure that the store holds the format object that this creation wrote, and not one of
// a creation at the same time, where the store cannot say so itself.
func (r *Repo) settleCreation(ctx context.Context) error {
	if !r.format.SingleWriter {
		r.sure()
		return nil
	}
	_, object, err := readFormat(ctx, r.store)
	if err != nil {
		return err
	}
	if !bytes.Equal(object, r.formatObject) {
		return fmt.Errorf("%w: somebody made another at the same time", ErrExists)
	}
	return nil
}

func newHostID() (id format.HostID) {
	seal.Random(id[:])
	return id
}
