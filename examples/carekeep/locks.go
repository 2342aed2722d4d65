package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
)

// noEnd stands for a lock without an end, which is what a legal hold is.
var noEnd = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// locks returns how the store's locks are asked for, for [backup.CompactOptions], and whether the store keeps
// what is deleted as old versions. Nil: the store locks nothing, or is none of S3. Of several sites the last lock of any
// counts.
func (a *app) locks(b *blob.Bucket) (func(context.Context, string) (time.Time, error), bool, error) {
	if a.routes == nil {
		return a.locksAt(b, a.Repo)
	}
	var asked []func(context.Context, string) (time.Time, error)
	versions := false
	for i, b := range a.routes.buckets {
		ask, v, err := a.locksAt(b, a.routes.Sites[i].Bucket)
		if err != nil {
			return nil, false, fmt.Errorf("site %s: %w", a.routes.Sites[i].Name, err)
		}
		if versions = versions || v; ask != nil {
			asked = append(asked, ask)
		}
	}
	if len(asked) == 0 {
		return nil, versions, nil
	}
	return func(ctx context.Context, key string) (last time.Time, err error) {
		for _, ask := range asked {
			until, err := ask(ctx, key)
			if err != nil {
				return time.Time{}, err
			}
			if until.After(last) {
				last = until
			}
		}
		return last, nil
	}, versions, nil
}

// locksAt returns the same for one bucket.
func (a *app) locksAt(b *blob.Bucket, place string) (func(context.Context, string) (time.Time, error), bool, error) {
	var client *s3.Client
	u, err := url.Parse(place)
	if !b.As(&client) || err != nil {
		return nil, false, nil
	}
	l := &s3Locks{client: client, bucket: u.Host, prefix: u.Query().Get("prefix")}
	v, err := client.GetBucketVersioning(a.ctx, &s3.GetBucketVersioningInput{Bucket: &l.bucket})
	versions := err == nil && v.Status != "" // suspended ones stay as well
	c, err := client.GetObjectLockConfiguration(a.ctx, &s3.GetObjectLockConfigurationInput{Bucket: &l.bucket})
	switch {
	case means(err, "ObjectLockConfigurationNotFoundError", "NotImplemented"):
		return nil, versions, nil
	case err != nil:
		return nil, false, fmt.Errorf("whether the bucket locks objects is not known; allow s3:GetBucketObjectLockConfiguration, or pass --no-locks: %w", err)
	case c.ObjectLockConfiguration == nil || c.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled:
		return nil, versions, nil
	}
	return l.until, versions, nil
}

// s3Locks asks an S3 bucket for the locks of the newest versions of its objects. A version that a lock protects
// stays whatever is asked: deleting the object would only hide it.
type s3Locks struct {
	client         *s3.Client
	bucket, prefix string
}

func (l *s3Locks) until(ctx context.Context, key string) (time.Time, error) {
	key = l.prefix + key
	h, err := l.client.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: &l.bucket, Key: &key})
	if err != nil && !unlocked(err) {
		return time.Time{}, err
	}
	if err == nil && h.LegalHold != nil && h.LegalHold.Status == types.ObjectLockLegalHoldStatusOn {
		return noEnd, nil
	}
	r, err := l.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &l.bucket, Key: &key})
	if err != nil && !unlocked(err) {
		return time.Time{}, err
	}
	if err != nil || r.Retention == nil {
		return time.Time{}, nil
	}
	return aws.ToTime(r.Retention.RetainUntilDate), nil
}

// unlocked reports whether an error means that the object has no lock, or is gone already.
func unlocked(err error) bool {
	return means(err, "NoSuchObjectLockConfiguration", "NoSuchKey", "NotFound", "MethodNotAllowed") // the last: a delete marker
}

func means(err error, codes ...string) bool {
	var e interface{ ErrorCode() string } // of smithy-go
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.ErrorCode() == c {
			return true
		}
	}
	return false
}
