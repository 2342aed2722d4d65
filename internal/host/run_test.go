package host_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/host"
)

func packRef(n byte) (format.PackRef, []format.Frame) {
	ref := format.PackRef{Type: format.TypeData, Session: format.SessionID{1}, Number: uint32(n), Size: 1 << 20, Hash: format.Hash{n}, Prologue: [40]byte{n}}
	var frames []format.Frame
	for i := range byte(10) {
		frames = append(frames, format.Frame{Codec: 1, Stored: 100, Plain: 300, Chunks: []format.Chunk{{ID: format.ID{n, i}, Len: 100}, {ID: format.ID{n, i, 1}, Len: 200}}})
	}
	return ref, frames
}

// requireReplay requires the run to have recorded packs 1 to n and, after the second, a segment, and before the third that
// segments were merged.
func requireReplay(t *testing.T, r *host.Run, n byte) {
	got, segments, merged := byte(0), 0, 0
	require.NoError(t, r.Replay(func(ref format.PackRef, frames []format.Frame) error {
		got++
		wantRef, wantFrames := packRef(got)
		require.Equal(t, wantRef, ref)
		require.Equal(t, wantFrames, frames)
		return nil
	}, func(s format.Segment) error {
		segments++
		require.Equal(t, byte(2), got)
		require.Equal(t, format.Segment{Hash: format.Hash{9}, Size: 5, Entries: 6, Writer: format.WriterID{7}}, s)
		return nil
	}, func(s []format.Segment) error {
		merged++
		require.Equal(t, byte(2), got)
		require.Equal(t, []format.Segment{{Hash: format.Hash{9}}, {Hash: format.Hash{8}}}, s)
		return nil
	}))
	require.Equal(t, n, got)
	require.Equal(t, n >= 3, merged == 1)
	require.Equal(t, n >= 2, segments == 1)
}

func journalled(t *testing.T, f *host.Folder, lineage string, n byte) *host.Run {
	r, err := f.NewRun(lineage, 7)
	require.NoError(t, err)
	for i := byte(1); i <= n; i++ {
		if i == 3 {
			require.NoError(t, r.Merged([]format.Segment{{Hash: format.Hash{9}}, {Hash: format.Hash{8}}}))
		}
		require.NoError(t, r.Stored(packRef(i)))
		if i == 2 {
			require.NoError(t, r.Indexed(format.Segment{Hash: format.Hash{9}, Size: 5, Entries: 6, Writer: format.WriterID{7}}))
		}
	}
	return r
}

func TestJournal(t *testing.T) {
	f, _ := enrol(t)
	r := journalled(t, f, "lineage", 4)
	requireReplay(t, r, 4) // each record is on its way to the disk at once
	stop := errors.New("stop")
	require.ErrorIs(t, r.Replay(func(format.PackRef, []format.Frame) error { return stop }, nil, nil), stop)

	require.NoError(t, r.End(false))
	runs, err := f.Unfinished("lineage")
	require.NoError(t, err)
	require.Len(t, runs, 1)
	u := runs[0]
	require.Equal(t, r.Session, u.Session)
	require.Equal(t, r.Secret, u.Secret)
	require.Equal(t, "lineage", u.Lineage)
	require.Equal(t, r.Started.UnixNano(), u.Started.UnixNano())
	requireReplay(t, u, 4)
	require.NoError(t, u.End(true))
	runs, err = f.Unfinished("lineage")
	require.NoError(t, err)
	require.Empty(t, runs)
}

// A journal that was cut off anywhere is good up to there; where its beginning is lost, the run is removed.
func TestCutOffJournal(t *testing.T) {
	f, dir := enrol(t)
	require.NoError(t, journalled(t, f, "l", 3).End(false))
	found, err := filepath.Glob(filepath.Join(dir, "run-*", "journal"))
	require.NoError(t, err)
	whole, err := os.ReadFile(found[0])
	require.NoError(t, err)
	adopted := 0
	for n := len(whole) - 1; n >= 0; n -= 41 {
		require.NoError(t, os.WriteFile(found[0], whole[:n], 0o600))
		runs, err := f.Unfinished("l")
		require.NoError(t, err)
		if len(runs) == 0 {
			require.NoDirExists(t, filepath.Dir(found[0]))
			require.Less(t, n, 200)
			break
		}
		adopted++
		got := 0
		require.NoError(t, runs[0].Replay(func(ref format.PackRef, frames []format.Frame) error {
			got++
			wantRef, wantFrames := packRef(byte(got))
			require.Equal(t, wantRef, ref)
			require.Equal(t, wantFrames, frames)
			return nil
		}, func(format.Segment) error { return nil }, func([]format.Segment) error { return nil }))
		require.Less(t, got, 3)
		require.NoError(t, runs[0].End(false))
	}
	require.Greater(t, adopted, 20)
	require.NoDirExists(t, filepath.Dir(found[0]))
}

// Only what no process works on, and what is of the lineage, is taken up.
func TestUnfinished(t *testing.T) {
	f, dir := enrol(t)
	atWork := journalled(t, f, "a", 1)
	require.NoError(t, journalled(t, f, "b", 2).End(false))
	cut := journalled(t, f, "a", 3)
	require.NoError(t, cut.End(false))
	begins := filepath.Join(dir, "run-00") // made a moment ago, no journal yet
	require.NoError(t, os.Mkdir(begins, 0o700))

	runs, err := f.Unfinished("a")
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, cut.Session, runs[0].Session)
	more, err := f.Unfinished("a")
	require.NoError(t, err)
	require.Empty(t, more, "it is locked now")
	require.NoError(t, runs[0].End(false))
	newer := journalled(t, f, "a", 1)
	require.NoError(t, newer.End(false))
	runs, err = f.Unfinished("a")
	require.NoError(t, err)
	require.Len(t, runs, 2)
	require.Equal(t, newer.Session, runs[0].Session, "newest first")
	require.NoError(t, runs[0].End(true))
	require.NoError(t, runs[1].End(false))
	b, err := f.Unfinished("b")
	require.NoError(t, err)
	require.Len(t, b, 1, "looking for others' does not remove it")
	requireReplay(t, b[0], 2)
	require.NoError(t, b[0].End(false))
	require.DirExists(t, begins)

	// What is old is removed: one that never had a journal, and one that nobody took up for two months.
	old := time.Now().Add(-61 * 24 * time.Hour)
	require.NoError(t, os.Chtimes(begins, old, old))
	journals, err := filepath.Glob(filepath.Join(dir, "run-*", "journal"))
	require.NoError(t, err)
	require.Len(t, journals, 3)
	for _, j := range journals {
		require.NoError(t, os.Chtimes(j, old, old))
	}
	runs, err = f.Unfinished("a")
	require.NoError(t, err)
	require.Empty(t, runs)
	left, err := filepath.Glob(filepath.Join(dir, "run-*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "the one at work")
	requireReplay(t, atWork, 1)
	require.NoError(t, atWork.End(true))
}

func previous(n byte) host.Previous {
	return host.Previous{
		Snapshot: format.SnapID{n}, Outcome: 1, Refs: format.Hash{n}, RefsDepth: 3,
		Description: format.Description{Root: format.Child{ID: format.ID{n}, Len: 5, Entries: 6, Bytes: 7}, RootLevel: 1, Host: "h", Sources: []string{"s"}},
		Packs:       []format.Object{{Type: format.TypeData, Session: format.SessionID{n}, Hash: format.Hash{1}}, {Type: format.TypeMetadata, Hash: format.Hash{2}}},
	}
}

func keep(t *testing.T, f *host.Folder, lineage string, n byte, rs []host.Record) {
	k, err := f.Keep(lineage)
	require.NoError(t, err)
	write(t, &k.RecordWriter, rs)
	require.NoError(t, k.Finish())
	require.NoError(t, k.Commit(previous(n)))
}

func requirePrevious(t *testing.T, f *host.Folder, lineage string, n byte, rs []host.Record) *host.Previous {
	p, x := f.Recall(lineage)
	require.NotNil(t, p)
	want := previous(n)
	require.Equal(t, want.Snapshot, p.Snapshot)
	require.Equal(t, want.Outcome, p.Outcome)
	require.Equal(t, want.Refs, p.Refs)
	require.Equal(t, want.RefsDepth, p.RefsDepth)
	require.Equal(t, want.Description, p.Description)
	require.Equal(t, want.Packs, p.Packs)
	got, end := requirePrefix(t, x, rs)
	require.Equal(t, len(rs), got)
	require.ErrorIs(t, end, io.EOF)
	return p
}

func TestPrevious(t *testing.T) {
	f, dir := enrol(t)
	p, x := f.Recall("a")
	require.Nil(t, p)
	require.Nil(t, x)

	keep(t, f, "a", 1, records(20))
	keep(t, f, "b", 2, records(10))
	requirePrevious(t, f, "a", 1, records(20))
	keep(t, f, "a", 3, records(300))
	requirePrevious(t, f, "a", 3, records(300))
	requirePrevious(t, f, "b", 2, records(10))
	files, err := filepath.Glob(filepath.Join(dir, "previous-*"))
	require.NoError(t, err)
	require.Len(t, files, 2, "older records are removed")

	// One that is not committed changes nothing.
	k, err := f.Keep("a")
	require.NoError(t, err)
	write(t, &k.RecordWriter, records(3))
	requirePrevious(t, f, "a", 3, records(300))
	k.Drop()
	files, err = filepath.Glob(filepath.Join(dir, "previous-*"))
	require.NoError(t, err)
	require.Len(t, files, 2)

	// The same records under a new snapshot.
	p = requirePrevious(t, f, "a", 3, records(300))
	p.Snapshot, p.Refs = format.SnapID{4}, format.Hash{4}
	p.Description, p.Packs = previous(4).Description, previous(4).Packs
	require.NoError(t, f.Renew("a", p))
	requirePrevious(t, f, "a", 4, records(300))

	// What is damaged or gone is as if there were nothing.
	require.NoError(t, f.Save("last-c", bytes.Repeat([]byte{0xff}, 100))) // lengths out of range
	p, _ = f.Recall("c")
	require.Nil(t, p)
	require.NoError(t, os.Truncate(filepath.Join(dir, "last-b"), 30))
	p, _ = f.Recall("b")
	require.Nil(t, p)
	files, err = filepath.Glob(filepath.Join(dir, "previous-a-*"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(files[0]))
	p, _ = f.Recall("a")
	require.Nil(t, p)
}
