package main

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestIncompleteExit backs up a folder with a file that another program keeps to itself.
func TestIncompleteExit(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	dir := tree(t)
	name, err := syscall.UTF16PtrFromString(filepath.Join(dir, "db"))
	require.NoError(t, err)
	const nobodyElse = 0
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ, nobodyElse, nil, syscall.OPEN_EXISTING, 0, 0)
	require.NoError(t, err)
	_, errs := c.run(exitIncomplete, "backup", dir)
	require.NoError(t, syscall.CloseHandle(h))
	require.Contains(t, errs, "db: unreadable")
	c.run(exitComplete, "backup", dir)
}
