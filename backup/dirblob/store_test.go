package dirblob

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/store"
)

// TestFailedFlushIsNotReadBack as success: package store takes an object that is there, with the right bytes,
// for written whatever the write said. That holds only once the folder has been flushed.
func TestFailedFlushIsNotReadBack(t *testing.T) {
	for way, refused := range ways() {
		for _, folder := range []string{"/data/aa", "/data", ""} {
			for _, times := range []int{1, 2, 3, 1000} {
				v := &view{model: newModel(), fault: refused}
				d, err := open(v, modelRoot, &Options{CreateDir: true})
				require.NoError(t, err)
				prefixed := blob.PrefixedBucket(blob.NewBucket(d), "data/")
				s := store.New(prefixed, store.Options{Attempts: 5, Backoff: time.Nanosecond})
				failed := 0
				v.fault = func(call, path string) error {
					if refused != nil {
						if err := refused(call, path); err != nil {
							return err
						}
					}
					if call == "sync" && path == modelRoot+folder && failed < times {
						failed++
						return syscall.EIO
					}
					return nil
				}
				data := []byte(strings.Repeat("an object", 1000))
				err = s.Create(t.Context(), "aa/x", data)
				require.Positive(t, failed, way)
				if times == 1000 {
					require.ErrorIs(t, err, syscall.EIO, "%s %s", way, folder)
					require.NoError(t, prefixed.Close())
					continue
				}
				require.NoError(t, err, "%s %s", way, folder)
				for seed := range uint64(40) {
					after := reopen(t, v.crash(rand.New(rand.NewPCG(3, seed))))
					got, err := after.ReadAll(t.Context(), "data/aa/x")
					require.NoError(t, err, "%s %s, %d failures, seed %d: lost after success", way, folder, times, seed)
					require.Equal(t, data, got)
				}
				require.NoError(t, prefixed.Close())
			}
		}
	}
}

// TestFlusher flushes an object of a real folder.
func TestFlusher(t *testing.T) {
	b, _ := openTemp(t)
	require.NoError(t, b.WriteAll(t.Context(), "data/x", []byte("bytes"), plainType))
	r, err := b.NewReader(t.Context(), "data/x", nil)
	require.NoError(t, err)
	var f Flusher
	require.True(t, r.As(&f))
	require.NoError(t, r.Close())
	require.NoError(t, f.Flush())
	require.NoError(t, b.Delete(t.Context(), "data/x"))
	require.Error(t, f.Flush())
}
