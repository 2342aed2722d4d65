package faulttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// bigSize is the length of the stream: beyond 4 GiB, and no multiple of anything.
const bigSize = 4<<30 + 70<<20 + 12_345

// bigStream is a stream of bigSize bytes that do not compress.
func bigStream() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{42}), bigSize) }

func backUpBig(ctx context.Context, repo, host string) (*engine.Repo, *engine.Result, error) {
	b, err := dirblob.OpenBucket(repo, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := engine.Open(ctx, b, key("main"), config(host))
	if err != nil {
		return nil, nil, err
	}
	res, err := r.Backup(ctx, source.Stream("dump", bigStream()), options("big"))
	return r, res, err
}

// childBig is a process that backs the stream up.
func childBig(repo, host string) error {
	fmt.Println("ready")
	_, _, err := backUpBig(context.Background(), repo, host)
	return err
}

// packBytes adds up the packs of content in a repository's folder.
func packBytes(t *testing.T, repo string) (n int64) {
	err := filepath.WalkDir(filepath.Join(repo, "p"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	})
	require.NoError(t, err)
	return n
}

// TestBigStreamKilledAfterPartial backs up one stream of more than 4 GiB, whose run tells the log of what it has
// stored every 256 packs. The process is killed after such an entry; the next run uploads the rest only, and
// the snapshot is exact.
func TestBigStreamKilledAfterPartial(t *testing.T) {
	if !long() {
		t.Skip("writes 5 GB")
	}
	ctx := t.Context()
	start := time.Now()
	repo, host := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	b, err := dirblob.OpenBucket(repo, &dirblob.Options{CreateDir: true})
	require.NoError(t, err)
	defer b.Close()
	r, err := engine.Create(ctx, b, key("main"), config(host))
	require.NoError(t, err)
	r.Close()

	const partials = 3 // before the kill
	last := format.EntryKey(partials)
	cmd, pipe := process(t, "big", repo, host)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sc := bufio.NewScanner(pipe); sc.Scan(); {
			if strings.HasPrefix(sc.Text(), "error") {
				fmt.Println(sc.Text())
			}
		}
	}()
	for there := false; !there; {
		select {
		case <-ended:
			t.Fatal("the run ended before it told the log of what it had stored")
		case <-time.After(5 * time.Millisecond):
			there, err = b.Exists(ctx, last)
			require.NoError(t, err)
		}
	}
	time.Sleep(200 * time.Millisecond) // amid the packs that follow
	require.NoError(t, cmd.Process.Kill())
	<-ended
	require.Error(t, cmd.Wait())
	killedAfter := time.Since(start)
	for i := range partials {
		object, err := b.ReadAll(ctx, format.EntryKey(uint64(i+1)))
		require.NoError(t, err)
		e, _, _, err := format.DecodeLogEntry(object)
		require.NoError(t, err)
		require.Equal(t, format.KindPartial, e.Kind)
	}
	arrived := packBytes(t, repo)
	require.Greater(t, arrived, int64(partials)*255*(2<<20))
	require.Less(t, arrived, int64(bigSize), "it was not killed amid the run")

	again := time.Now()
	r, res, err := backUpBig(ctx, repo, host)
	require.NoError(t, err)
	defer r.Close()
	took := time.Since(again)
	require.Equal(t, int64(bigSize), res.Read)
	require.EqualValues(t, int64(bigSize), res.Description.Bytes)
	require.Less(t, arrived+res.Stored, int64(bigSize)*115/100, "frames leave a tenth of so small packs empty")

	reading := time.Now()
	snap, err := r.Snapshot(ctx, res.Ref)
	require.NoError(t, err)
	want := bigStream()
	buf := make([]byte, 4<<20)
	at, chunks := int64(0), map[format.ID]bool{}
	for e, err := range snap.Tree().Walk(ctx, ".") {
		require.NoError(t, err)
		if e.Kind != format.File {
			continue
		}
		require.Equal(t, int64(bigSize), e.Size)
		for ref, err := range snap.Content(e).Refs(ctx, 0) {
			require.NoError(t, err)
			require.Equal(t, at, ref.Offset)
			c, err := snap.Chunk(ctx, ref.Ref)
			require.NoError(t, err)
			_, err = io.ReadFull(want, buf[:len(c)])
			require.NoError(t, err)
			if !bytes.Equal(buf[:len(c)], c) {
				t.Fatalf("wrong bytes at %d", at)
			}
			at += int64(len(c))
			chunks[ref.ID] = true
		}
	}
	require.Equal(t, int64(bigSize), at)

	// Every pack that arrived is used, but for those that nobody had noted when the process was killed.
	list, err := r.Refs(ctx, snap.Commit.Refs)
	require.NoError(t, err)
	listed, unused := map[string]bool{}, 0
	for _, o := range list {
		listed[hex.EncodeToString(o.Hash[:])] = true
	}
	require.NoError(t, fs.WalkDir(os.DirFS(repo), "p", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !listed[d.Name()] {
			unused++
		}
		return err
	}))
	require.LessOrEqual(t, unused, 4, "packs were uploaded again")
	// What is in the index was uploaded: each chunk once, and a few nodes.
	indexed, segments := uint64(0), map[format.Hash]bool{}
	for seq := range res.Ref.Seq {
		object, err := b.ReadAll(ctx, format.EntryKey(seq+1))
		require.NoError(t, err)
		e, _, _, err := format.DecodeLogEntry(object)
		require.NoError(t, err)
		if e.Kind != format.KindPartial && e.Kind != format.KindSnapshot {
			continue // a checkpoint, whose merged segments hold the same once more
		}
		c, err := format.DecodeCommit(e.Body)
		require.NoError(t, err)
		for _, s := range c.Segments {
			if !segments[s.Hash] {
				segments[s.Hash] = true
				indexed += s.Entries
			}
		}
	}
	require.GreaterOrEqual(t, indexed, uint64(len(chunks)))
	// A node of references ends after one chunk in 128, so a hundredth comes on top for nodes, and half as much for chance.
	require.Less(t, indexed, uint64(len(chunks)+len(chunks)/64+50), "chunks were uploaded again")
	rep, err := r.Check(ctx, engine.CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Findings)
	t.Logf("cases=1 lost=0 (%d bytes: killed after %v with %d stored, %d more by the next run in %v; read and compared in %v)",
		int64(bigSize), killedAfter.Round(time.Second), arrived, res.Stored, took.Round(time.Second), time.Since(reading).Round(time.Second))
	_ = os.RemoveAll(repo)
}
