package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/format"
)

// The cache folder holds segments as the bucket does, each under the digest of its bytes. What is written
// there was held against the digest before it got its name. It is not synced: a file that a crash left
// short fails by its size, one with holes by authentication.

const partSuffix = ".part"

func (x *Index) cached(s *segment) string {
	return filepath.Join(x.c.CacheDir, hex.EncodeToString(s.Hash[:]))
}

// useCached opens the copy of a segment if there is one.
func (x *Index) useCached(s *segment) {
	if x.c.CacheDir == "" || s.uncached.Load() || s.file.Load() != nil {
		return
	}
	f, err := os.Open(x.cached(s))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		x.cacheFailed(s, err)
		return
	}
	if fi, err := f.Stat(); err != nil || fi.Size() != int64(s.Size) {
		_ = f.Close()
		_ = os.Remove(x.cached(s))
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.dropped || !s.file.CompareAndSwap(nil, f) {
		_ = f.Close()
	}
}

func (x *Index) readCached(s *segment, off, n int64, dst []byte) ([]byte, bool) {
	f := s.file.Load()
	if f == nil {
		return nil, false
	}
	if int64(cap(dst)) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	if _, err := f.ReadAt(dst, off); err != nil {
		if !errors.Is(err, os.ErrClosed) {
			x.discard(s)
		}
		return nil, false
	}
	return dst, true
}

// discard removes a copy that is damaged. After the second one the segment does without.
func (x *Index) discard(s *segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := s.file.Swap(nil)
	if f == nil {
		return
	}
	_ = f.Close()
	_ = os.Remove(x.cached(s))
	if s.discards.Add(1) > 1 {
		s.uncached.Store(true)
	}
}

// bring downloads a segment into the cache folder once it has been read from the bucket so often that
// this is less work. A failure of the folder is not an error; one of the bucket is.
func (x *Index) bring(ctx context.Context, s *segment) error {
	// Without a state the segment is being opened, and its gate is taken.
	if x.c.CacheDir == "" || s.state.Load() == nil || s.uncached.Load() || s.ranged.Load() < rangedReads {
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if s.file.Load() != nil || s.uncached.Load() {
		return nil
	}
	x.mu.Lock()
	dropped := s.dropped
	x.mu.Unlock()
	if dropped {
		return nil // nobody would find it there
	}
	h := sha256.New()
	buf := make([]byte, 0, piecePages*pageBytes)
	var failed error
	err := x.write(s, func(w *os.File) error {
		for off := int64(0); off < int64(s.Size); off += int64(len(buf)) {
			n := min(int64(s.Size)-off, piecePages*pageBytes)
			if buf, failed = x.c.Store.ReadRange(ctx, format.IndexKey(s.Hash), off, n, buf[:0]); failed != nil {
				return failed
			}
			h.Write(buf)
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		if failed = checkSum(h, s); failed != nil {
			return failed
		}
		return nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		x.cacheFailed(s, err)
		return nil
	}
	x.useCached(s)
	return nil
}

func checkSum(h hash.Hash, s *segment) error {
	if format.Hash(h.Sum(nil)) != s.Hash {
		return errSwapped
	}
	return nil
}

// saveCached stores a whole object that was held against its name.
func (x *Index) saveCached(s *segment, object []byte) {
	if x.c.CacheDir == "" || s.uncached.Load() || s.file.Load() != nil {
		return
	}
	err := x.write(s, func(w *os.File) error {
		_, err := w.Write(object)
		return err
	})
	if err != nil {
		x.cacheFailed(s, err)
		return
	}
	x.useCached(s)
}

// write makes the copy of a segment: a temporary file that gets its name when fill has succeeded.
func (x *Index) write(s *segment, fill func(*os.File) error) (err error) {
	if err := os.MkdirAll(x.c.CacheDir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(x.c.CacheDir, hex.EncodeToString(s.Hash[:])+".*"+partSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = fill(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), x.cached(s)); err == nil {
		return nil
	}
	// Windows does not replace a file that another process has open; what is there is as good.
	if fi, serr := os.Stat(x.cached(s)); serr == nil && fi.Size() == int64(s.Size) {
		_ = os.Remove(f.Name())
		return nil
	}
	return err
}

// cacheFailed gives the cache folder up for a segment and tells why, without the path.
func (x *Index) cacheFailed(s *segment, err error) {
	s.uncached.Store(true)
	if x.c.CacheFailed == nil {
		return
	}
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	}
	x.c.CacheFailed(err)
}

// Prune removes from the cache folder every copy of a segment that this index does not have, and what
// killed downloads left behind more than a day ago. Other indexes that share the folder download again.
// It touches nothing that is not named as a copy is.
func (x *Index) Prune() error {
	if x.c.CacheDir == "" {
		return nil
	}
	keep := make(map[string]bool)
	for _, s := range *x.set.Load() {
		keep[hex.EncodeToString(s.Hash[:])] = true
	}
	list, err := os.ReadDir(x.c.CacheDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range list {
		name, rest, _ := strings.Cut(d.Name(), ".")
		if b, err := hex.DecodeString(name); err != nil || len(b) != len(format.Hash{}) || !d.Type().IsRegular() {
			continue
		}
		part := strings.HasSuffix(rest, strings.TrimPrefix(partSuffix, "."))
		if part {
			fi, err := d.Info()
			if err != nil || time.Since(fi.ModTime()) < 24*time.Hour {
				continue
			}
		} else if rest != "" || keep[name] {
			continue
		}
		// A file that another process has open stays on Windows, until the next time.
		_ = os.Remove(filepath.Join(x.c.CacheDir, d.Name()))
	}
	return nil
}
