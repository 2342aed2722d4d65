//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// waiting is a backup of standard input, in a process of its own, that has begun to read.
func waiting(t *testing.T) (cmd *exec.Cmd, stdin io.Writer, errs *bytes.Buffer) {
	place := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), self, append(args, "--repo", filepath.Join(place, "r"), "--host-dir", filepath.Join(place, "h"))...)
		cmd.Env = append(os.Environ(), beCommand+"=1", "CAREKEEP_PASSWORD=secret")
		return cmd
	}
	require.NoError(t, command("init").Run())
	cmd, errs = command("backup", "--stdin", "dump.sql", "--json"), &bytes.Buffer{}
	cmd.Stderr = errs
	stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n') // the first event of its progress
	require.NoError(t, err)
	return cmd, stdin, errs
}

// TestTerminated: a service manager's way to stop is a cancelled run like any other.
func TestTerminated(t *testing.T) {
	cmd, stdin, errs := waiting(t)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for { // what is read next finds the run cancelled
		if _, err := stdin.Write([]byte("row\n")); err != nil {
			break
		}
	}
	_ = cmd.Wait()
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), errs.String())
	require.Contains(t, errs.String(), "goes on from here")
}

// TestInterruptedTwice: whoever presses the keys again wants it to end, though the other end of the pipe is silent.
func TestInterruptedTwice(t *testing.T) {
	cmd, _, _ := waiting(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// As fingers are, until it is gone: without pauses signals pile up in one handler until its stack overflows.
		for cmd.Process.Signal(os.Interrupt) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_ = cmd.Wait()
	<-done
	require.Equal(t, syscall.SIGINT, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
}
