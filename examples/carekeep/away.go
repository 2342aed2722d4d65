package main

import (
	"context"
	"errors"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// away is the bucket of a site whose disk is not connected: it answers nothing. The router has to know of the site all
// the same, so that it owes it what is written meanwhile.
type away struct{}

var errAway = errors.New("the disk is not connected")

func awayBucket() *blob.Bucket { return blob.NewBucket(away{}) }

// ErrorCode says that anything may be there: it is only not known.
func (away) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Internal }

func (away) As(any) bool             { return false }
func (away) ErrorAs(error, any) bool { return false }
func (away) Close() error            { return nil }

func (away) Attributes(context.Context, string) (*driver.Attributes, error) { return nil, errAway }

func (away) ListPaged(context.Context, *driver.ListOptions) (*driver.ListPage, error) {
	return nil, errAway
}

func (away) NewRangeReader(context.Context, string, int64, int64, *driver.ReaderOptions) (driver.Reader, error) {
	return nil, errAway
}

func (away) NewTypedWriter(context.Context, string, string, *driver.WriterOptions) (driver.Writer, error) {
	return nil, errAway
}

func (away) Copy(context.Context, string, string, *driver.CopyOptions) error { return errAway }
func (away) Delete(context.Context, string, *driver.DeleteOptions) error     { return errAway }

func (away) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errAway
}
