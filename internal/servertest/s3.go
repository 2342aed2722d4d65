// Package servertest starts real servers on loopback for tests. A server whose program is not installed
// skips the test and says how to install it; with CAREKEEP_REAL=1 its absence is a failure.
package servertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

// need returns the path of a program, or skips the test.
func need(t testing.TB, program, install string) string {
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CAREKEEP_REAL") == "1" {
		t.Fatalf("%s is not installed: %s", program, install)
	}
	t.Skipf("%s is not installed: %s", program, install)
	return ""
}

// S3 starts an S3-compatible server (versitygw) that ends with the test, makes a bucket, and returns the
// URL by which s3blob opens it. It sets the credentials in the environment of the test.
func S3(t testing.TB) string {
	program := need(t, "versitygw", "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	const access, secret, region, bucket = "testaccess", "testsecret123", "eu-central-1", "practice"
	dir := t.TempDir()
	for _, d := range []string{"root", "versions"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())

	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--port", addr, "--region", region, "--access", access, "--secret", secret, "-q",
		"posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "root"))
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	client := s3.New(s3.Options{
		Region: region, BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	require.Eventually(t, func() bool {
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
		return err == nil
	}, 20*time.Second, 50*time.Millisecond, "the server did not start")
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region} {
		setenv(t, k, v)
	}
	return fmt.Sprintf("s3://%s?endpoint=http://%s&region=%s&use_path_style=true", bucket, addr, region)
}

func setenv(t testing.TB, k, v string) {
	old, was := os.LookupEnv(k)
	require.NoError(t, os.Setenv(k, v))
	t.Cleanup(func() {
		if was {
			os.Setenv(k, old)
		} else {
			os.Unsetenv(k)
		}
	})
}
