package s3probe

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/probe"
)

// answer is what HeadBucket gives, also where it is refused.
type answer struct {
	host   string // that answered, after redirects
	status int
	region string
	kind   string // of location, of directory buckets alone
}

// head asks for a bucket. Only an answer that says nothing about the bucket is an error.
func head(ctx context.Context, c *s3.Client, bucket string) (answer, error) {
	var a answer
	out, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(bucket)}, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Deserialize.Add(listen(&a), middleware.After)
		})
	})
	if err == nil {
		a.region = aws.ToString(out.BucketRegion)
		a.kind = string(out.BucketLocationType)
		return a, nil
	}
	// Amazon answers 301 or 400 for a bucket of another region and 403 for another's bucket, and says the region.
	f := failure("head bucket", err)
	known := a.region != "" || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
	if known && refused(f) && a.status != http.StatusNotFound {
		return a, nil
	}
	return answer{}, f
}

// listen notes the host and the header of the answer. It stands next to the wire, so it sees each attempt's, and the
// last one's stays. The client's own settings do not tell the host: s3blob gives an endpoint to a resolver.
func listen(a *answer) middleware.DeserializeMiddleware {
	return middleware.DeserializeMiddlewareFunc("carekeep.probe", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		*a = answer{}
		out, md, err := next.HandleDeserialize(ctx, in)
		if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp != nil && resp.Response != nil {
			a.status = resp.StatusCode
			a.region = resp.Header.Get("x-amz-bucket-region")
			if resp.Request != nil && resp.Request.URL != nil {
				a.host = resp.Request.URL.Host
			}
		}
		return out, md, err
	})
}

// constraint asks GetBucketLocation. ok is false where that is refused or not offered.
func constraint(ctx context.Context, c *s3.Client, bucket string) (region string, ok bool, err error) {
	out, err := c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String(bucket)})
	if err == nil {
		return string(out.LocationConstraint), true, nil
	}
	f := failure("get bucket location", err)
	if refused(f) || notOffered(f) {
		return "", false, nil
	}
	return "", false, f
}

// replicas adds the places that a bucket is replicated to. The region, if known, is the bucket's own.
func replicas(ctx context.Context, c *s3.Client, bucket, region string, o *probe.Observation) error {
	out, err := c.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: aws.String(bucket)}, func(opts *s3.Options) {
		if region != "" && o.Location.Provider == amazon {
			opts.Region = region
		}
	})
	if err == nil {
		if out.ReplicationConfiguration == nil {
			o.Note("replication", "none")
			return nil
		}
		return destinations(ctx, c, out.ReplicationConfiguration.Rules, o)
	}
	f := failure("get bucket replication", err)
	switch {
	case f.Code == "ReplicationConfigurationNotFoundError":
		o.Note("replication", "none")
	case o.Location.Provider != amazon && notOffered(f):
		o.Note("replication", "not offered")
		o.Report(probe.Problem{Code: "replication-not-offered",
			Text: "the provider shows no replication through this interface: see by its own means that none is set up"})
	case refused(f), notOffered(f):
		o.Note("replication", "unreadable")
		o.Location.Level = min(o.Location.Level, residency.Inferred)
		o.Report(probe.Problem{Code: "replication-unreadable",
			Text: "the provider refuses to tell where copies are kept: grant s3:GetReplicationConfiguration"})
	default:
		return f
	}
	return nil
}

// destinations asks each bucket that copies go to where it is. Rules that are switched off count: what they copied
// is still there.
func destinations(ctx context.Context, c *s3.Client, rules []types.ReplicationRule, o *probe.Observation) error {
	o.Note("replication", strconv.Itoa(len(rules))+" rules")
	seen := map[string]bool{}
	var regions []string
	for _, r := range rules {
		if r.Destination == nil {
			continue
		}
		bucket := name(aws.ToString(r.Destination.Bucket))
		if bucket == "" || seen[bucket] {
			continue
		}
		seen[bucket] = true
		a, err := head(ctx, c, bucket)
		if errors.Is(err, probe.ErrBucket) {
			o.Report(probe.Problem{Code: "replica-missing", Text: "a rule copies to a bucket that does not exist: delete the rule"})
			continue
		}
		if err != nil {
			return err
		}
		if a.region == "" {
			o.Report(probe.Problem{Code: "replica-unplaced", Unplaced: true,
				Text: "a rule copies to a bucket whose region the provider does not tell: delete the rule, or grant s3:ListBucket there"})
			continue
		}
		regions = append(regions, a.region)
		if a.kind == string(types.LocationTypeLocalZone) {
			o.Report(probe.Problem{Code: "replica-unplaced", Unplaced: true, Text: "a rule copies to a local zone: delete the rule"})
		}
		if !strings.EqualFold(a.region, o.Location.Region) {
			o.Replica(o.Location.Provider, a.region)
		}
	}
	o.Note("replica-regions", strings.Join(regions, " "))
	return nil
}

// name takes the bucket's name out of its ARN, such as arn:aws:s3:::name.
func name(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[5]
	}
	return arn
}

// refused reports whether the provider answered that it will not tell.
func refused(f *probe.Error) bool {
	return f.Status >= 300 && f.Status < 500 && f.Status != http.StatusTooManyRequests
}

// notOffered reports whether the storage has no such request.
func notOffered(f *probe.Error) bool {
	return f.Status == http.StatusNotImplemented || f.Status == http.StatusMethodNotAllowed ||
		f.Code == "NotImplemented" || f.Code == "MethodNotAllowed"
}

// failure makes an error that is safe to show of a client's.
func failure(op string, err error) *probe.Error {
	f := &probe.Error{Op: "probe S3: " + op, Err: err}
	if e := (*smithyhttp.ResponseError)(nil); errors.As(err, &e) && e.Response != nil {
		f.Status = e.HTTPStatusCode()
	}
	if e := smithy.APIError(nil); errors.As(err, &e) {
		f.Code = e.ErrorCode()
	}
	return f
}
