//go:build unix

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody is the user that a test of root's becomes, because root reads everything.
const nobody = 65534

// TestIncompleteExit backs up a folder with a file that its user may not read, in a process of its own.
func TestIncompleteExit(t *testing.T) {
	// Not t.TempDir, which another user may not enter.
	place, err := os.MkdirTemp("", "carekeep-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(place) })
	at := func(name string) string { return filepath.Join(place, name) }
	require.NoError(t, os.CopyFS(at("ehr"), os.DirFS(tree(t))))
	self, err := os.Executable()
	require.NoError(t, err)
	binary, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("carekeep"), binary, 0o700))
	root := os.Geteuid() == 0
	if root {
		require.NoError(t, filepath.WalkDir(place, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(path, nobody, nobody)
			}
			return err
		}))
	}
	command := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), at("carekeep"), append(args, "--repo", at("r"), "--host-dir", at("h"))...)
		cmd.Env = append(os.Environ(), beCommand+"=1", "CAREKEEP_PASSWORD=secret", "HOME="+place)
		cmd.Dir = place
		if root {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		_ = cmd.Run()
		require.NotNil(t, cmd.ProcessState, "the command did not start")
		require.Equal(t, want, cmd.ProcessState.ExitCode(), "%v\n%s", args, errs.String())
		return errs.String()
	}
	command(exitComplete, "init")
	command(exitComplete, "backup", at("ehr"))
	db := filepath.Join(at("ehr"), "db")
	require.NoError(t, os.WriteFile(db, []byte("changed, or it would be carried over unread"), 0o600))
	require.NoError(t, os.Chmod(db, 0))
	require.Contains(t, command(exitIncomplete, "backup", at("ehr")), "db: unreadable")
	require.Contains(t, command(exitComplete, "restore", "latest", "--to", at("restored")), "the snapshot is incomplete: it lacks 1")
	require.NoError(t, os.Chmod(db, 0o600))
	command(exitComplete, "backup", at("ehr"))
}
