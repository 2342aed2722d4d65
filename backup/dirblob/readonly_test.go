//go:build linux

package dirblob

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"
)

// TestReadOnlyFolder opens a folder that this user may not write to. Root may
// write everywhere, so the test takes another user's file rights for its thread.
func TestReadOnlyFolder(t *testing.T) {
	b, dir := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "data/x", []byte("bytes"), plainType))
	for _, sub := range []string{dir, dir + "/data", dir + "/" + tempFolder} {
		require.NoError(t, os.Chmod(sub, 0o555))
		defer func() { _ = os.Chmod(sub, 0o755) }()
	}
	require.NoError(t, os.Chmod(dir+"/data/x", 0o444))
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		for above := filepath.Dir(dir); above != os.TempDir() && above != "/"; above = filepath.Dir(above) {
			require.NoError(t, os.Chmod(above, 0o755))
		}
		require.NoError(t, syscall.Setfsuid(65534))
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	defer runtime.UnlockOSThread()

	ro, err := OpenBucket(dir, nil)
	require.NoError(t, err)
	defer func() { _ = ro.Close() }()
	var info *Info
	require.True(t, ro.As(&info))
	require.Equal(t, &Info{Root: dir, ReadOnly: true}, info)
	data, err := ro.ReadAll(t.Context(), "data/x")
	require.NoError(t, err)
	require.Equal(t, "bytes", string(data))
	obj, err := ro.List(nil).Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "data/x", obj.Key)
	require.Equal(t, gcerrors.PermissionDenied, gcerrors.Code(ro.WriteAll(t.Context(), "y", nil, plainType)))
	require.Equal(t, gcerrors.PermissionDenied, gcerrors.Code(ro.Delete(t.Context(), "data/x")))
}
