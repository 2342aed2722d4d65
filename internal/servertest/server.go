package servertest

import (
	"bytes"
	"context"
	"go/build"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// need returns the path of a program, or skips the test. Where the PATH lacks it, the folder that go install
// fills is looked into; .ci/run installs all of them there.
func need(t testing.TB, program, install string) string {
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	name := program
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	for _, dir := range filepath.SplitList(build.Default.GOPATH) {
		if path, err := exec.LookPath(filepath.Join(dir, "bin", name)); err == nil {
			return path
		}
	}
	if os.Getenv("CAREKEEP_REAL") == "1" {
		t.Fatalf("%s is not installed: %s", program, install)
	}
	t.Skipf("%s is not installed: %s", program, install)
	return ""
}

// start runs a server that ends with the test, in dir, on a port of loopback that was free a moment ago, and
// returns its address. Its output is shown when the test fails.
func start(t testing.TB, dir string, command func(host, port string) *exec.Cmd) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = l.Addr().String()
	require.NoError(t, l.Close())
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)

	cmd := command(host, port)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", out.String())
		}
	})
	return addr
}

// ready waits until a first request succeeds. Servers written for Node.js take seconds, on a busy machine many.
func ready(t testing.TB, try func(context.Context) error) {
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "the server did not start")
		}
	}
}

// setenv is t.Setenv for tests that run in parallel with others, which set the same values.
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
