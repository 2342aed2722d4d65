package router

import (
	"context"
	"errors"
	"maps"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// bucket is the driver.
type bucket struct{ r *Router }

func noAs(any) bool { return false }

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode { return codeOf(err) }

// As implements driver.Bucket.
func (b *bucket) As(any) bool { return false }

// ErrorAs implements driver.Bucket: it gives a *DeniedError or a *SiteError.
func (b *bucket) ErrorAs(err error, i any) bool {
	switch p := i.(type) {
	case **DeniedError:
		return errors.As(err, p)
	case **SiteError:
		return errors.As(err, p)
	}
	return false
}

// Close implements driver.Bucket. The sites' buckets are the caller's.
func (b *bucket) Close() error { return nil }

// SignedURL implements driver.Bucket.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", fail(errNoURL)
}

// allowed refuses keys that are not the users'.
func allowed(key string) error {
	switch {
	case key == "":
		return fail(errNoKey)
	case strings.HasPrefix(key, reserved):
		return fail(ErrReserved)
	}
	return nil
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if strings.HasPrefix(key, reserved) {
		return nil, notFound()
	}
	ctx, end := b.r.seen.Begin(ctx, opLook, false)
	var out *driver.Attributes
	err := b.r.find(ctx, func(s *site) error {
		return s.call(ctx, "look", func(c context.Context) error {
			a, err := s.Bucket.Attributes(c, key)
			if err == nil {
				out = driverAttributes(a)
			}
			return err
		})
	})
	end(err)
	return out, err
}

func driverAttributes(a *blob.Attributes) *driver.Attributes {
	return &driver.Attributes{
		CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding,
		ContentLanguage: a.ContentLanguage, ContentType: a.ContentType, Metadata: maps.Clone(a.Metadata),
		CreateTime: a.CreateTime, ModTime: a.ModTime, Size: a.Size, MD5: a.MD5, ETag: a.ETag,
	}
}

// NewTypedWriter implements driver.Bucket.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	if err := allowed(key); err != nil {
		return nil, err
	}
	if contentType == "" {
		contentType = octets
	}
	o := blob.WriterOptions{
		BufferSize: opts.BufferSize, MaxConcurrency: opts.MaxConcurrency, CacheControl: opts.CacheControl,
		ContentDisposition: opts.ContentDisposition, ContentEncoding: opts.ContentEncoding,
		ContentLanguage: opts.ContentLanguage, ContentType: contentType, Metadata: maps.Clone(opts.Metadata),
		IfNotExist: opts.IfNotExist,
	}
	w, err := b.r.newWriter(ctx, key, o)
	if err != nil {
		return nil, err
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(noAs); err != nil {
			w.giveUp(err)
			return nil, err
		}
	}
	return w, nil
}

// Copy implements driver.Bucket. The bytes go through this process, because a copy is a write like any other.
func (b *bucket) Copy(ctx context.Context, dstKey, srcKey string, opts *driver.CopyOptions) error {
	if err := allowed(dstKey); err != nil {
		return err
	}
	a, err := b.Attributes(ctx, srcKey)
	if err != nil {
		return err
	}
	if opts.BeforeCopy != nil {
		if err := opts.BeforeCopy(noAs); err != nil {
			return err
		}
	}
	r, err := b.NewRangeReader(ctx, srcKey, 0, -1, &driver.ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := b.r.newWriter(ctx, dstKey, *writerOptions(a))
	if err != nil {
		return err
	}
	if err := w.readFrom(r); err != nil {
		w.giveUp(err)
		return err
	}
	return w.Close()
}

// writerOptions are those that make a copy with the same attributes.
func writerOptions(a *driver.Attributes) *blob.WriterOptions {
	o := &blob.WriterOptions{
		CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition, ContentEncoding: a.ContentEncoding,
		ContentLanguage: a.ContentLanguage, ContentType: a.ContentType, Metadata: maps.Clone(a.Metadata),
	}
	if o.ContentType == "" {
		o.ContentType = octets
	}
	return o
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	if strings.HasPrefix(key, reserved) {
		return fail(ErrReserved)
	}
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(noAs); err != nil {
			return err
		}
	}
	ctx, end := b.r.seen.Begin(ctx, opDelete, false)
	err := b.r.delete(ctx, key)
	end(err)
	return err
}
