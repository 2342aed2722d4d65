package servertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

// S3 starts an S3-compatible server (versitygw) that ends with the test, makes a bucket, and returns the
// URL by which s3blob opens it. It sets the credentials in the environment of the test.
func S3(t testing.TB) string {
	program := need(t, "versitygw", "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	const access, secret, region, bucket = "testaccess", "testsecret123", "eu-central-1", "practice"
	dir := t.TempDir()
	for _, d := range []string{"root", "versions"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	addr := start(t, dir, func(host, port string) *exec.Cmd {
		return exec.Command(program, "--port", net.JoinHostPort(host, port), "--region", region, "--access", access, "--secret", secret, "-q",
			"posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "root"))
	})
	client := s3.New(s3.Options{
		Region: region, BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	ready(t, func(ctx context.Context) error {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
		return err
	})
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region} {
		setenv(t, k, v)
	}
	return fmt.Sprintf("s3://%s?endpoint=http://%s&region=%s&use_path_style=true", bucket, addr, region)
}
