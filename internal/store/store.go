// Package store is the only door to a bucket: whole objects, written once and put if absent, with retries,
// limits, and the rule by which an ambiguous answer to an exclusive write is settled.
//
// The rule (every conditional write can lose its answer, and stores answer a lost race in several ways):
// after any error of an exclusive write the object is read back. Our own bytes there mean success, once a
// driver that can fail to make them durable has done so; other bytes mean that somebody else was first, nothing
// there means that the write may be tried again.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/time/rate"
)

// Errors that a caller can tell apart. They are wrapped, never returned bare.
var (
	// ErrNotFound: the object is not there.
	ErrNotFound = errors.New("object not found")
	// ErrExists: an exclusive write met an object of other content.
	ErrExists = errors.New("object exists with other content")
	// ErrTooLarge: an object is longer than anything of its type can be.
	ErrTooLarge = errors.New("object is larger than its type allows")
	// ErrSpace: the store is full.
	ErrSpace = errors.New("no space left in the store")
	// ErrDenied: the store refused for lack of rights.
	ErrDenied = errors.New("the store denied access")
)

// Options limit and tune a Store. The zero value works.
type Options struct {
	Upload   *rate.Limiter // bytes per second; nil is unlimited
	Download *rate.Limiter
	Requests int           // concurrent requests; default 16
	Attempts int           // of one operation; default 6
	Backoff  time.Duration // before the second attempt; doubled each time, jittered; default 100 ms
	OnRetry  func(op string, err error)
}

// Store reads and writes objects of one bucket. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	o      Options
	slots  chan struct{}
}

// New returns a Store on b, which stays the caller's to close.
func New(b *blob.Bucket, o Options) *Store {
	if o.Requests <= 0 {
		o.Requests = 16
	}
	if o.Attempts <= 0 {
		o.Attempts = 6
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	return &Store{bucket: b, o: o, slots: make(chan struct{}, o.Requests)}
}

// IsFileblob reports whether the bucket is gocloud's fileblob, whose exclusive write is not exclusive and
// whose writes are not made durable.
func IsFileblob(b *blob.Bucket) bool {
	var fi os.FileInfo
	return b.As(&fi)
}

// Put writes an object whose name nobody else can choose (it holds fresh randomness or a digest of the
// content). An object that is there already with the same bytes is success.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	return s.create(ctx, "put", key, data)
}

// Create writes an object that others may be creating at the same moment. Exactly one of them gets nil;
// the others get an error that wraps [ErrExists]. Data must be unlike anybody else's, so hold a nonce.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	return s.create(ctx, "create", key, data)
}

func (s *Store) create(ctx context.Context, op, key string, data []byte) error {
	return s.retry(ctx, op, func() (bool, error) {
		err := s.upload(ctx, key, data)
		if err == nil {
			return false, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		same, rerr := s.readBack(ctx, key, data)
		switch {
		case same:
			return retryable(rerr), rerr
		case rerr == nil, errors.Is(rerr, ErrTooLarge):
			return false, ErrExists
		case errors.Is(rerr, ErrNotFound):
			return retryable(err), classify(err)
		}
		return retryable(err) || retryable(rerr), classify(err)
	})
}

// readBack reports whether an object has the given bytes. Where it has, and the driver offers to flush an object,
// it is flushed: the write that failed may have failed just there, after the object became visible. Only without
// an error does the object count as written.
func (s *Store) readBack(ctx context.Context, key string, data []byte) (same bool, err error) {
	var flusher interface{ Flush() error }
	there, err := s.readFrom(ctx, key, 0, -1, int64(len(data))+1, nil, func(r *blob.Reader) { r.As(&flusher) })
	if err != nil || !bytes.Equal(there, data) {
		return false, err
	}
	if flusher != nil {
		if err := flusher.Flush(); err != nil {
			return true, fmt.Errorf("flush: %w", classify(err))
		}
	}
	return true, nil
}

func (s *Store) upload(ctx context.Context, key string, data []byte) error {
	if err := wait(ctx, s.o.Upload, len(data)); err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	// Upload, not NewWriter: a failed exclusive write panics in the Close of azureblob's writer.
	return s.bucket.Upload(ctx, key, bytes.NewReader(data), &blob.WriterOptions{
		ContentType: "application/octet-stream",
		IfNotExist:  true,
	})
}

// Get returns a whole object. One longer than max bytes is refused before it is read.
func (s *Store) Get(ctx context.Context, key string, max int64) ([]byte, error) {
	return s.read(ctx, "get", key, 0, -1, max, nil)
}

// ReadRange returns exactly length bytes from offset on; a shorter object is an error that wraps
// io.ErrUnexpectedEOF. The result may use dst's memory.
func (s *Store) ReadRange(ctx context.Context, key string, offset, length int64, dst []byte) ([]byte, error) {
	return s.read(ctx, "read", key, offset, length, length, dst)
}

func (s *Store) read(ctx context.Context, op, key string, offset, length, max int64, dst []byte) (out []byte, err error) {
	err = s.retry(ctx, op, func() (bool, error) {
		out, err = s.readOnce(ctx, key, offset, length, max, dst)
		return retryable(err), err
	})
	return out, err
}

func (s *Store) readOnce(ctx context.Context, key string, offset, length, max int64, dst []byte) ([]byte, error) {
	return s.readFrom(ctx, key, offset, length, max, dst, nil)
}

// readFrom is one read; look, if not nil, gets to see the reader.
func (s *Store) readFrom(ctx context.Context, key string, offset, length, max int64, dst []byte, look func(*blob.Reader)) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	r, err := s.bucket.NewRangeReader(ctx, key, offset, length, nil)
	if err != nil {
		return nil, classify(err)
	}
	defer r.Close()
	if look != nil {
		look(r)
	}
	n := length
	if n < 0 {
		if n = r.Size() - offset; n > max {
			return nil, ErrTooLarge
		}
	}
	if err := wait(ctx, s.o.Download, int(n)); err != nil {
		return nil, err
	}
	if int64(cap(dst)) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	if _, err := io.ReadFull(r, dst); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, classify(err)
	}
	return dst, nil
}

// Exists reports whether an object is there. A false answer of a store whose answers can lag is not proof.
func (s *Store) Exists(ctx context.Context, key string) (ok bool, err error) {
	err = s.retry(ctx, "exists", func() (bool, error) {
		if err := s.enter(ctx); err != nil {
			return false, err
		}
		defer s.leave()
		ok, err = s.bucket.Exists(ctx, key)
		return retryable(err), classify(err)
	})
	return ok, err
}

// Size returns the length of an object in bytes.
func (s *Store) Size(ctx context.Context, key string) (int64, error) {
	l, err := s.Stat(ctx, key)
	return l.Size, err
}

// Stat returns what the store says of an object.
func (s *Store) Stat(ctx context.Context, key string) (l Listed, err error) {
	err = s.retry(ctx, "stat", func() (bool, error) {
		if err := s.enter(ctx); err != nil {
			return false, err
		}
		defer s.leave()
		a, err := s.bucket.Attributes(ctx, key)
		if err != nil {
			return retryable(err), classify(err)
		}
		l = Listed{key, a.Size, a.ModTime}
		return false, nil
	})
	return l, err
}

// Delete removes an object; one that is not there is success.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.retry(ctx, "delete", func() (bool, error) {
		if err := s.enter(ctx); err != nil {
			return false, err
		}
		defer s.leave()
		err := s.bucket.Delete(ctx, key)
		if gcerrors.Code(err) == gcerrors.NotFound {
			return false, nil
		}
		return retryable(err), classify(err)
	})
}

// Listed is what a listing says of an object.
type Listed struct {
	Key     string
	Size    int64
	Written time.Time // by the store's clock; zero if it does not say
}

// List calls f with every object under prefix. Stores may lag behind, so nothing that has to be right may
// rest on it.
func (s *Store) List(ctx context.Context, prefix string, f func(Listed) error) error {
	it := s.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list: %w", classify(err))
		}
		if err := f(Listed{o.Key, o.Size, o.ModTime}); err != nil {
			return err
		}
	}
}

func (s *Store) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) leave() { <-s.slots }

// wait takes n bytes from a limiter in pieces that its burst allows.
func wait(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return ctx.Err()
	}
	for n > 0 {
		part := min(n, max(l.Burst(), 1))
		if err := l.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// retry runs f until it succeeds, fails for good, or the attempts are used up. f reports whether its
// error is worth another attempt.
func (s *Store) retry(ctx context.Context, op string, f func() (again bool, err error)) error {
	backoff := s.o.Backoff
	for attempt := 1; ; attempt++ {
		again, err := f()
		if err == nil {
			return nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if !again || attempt >= s.o.Attempts {
			return fmt.Errorf("%s: %w", op, err)
		}
		if s.o.OnRetry != nil {
			s.o.OnRetry(op, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, 20*time.Second)
	}
}

// retryable tells faults that may pass from answers that will not change.
func retryable(err error) bool {
	if err == nil || outOfSpace(err) {
		return false
	}
	for _, final := range []error{ErrNotFound, ErrExists, ErrTooLarge, ErrDenied, ErrSpace, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.InvalidArgument, gcerrors.PermissionDenied, gcerrors.Unimplemented,
		gcerrors.AlreadyExists, gcerrors.Canceled:
		return false
	}
	return true
}

// classify maps a driver's error to one of this package's, keeping the cause.
func classify(err error) error {
	if err == nil {
		return nil
	}
	switch {
	case outOfSpace(err):
		return fmt.Errorf("%w: %w", ErrSpace, err)
	case gcerrors.Code(err) == gcerrors.NotFound:
		return ErrNotFound
	case gcerrors.Code(err) == gcerrors.PermissionDenied:
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

func outOfSpace(err error) bool {
	return errors.Is(err, ErrSpace) || errors.Is(err, syscall.ENOSPC) || isQuota(err)
}
