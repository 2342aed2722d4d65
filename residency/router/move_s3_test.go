package router_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency/router"
)

// s3Client returns the client of a bucket of S3.
func s3Client(b *blob.Bucket) *s3.Client {
	var c *s3.Client
	if !b.As(&c) {
		return nil
	}
	return c
}

// lockedUntil and erase are what a caller gives for a bucket of S3 with Object Lock.
func lockedUntil(name string) func(context.Context, *blob.Bucket, string) (time.Time, bool, error) {
	return func(ctx context.Context, b *blob.Bucket, key string) (time.Time, bool, error) {
		out, err := s3Client(b).GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: aws.String(name), Key: aws.String(key)})
		var api smithy.APIError
		if errors.As(err, &api) && (api.ErrorCode() == "NoSuchObjectLockConfiguration" || api.ErrorCode() == "NoSuchKey") {
			return time.Time{}, false, nil
		}
		if err != nil {
			return time.Time{}, false, err
		}
		until := aws.ToTime(out.Retention.RetainUntilDate)
		return until, time.Now().Before(until), nil
	}
}

func erase(name string) func(context.Context, *blob.Bucket, string) error {
	return func(ctx context.Context, b *blob.Bucket, key string) error {
		c := s3Client(b)
		out, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String(name), Prefix: aws.String(key)})
		if err != nil {
			return err
		}
		for _, v := range out.Versions {
			if aws.ToString(v.Key) == key {
				if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(name), Key: v.Key, VersionId: v.VersionId}); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// TestObjectLock leaves a bucket in which an object is locked.
func TestObjectLock(t *testing.T) {
	ctx := t.Context()
	url := servertest.S3(t)
	first, err := blob.OpenBucket(ctx, url)
	require.NoError(t, err)
	defer first.Close()
	c := s3Client(first)
	require.NotNil(t, c)
	const name = "worm"
	_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	worm, err := blob.OpenBucket(ctx, strings.Replace(url, "s3://practice", "s3://"+name, 1))
	require.NoError(t, err)
	defer worm.Close()
	sites := []router.Site{{Name: "disk"}, {Name: "worm", Bucket: worm}, {Name: "other"}}
	for _, i := range []int{0, 2} {
		b, err := dirblob.OpenBucket(t.TempDir(), nil)
		require.NoError(t, err)
		defer b.Close()
		sites[i].Bucket = b
	}
	o := &router.Options{Placement: router.Placement{Copies: 2, MustReach: 2}}
	r, err := router.Open(ctx, allow{}, subject, sites[:2], o)
	require.NoError(t, err)
	require.NoError(t, r.Close(ctx))
	r, err = router.Open(ctx, allow{}, subject, sites, o)
	require.NoError(t, err)
	reported := seed(t, r, 6)
	until := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	_, err = c.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: aws.String(name), Key: aws.String("p/003"),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(until)}})
	require.NoError(t, err)

	opts := &router.MigrateOptions{LockedUntil: lockedUntil(name), Erase: erase(name)}
	plan := planned(t, r, migration("worm", "other"))
	report, err := r.Migrate(ctx, plan, opts)
	var residue *router.ResidueError
	require.ErrorAs(t, err, &residue)
	require.Equal(t, router.Residue{Objects: 1, Bytes: 8, Until: until}, residue.Residue)
	require.Equal(t, []string{"p/003"}, report.LockedKeys)
	require.EqualValues(t, 5, report.Deleted)
	require.NotNil(t, report.Proof)
	require.NoError(t, readable(r, reported))
	require.Equal(t, []string{"p/003"}, versions(t, c, name))

	time.Sleep(time.Until(until) + 1500*time.Millisecond)
	reports, err := r.ResumeMigrations(ctx, opts)
	require.NoError(t, err)
	require.True(t, reports[0].Done)
	require.Empty(t, versions(t, c, name))
	require.NoError(t, readable(r, reported))
	require.NoError(t, r.Close(ctx))
}

// versions lists the objects of which a bucket has any version, the router's marker and epochs left out.
func versions(t *testing.T, c *s3.Client, name string) (keys []string) {
	out, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(name)})
	require.NoError(t, err)
	for _, v := range out.Versions {
		k := aws.ToString(v.Key)
		if k != ".router/marker" && !strings.HasPrefix(k, ".router/epoch-") && !strings.HasPrefix(k, ".router/intent-") {
			keys = append(keys, k)
		}
	}
	return keys
}
