package faultstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

var (
	errNotFound = &Error{Code: gcerrors.NotFound, Text: "no such object"}
	errExists   = &Error{Code: gcerrors.FailedPrecondition, Text: "the object exists"}
	errNoURL    = &Error{Code: gcerrors.Unimplemented, Text: "there are no signed URLs"}
)

// object is one stored object; it does not change.
type object struct {
	data  []byte
	attrs driver.Attributes
}

func newObject(data []byte) *object {
	o := &object{data: data}
	o.attrs.CreateTime = time.Now()
	o.finish()
	return o
}

// finish fills in what follows from the bytes.
func (o *object) finish() {
	o.attrs.ModTime = time.Now()
	o.attrs.Size = int64(len(o.data))
	sum := md5.Sum(o.data)
	o.attrs.MD5 = sum[:]
	o.attrs.ETag = fmt.Sprintf("%q", fmt.Sprintf("%x-%x", sum, o.attrs.ModTime.UnixNano()))
}

// bucket is the driver.
type bucket struct {
	s    *Store
	gate Gate // may be nil
}

// request is that of the store, after the gate of the bucket.
func (b *bucket) request(ctx context.Context, o Op, apply func(Fault) error) error {
	if b.gate == nil {
		return b.s.request(ctx, o, apply)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f, done := b.gate(o)
	defer done()
	if f != (Fault{}) {
		return b.s.meet(ctx, f, apply)
	}
	return b.s.request(ctx, o, apply)
}

// request numbers a request, asks the hook, and carries out what is common to all kinds. Apply, which is
// called with the store locked, is the request's effect; it gets the fault if the fault is about bytes.
func (s *Store) request(ctx context.Context, o Op, apply func(Fault) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.killed {
		s.mu.Unlock()
		return ErrKilled
	}
	s.ops++
	o.N = s.ops
	if s.logging {
		s.log = append(s.log, o)
	}
	hook := s.hook
	s.mu.Unlock()
	var f Fault
	if hook != nil {
		f = hook(o)
	}
	return s.meet(ctx, f, apply)
}

// meet carries a request out under a fault.
func (s *Store) meet(ctx context.Context, f Fault, apply func(Fault) error) error {
	if f.how == delay {
		t := time.NewTimer(f.wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	terminal := f.how == fail || f.how == kill || f.how == hang
	s.mu.Lock()
	err := error(nil)
	switch {
	case s.killed:
		err = ErrKilled
	case !terminal || f.applied:
		err = apply(f)
	}
	if f.how == kill {
		s.killed = true
	}
	s.mu.Unlock()
	switch {
	case errors.Is(err, ErrKilled):
		return err
	case f.how == fail:
		return f.err
	case f.how == kill:
		return ErrKilled
	case f.how == hang:
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// damage returns data as a fault about bytes leaves it.
func damage(f Fault, data []byte) []byte {
	switch {
	case f.how == short || f.how == broken:
		return data[:min(max(f.n, 0), len(data))]
	case f.how == flip && len(data) > 0:
		data = bytes.Clone(data)
		i := f.n % len(data)
		if i < 0 {
			i += len(data)
		}
		data[i] ^= f.mask
	}
	return data
}

func noAs(any) bool { return false }

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	var e *Error
	switch {
	case errors.Is(err, ErrKilled):
		return gcerrors.Canceled
	case errors.As(err, &e):
		return e.Code
	}
	return gcerrors.Unknown
}

// As implements driver.Bucket.
func (b *bucket) As(any) bool { return false }

// ErrorAs implements driver.Bucket.
func (b *bucket) ErrorAs(error, any) bool { return false }

// Close implements driver.Bucket.
func (b *bucket) Close() error { return nil }

// SignedURL implements driver.Bucket.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errNoURL
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	var a driver.Attributes
	err := b.request(ctx, Op{Kind: Stat, Key: key}, func(Fault) error {
		o := b.s.objects[key]
		if o == nil {
			return errNotFound
		}
		a = o.attrs
		a.Metadata = maps.Clone(a.Metadata)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// NewRangeReader implements driver.Bucket.
func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	b.s.mu.Lock()
	n := rangeOf(b.s.objects[key], offset, length)
	b.s.mu.Unlock()
	r := &reader{}
	err := b.request(ctx, Op{Kind: Read, Key: key, Bytes: len(n)}, func(f Fault) error {
		o := b.s.objects[key]
		if o == nil {
			return errNotFound
		}
		r.attrs = driver.ReaderAttributes{ContentType: o.attrs.ContentType, ModTime: o.attrs.ModTime, Size: o.attrs.Size}
		r.rest = damage(f, rangeOf(o, offset, length))
		if f.how == broken {
			r.end = f.err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if opts.BeforeRead != nil {
		if err := opts.BeforeRead(noAs); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func rangeOf(o *object, offset, length int64) []byte {
	if o == nil || offset < 0 || offset > int64(len(o.data)) {
		return nil
	}
	data := o.data[offset:]
	if length >= 0 && length < int64(len(data)) {
		data = data[:length]
	}
	return data
}

type reader struct {
	attrs driver.ReaderAttributes
	rest  []byte
	end   error // instead of io.EOF
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.end != nil {
		return 0, r.end
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *reader) Close() error { return nil }

// Attributes implements driver.Reader.
func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attrs }

// As implements driver.Reader.
func (r *reader) As(any) bool { return false }

// NewTypedWriter implements driver.Bucket.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	if key == "" {
		return nil, &Error{Code: gcerrors.InvalidArgument, Text: "the key is empty"}
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(noAs); err != nil {
			return nil, err
		}
	}
	w := &writer{ctx: ctx, b: b, key: key, exclusive: opts.IfNotExist}
	w.attrs = driver.Attributes{
		CacheControl: opts.CacheControl, ContentDisposition: opts.ContentDisposition, ContentEncoding: opts.ContentEncoding,
		ContentLanguage: opts.ContentLanguage, ContentType: contentType, Metadata: maps.Clone(opts.Metadata),
	}
	return w, nil
}

type writer struct {
	ctx       context.Context
	b         *bucket
	key       string
	exclusive bool
	attrs     driver.Attributes
	buf       bytes.Buffer
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

// Close makes the request.
func (w *writer) Close() error {
	op := Op{Kind: Write, Key: w.key, Bytes: w.buf.Len(), Exclusive: w.exclusive}
	return w.b.request(w.ctx, op, func(f Fault) error {
		o := &object{data: damage(f, w.buf.Bytes()), attrs: w.attrs}
		o.attrs.CreateTime = time.Now()
		if old := w.b.s.objects[w.key]; old != nil {
			if w.exclusive && f.how != replace {
				return errExists
			}
			o.attrs.CreateTime = old.attrs.CreateTime
		}
		o.finish()
		w.b.s.objects[w.key] = o
		return nil
	})
}

// Copy implements driver.Bucket.
func (b *bucket) Copy(ctx context.Context, dstKey, srcKey string, opts *driver.CopyOptions) error {
	if opts.BeforeCopy != nil {
		if err := opts.BeforeCopy(noAs); err != nil {
			return err
		}
	}
	return b.request(ctx, Op{Kind: Copy, Key: dstKey}, func(Fault) error {
		o := b.s.objects[srcKey]
		if o == nil {
			return errNotFound
		}
		b.s.objects[dstKey] = o
		return nil
	})
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(noAs); err != nil {
			return err
		}
	}
	return b.request(ctx, Op{Kind: Delete, Key: key}, func(Fault) error {
		if b.s.objects[key] == nil {
			return errNotFound
		}
		delete(b.s.objects, key)
		return nil
	})
}

// pageSize is how many objects a page of a list has if nobody says.
const pageSize = 1000

// ListPaged implements driver.Bucket. The token of a page is the last key of the page before.
func (b *bucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(noAs); err != nil {
			return nil, err
		}
	}
	size := opts.PageSize
	if size == 0 {
		size = pageSize
	}
	page := &driver.ListPage{}
	err := b.request(ctx, Op{Kind: List, Key: opts.Prefix}, func(Fault) error {
		for _, key := range slices.Sorted(maps.Keys(b.s.objects)) {
			rest, ok := strings.CutPrefix(key, opts.Prefix)
			if !ok {
				continue
			}
			o := b.s.objects[key]
			item := &driver.ListObject{Key: key, ModTime: o.attrs.ModTime, Size: o.attrs.Size, MD5: o.attrs.MD5}
			if opts.Delimiter != "" {
				if dir, _, inner := strings.Cut(rest, opts.Delimiter); inner {
					item = &driver.ListObject{Key: opts.Prefix + dir + opts.Delimiter, IsDir: true}
				}
			}
			n := len(page.Objects)
			if item.Key <= string(opts.PageToken) || n > 0 && page.Objects[n-1].Key == item.Key {
				continue
			}
			if n == size {
				page.NextPageToken = []byte(page.Objects[n-1].Key)
				return nil
			}
			page.Objects = append(page.Objects, item)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}
