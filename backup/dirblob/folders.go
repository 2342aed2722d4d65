package dirblob

import (
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

const (
	// maxFolders is how many folders a bucket keeps open between uses.
	maxFolders = 256
	flushTries = 100
)

// folders makes the entries of folders durable.
//
// A new object is durable once its folder is flushed, and the entry of that
// folder in its parent, and so on up to the root. A folder that exists is not
// thereby durable: another writer may have made it a moment ago and not flushed
// the parent yet, or may have removed and remade it. So a folder is trusted only after
// this bucket has seen it, then flushed its parent, and for as long as it holds the
// folder open: while it does, no other folder can have the same identity, and a
// comparison with what is now at the path tells whether it was replaced.
type folders struct {
	fs   vfs
	root string

	mu     sync.Mutex
	open   map[string]*folder
	clock  uint64
	closed bool
}

func newFolders(fsys vfs, root string) *folders {
	return &folders{fs: fsys, root: root, open: make(map[string]*folder)}
}

// folder is an open folder.
type folder struct {
	path  string
	refs  int    // guarded by folders.mu
	used  uint64 // guarded by folders.mu
	stale bool   // guarded by folders.mu; no longer in the map

	mu     sync.Mutex // guards what follows until proven is true
	handle folderHandle
	st     fs.FileInfo
	proven bool // the entry of this folder in its parent is durable
	flushes
}

// chainOf returns the folders from the root, "", down to the folder itself.
func chainOf(dir string) []string {
	chain := []string{""}
	for i := range len(dir) {
		if dir[i] == filepath.Separator {
			chain = append(chain, dir[:i])
		}
	}
	if dir != "" {
		chain = append(chain, dir)
	}
	return chain
}

// parentOf is the inverse step of chainOf.
func parentOf(dir string) string {
	return dir[:max(strings.LastIndexByte(dir, filepath.Separator), 0)]
}

// flush makes durable the entries that the folder has now. Calls that overlap share flushes.
// It fails with fs.ErrNotExist where the folder has been removed.
func (s *folders) flush(dir string) error {
	for range flushTries {
		chain, err := s.chain(dir)
		if err == nil {
			err = chain[len(chain)-1].flush()
		}
		fresh := err == nil && s.unchanged(chain)
		s.release(chain, !fresh)
		if err != nil || fresh {
			return err
		}
	}
	return &fs.PathError{Path: filepath.Join(s.root, dir), Err: errUnsettled}
}

// chain opens the folders from the root down to dir, each with a durable entry.
func (s *folders) chain(dir string) ([]*folder, error) {
	var chain []*folder
	for i, rel := range chainOf(dir) {
		f := s.take(rel)
		chain = append(chain, f)
		var parent *folder
		if i > 0 {
			parent = chain[i-1]
		}
		if err := f.prove(s.fs, parent); err != nil {
			return chain, err
		}
	}
	return chain, nil
}

// prove opens the folder and then flushes the parent, in this order: what the
// parent held when it was flushed then includes the folder that is open. OpenBucket
// or its caller made the root durable.
func (f *folder) prove(fsys vfs, parent *folder) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proven {
		return nil
	}
	if f.handle == nil {
		h, err := fsys.openDir(f.path)
		if err != nil {
			return err
		}
		st, err := h.Stat()
		if err != nil {
			_ = h.Close()
			return err
		}
		f.handle, f.st, f.sync = h, st, h.Sync
	}
	if parent != nil {
		if err := parent.flush(); err != nil {
			return err
		}
	}
	f.proven = true
	return nil
}

// unchanged is whether the open folders are the ones that are at their paths now.
func (s *folders) unchanged(chain []*folder) bool {
	for _, f := range chain {
		st, err := s.fs.stat(f.path)
		if err != nil || !s.fs.sameFile(st, f.st) {
			return false
		}
	}
	return true
}

// take returns the folder with a reference that release gives back.
func (s *folders) take(rel string) *folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.open[rel]
	if f == nil {
		f = &folder{path: filepath.Join(s.root, rel)}
		s.open[rel] = f
	}
	s.clock++
	f.refs++
	f.used = s.clock
	return f
}

// release gives back a chain. A chain that did not hold good is forgotten.
func (s *folders) release(chain []*folder, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range chain {
		f.refs--
		if stale {
			s.forget(f)
		} else if f.stale && f.refs == 0 {
			f.close()
		}
	}
	limit := maxFolders
	if s.closed {
		limit = 0
	}
	for len(s.open) > limit {
		var oldest *folder
		for _, f := range s.open {
			if f.refs == 0 && (oldest == nil || f.used < oldest.used) {
				oldest = f
			}
		}
		if oldest == nil {
			return // all in use; their release comes back here
		}
		s.forget(oldest)
	}
}

// forget takes the folder out of the map, and closes it if nobody uses it. s.mu is held.
func (s *folders) forget(f *folder) {
	if !f.stale {
		f.stale = true
		rel, _ := filepath.Rel(s.root, f.path)
		if rel == "." {
			rel = ""
		}
		delete(s.open, rel)
	}
	if f.refs == 0 {
		f.close()
	}
}

// close closes the handle; nobody holds a reference any more.
func (f *folder) close() {
	if f.handle != nil {
		_ = f.handle.Close()
		f.handle = nil
	}
}

func (s *folders) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.release(nil, false)
}

// flushes lets callers that overlap share one call of sync. Every caller gets
// the result of a sync that began after it called: those who come while one is
// running wait for the next.
type flushes struct {
	sync func() error

	gate sync.Mutex // guards next
	next *round     // not begun yet
	turn sync.Mutex // held by the leader of the running round
}

// round is one sync for all who joined before it began.
type round struct {
	done chan struct{}
	err  error
}

func (g *flushes) flush() error {
	g.gate.Lock()
	r := g.next
	leader := r == nil
	if leader {
		r = &round{done: make(chan struct{})}
		g.next = r
	}
	g.gate.Unlock()
	if !leader {
		<-r.done
		return r.err
	}
	g.turn.Lock()
	g.gate.Lock()
	g.next = nil // who comes now joins the round after this one
	g.gate.Unlock()
	r.err = g.sync()
	g.turn.Unlock()
	close(r.done)
	return r.err
}
