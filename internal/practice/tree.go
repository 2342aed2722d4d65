package practice

import (
	"bufio"
	"context"
	"crypto/sha256"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// item is one whole file, made in memory. Files that grow large (database, NDJSON) are streamed instead.
type item struct {
	kind    Kind
	path    string // slash-separated, below the practice folder
	data    []byte
	when    time.Time // modification time
	patient int       // whom it is about; -1 for nobody
}

// document is the database's record of one file.
type document struct {
	kind    Kind
	path    string
	size    int64
	sum     [sha256.Size]byte
	when    time.Time
	patient int
}

// tree writes files below a root, counts them and gives them simulated times. Safe for concurrent use.
type tree struct {
	root     string
	now      time.Time // the time given to folders that changed
	progress func(Kind, Count)

	mu     sync.Mutex
	made   map[string]bool // folders known to exist
	dirty  map[string]bool // folders whose entries changed
	counts map[Kind]Count
}

func newTree(root string, now time.Time, progress func(Kind, Count)) *tree {
	return &tree{root: root, now: now, progress: progress,
		made: map[string]bool{".": true}, dirty: map[string]bool{".": true}, counts: map[Kind]Count{}}
}

func (t *tree) file(rel string) string { return filepath.Join(t.root, filepath.FromSlash(rel)) }

// parent makes the folder of rel and notes that its entries change.
func (t *tree) parent(rel string) error {
	dir := path.Dir(rel)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty[dir] = true
	if t.made[dir] {
		return nil
	}
	for d := dir; d != "." && !t.made[d]; d = path.Dir(d) {
		t.made[d] = true
		if _, err := os.Lstat(t.file(d)); err != nil {
			t.dirty[d], t.dirty[path.Dir(d)] = true, true
		}
	}
	if err := os.MkdirAll(t.file(dir), 0o755); err != nil {
		return hidePath("make a folder", err)
	}
	return nil
}

// write makes or replaces one file.
func (t *tree) write(it item) (document, error) {
	if err := t.parent(it.path); err != nil {
		return document{}, err
	}
	if err := os.WriteFile(t.file(it.path), it.data, 0o644); err != nil {
		return document{}, hidePath("write a file", err)
	}
	if err := t.stamp(it.path, it.when); err != nil {
		return document{}, err
	}
	t.count(it.kind, int64(len(it.data)))
	return document{it.kind, it.path, int64(len(it.data)), sha256.Sum256(it.data), it.when, it.patient}, nil
}

func (t *tree) stamp(rel string, when time.Time) error {
	if err := os.Chtimes(t.file(rel), when, when); err != nil {
		return hidePath("set a file's time", err)
	}
	return nil
}

func (t *tree) count(k Kind, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.counts[k]
	n.Files++
	n.Bytes += size
	t.counts[k] = n
	if t.progress != nil {
		t.progress(k, n)
	}
}

// finish gives every changed folder the simulated time. Call it once, after the last write.
func (t *tree) finish() error {
	for d := range t.dirty {
		if err := t.stamp(d, t.now); err != nil {
			return err
		}
	}
	return nil
}

// stream is a file that is written piece by piece.
type stream struct {
	*bufio.Writer
	f    *os.File
	t    *tree
	kind Kind
	path string
	when time.Time
}

// open starts a streamed file; with add it goes on at the end of an existing one.
func (t *tree) open(kind Kind, rel string, when time.Time, add bool) (*stream, error) {
	if err := t.parent(rel); err != nil {
		return nil, err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if add {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	f, err := os.OpenFile(t.file(rel), flags, 0o644)
	if err != nil {
		return nil, hidePath("write a file", err)
	}
	return &stream{bufio.NewWriterSize(f, 1<<17), f, t, kind, rel, when}, nil
}

// close flushes, stamps and counts the file. It returns the file's whole size.
func (s *stream) close() (int64, error) {
	err := s.Flush()
	at, serr := s.f.Stat()
	if cerr := s.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = serr
	}
	if err != nil {
		return 0, hidePath("write a file", err)
	}
	s.t.count(s.kind, at.Size())
	return at.Size(), s.t.stamp(s.path, s.when)
}

// window is how many items are made before their documents are passed on in order. It bounds the memory held and is
// the same on every machine, so the order never depends on the number of workers.
const window = 64

// writeItems makes items 0 to n-1 with several workers and sends their documents on in order.
func writeItems(ctx context.Context, t *tree, workers, n int, make func(int) (item, error), docs chan<- document) error {
	var done [window]document
	for base := 0; base < n; base += window {
		end := min(base+window, n)
		var g errgroup.Group
		g.SetLimit(workers)
		for i := base; i < end && ctx.Err() == nil; i++ {
			g.Go(func() error {
				it, err := make(i)
				if err == nil {
					done[i-base], err = t.write(it)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, d := range done[:end-base] {
			select {
			case docs <- d:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}
