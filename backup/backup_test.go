package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/practice"
)

func create(t testing.TB, bucket *blob.Bucket, o *backup.CreateOptions) *backup.Repository {
	if o == nil {
		o = &backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir()}}
	}
	if !o.FIPS {
		o.PasswordCost = quick
	}
	r, err := backup.Create(t.Context(), bucket, backup.Password("secret"), o)
	require.NoError(t, err)
	closing(t, r)
	return r
}

// closing closes a repository when the test ends: before its host folder is removed, which Windows asks for.
func closing(t testing.TB, r *backup.Repository) {
	t.Cleanup(func() { require.NoError(t, r.Close()) })
}

func memory(t testing.TB) *blob.Bucket {
	b := memblob.OpenBucket(nil)
	t.Cleanup(func() { b.Close() })
	return b
}

var files = fstest.MapFS{
	"letters/one.txt":   {Data: []byte("one"), Mode: 0o640, ModTime: time.Unix(1_700_000_000, 123)},
	"letters/empty":     {Mode: 0o600, ModTime: time.Unix(1_700_000_000, 0)},
	"letters/old/big":   {Data: bytes.Repeat([]byte("clinical "), 300_000), Mode: 0o644, ModTime: time.Unix(1_600_000_000, 0)},
	"letters/link":      {Data: []byte("one.txt"), Mode: fs.ModeSymlink | 0o777, ModTime: time.Unix(1_700_000_000, 0)},
	"letters/old.txt":   {Data: []byte("sorts between"), ModTime: time.Unix(1_700_000_000, 0)},
	"zz/with space/ÄÖÜ": {Data: []byte("name"), ModTime: time.Unix(1_700_000_000, 0)},
}

func TestFileSystem(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory(t), nil)
	snap, err := r.Backup(ctx, files, nil)
	require.NoError(t, err)
	view := snap.FS(ctx)
	require.NoError(t, fstest.TestFS(view, "letters/one.txt", "letters/empty", "letters/old/big", "letters/link", "letters/old.txt", "zz/with space/ÄÖÜ"))

	f, err := view.Open("letters/old/big")
	require.NoError(t, err)
	defer f.Close()
	want := files["letters/old/big"].Data
	require.NoError(t, iotest.TestReader(f, want))
	part := make([]byte, 1000)
	n, err := f.(io.ReaderAt).ReadAt(part, int64(len(want)-500))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, want[len(want)-500:], part[:n])
	linked, err := fs.ReadFile(view, "letters/link")
	require.NoError(t, err)
	require.Equal(t, "one", string(linked))

	to := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(to, "copy"), view))
	restore := func() *backup.RestoreReport {
		rep, err := snap.Restore(ctx, filepath.Join(to, "restored"), nil)
		if makesLinks(t) {
			require.NoError(t, err)
			return rep
		}
		var inc *backup.IncompleteError
		require.ErrorAs(t, err, &inc)
		require.Len(t, inc.Problems, 1)
		require.Equal(t, "letters/link", inc.Problems[0].Path)
		return rep
	}
	rep := restore()
	require.EqualValues(t, 5, rep.Files)
	for _, dir := range []string{"copy", "restored"} {
		b, err := os.ReadFile(filepath.Join(to, dir, "letters", "old", "big"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, b))
	}
	require.Zero(t, restore().BytesWritten, "a second restore writes nothing")
}

// makesLinks is whether this user may make symbolic links here: on Windows that takes a privilege.
func makesLinks(t *testing.T) bool {
	link := filepath.Join(t.TempDir(), "link")
	if runtime.GOOS != "windows" {
		return true
	}
	err := os.Symlink("somewhere", link)
	if err == nil {
		_, err = os.Readlink(link) // Wine takes the call, and makes nothing
	}
	return err == nil
}

// A snapshot is a source: what one repository restores, another backs up.
func TestSnapshotOfSnapshot(t *testing.T) {
	ctx := t.Context()
	first, err := create(t, memory(t), nil).Backup(ctx, files, nil)
	require.NoError(t, err)
	second, err := create(t, memory(t), nil).Backup(ctx, first.FS(ctx), nil)
	require.NoError(t, err)
	require.Equal(t, first.Stats(), second.Stats())
	b, err := fs.ReadFile(second.FS(ctx), "letters/old/big")
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["letters/old/big"].Data, b))
}

// The files of a bucket are fs.ModeIrregular; a walker that keeps only regular files would keep nothing.
func TestBucketAsSource(t *testing.T) {
	ctx := t.Context()
	src := memory(t)
	require.NoError(t, src.WriteAll(ctx, "a/b", []byte("x"), nil))
	snap, err := create(t, memory(t), nil).Backup(ctx, src, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, snap.Stats().Files)
	b, err := fs.ReadFile(snap.FS(ctx), "a/b")
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}

func TestStreamAndGroup(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory(t), nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("file"), 0o600))
	dump := bytes.Repeat([]byte("insert into patient values (1);\n"), 100_000)
	snap, err := r.Backup(ctx, backup.Group(map[string]fs.FS{
		"db":        backup.Stream("dump.sql", iotest.OneByteReader(bytes.NewReader(dump[:1000]))),
		"db2":       backup.Stream("dump.sql", bytes.NewReader(dump)),
		"documents": backup.Dir(dir),
	}), nil)
	requireComplete(t, err)
	got, err := fs.ReadFile(snap.FS(ctx), "db2/dump.sql")
	require.NoError(t, err)
	require.True(t, bytes.Equal(dump, got))
	got, err = fs.ReadFile(snap.FS(ctx), "documents/f")
	require.NoError(t, err)
	require.Equal(t, "file", string(got))

	died := errors.New("the dump died")
	broken := io.MultiReader(bytes.NewReader(dump), iotest.ErrReader(died))
	snap, err = r.Backup(ctx, backup.Stream("dump.sql", broken), nil)
	require.ErrorIs(t, err, died)
	require.Nil(t, snap, "half a dump is no backup")
}

func requireComplete(t *testing.T, err error) {
	t.Helper()
	var inc *backup.IncompleteError
	if errors.As(err, &inc) {
		t.Fatalf("%+v", inc.Problems)
	}
	require.NoError(t, err)
}

func TestMissingSourceIsAnError(t *testing.T) {
	r := create(t, memory(t), nil)
	snap, err := r.Backup(t.Context(), backup.Dir(filepath.Join(t.TempDir(), "gone")), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "source:")
	require.Nil(t, snap)
	_, err = r.Snapshot(t.Context(), backup.Latest)
	require.ErrorIs(t, err, backup.ErrNoSnapshot)
}

// flaky fails to open some files.
type flaky struct{ fstest.MapFS }

func (f flaky) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, "one.txt") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.MapFS.Open(name)
}

func TestIncomplete(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory(t), nil)
	snap, err := r.Backup(ctx, flaky{files}, nil)
	require.ErrorIs(t, err, backup.ErrIncomplete)
	var inc *backup.IncompleteError
	require.ErrorAs(t, err, &inc)
	require.EqualValues(t, 1, inc.Total)
	require.Equal(t, "letters/one.txt", inc.Problems[0].Path)
	require.Equal(t, backup.Unreadable, inc.Problems[0].Reason)
	require.NotContains(t, err.Error(), "one.txt")
	require.Equal(t, backup.Incomplete, snap.Outcome())

	again, err := r.Snapshot(ctx, backup.Latest)
	require.NoError(t, err)
	ps, err := again.Problems(ctx)
	require.NoError(t, err)
	require.Equal(t, inc.Problems, ps)
	_, err = fs.Stat(again.FS(ctx), "letters/old.txt")
	require.NoError(t, err, "the rest is kept")
}

func TestRolesAndKeys(t *testing.T) {
	ctx := t.Context()
	bucket := memory(t)
	opts := backup.Options{HostDir: t.TempDir()}
	admin := create(t, bucket, &backup.CreateOptions{Options: opts})

	writer, err := backup.Open(ctx, bucket, backup.Credential(), &opts)
	require.NoError(t, err)
	closing(t, writer)
	require.False(t, writer.CanRead())
	snap, err := writer.Backup(ctx, files, nil)
	require.NoError(t, err)
	_, err = snap.FS(ctx).Open("letters/one.txt")
	require.ErrorIs(t, err, backup.ErrRole)
	_, err = writer.AddKey(ctx, backup.Password("another"))
	require.ErrorIs(t, err, backup.ErrRole)
	_, err = backup.Open(ctx, bucket, backup.Credential(), &backup.Options{HostDir: t.TempDir()})
	require.ErrorIs(t, err, backup.ErrNoCredential)

	service, err := subtle.NewAESGCM(bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	before := len(objects(t, bucket))
	_, err = admin.AddKey(ctx, backup.KMS("test://key", service))
	require.NoError(t, err)
	require.Len(t, objects(t, bucket), before+2, "a key is one slot and one entry of the log")
	_, err = admin.AddKey(ctx, backup.Password("secret"))
	require.ErrorIs(t, err, backup.ErrRepositoryExists)

	stateless := &backup.Options{Stateless: true}
	byService, err := backup.Open(ctx, bucket, backup.KMS("test://key", service), stateless)
	require.NoError(t, err)
	s, err := byService.Snapshot(ctx, backup.Latest)
	require.NoError(t, err)
	b, err := fs.ReadFile(s.FS(ctx), "letters/one.txt")
	require.NoError(t, err)
	require.Equal(t, "one", string(b))

	for _, k := range byService.Keys() {
		if k.Kind == "password" {
			require.NoError(t, byService.RemoveKey(ctx, k.ID))
		}
	}
	_, err = backup.Open(ctx, bucket, backup.Password("secret"), stateless)
	require.ErrorIs(t, err, backup.ErrWrongKey)
	require.Error(t, byService.RemoveKey(ctx, byService.Keys()[0].ID), "the last key stays")
	_, err = byService.Check(ctx, &backup.CheckOptions{ReadAll: true})
	require.NoError(t, err)
}

// TestFIPS uses the second suite; continuous integration runs it under GODEBUG=fips140=only.
func TestFIPS(t *testing.T) {
	ctx := t.Context()
	bucket, err := dirblob.OpenBucket(t.TempDir(), nil) // memblob computes MD5
	require.NoError(t, err)
	defer bucket.Close()
	create(t, bucket, &backup.CreateOptions{FIPS: true, Options: backup.Options{HostDir: t.TempDir()}})
	r, err := backup.Open(ctx, bucket, backup.Password("secret"), &backup.Options{Stateless: true})
	require.NoError(t, err)
	snap, err := r.Backup(ctx, files, nil)
	require.NoError(t, err)
	b, err := fs.ReadFile(snap.FS(ctx), "letters/old/big")
	require.NoError(t, err)
	require.True(t, bytes.Equal(files["letters/old/big"].Data, b))
	_, err = r.Check(ctx, &backup.CheckOptions{ReadAll: true})
	require.NoError(t, err)
}

func TestRefusals(t *testing.T) {
	ctx := t.Context()
	unsafe, err := fileblob.OpenBucket(t.TempDir(), nil)
	require.NoError(t, err)
	defer unsafe.Close()
	_, err = backup.Create(ctx, unsafe, backup.Password("p"), nil)
	require.ErrorIs(t, err, backup.ErrUnsafeBucket)

	bucket := memory(t)
	_, err = backup.Open(ctx, bucket, backup.Password("p"), nil)
	require.ErrorIs(t, err, backup.ErrNoRepository)
	create(t, bucket, nil)
	_, err = backup.Open(ctx, bucket, backup.Password("wrong"), &backup.Options{Stateless: true})
	require.ErrorIs(t, err, backup.ErrWrongKey)

	for _, key := range []string{"format", "format.copy"} {
		b, err := bucket.ReadAll(ctx, key)
		require.NoError(t, err)
		b[3]++
		require.NoError(t, bucket.WriteAll(ctx, key, b, nil))
	}
	_, err = backup.Open(ctx, bucket, backup.Password("secret"), &backup.Options{Stateless: true})
	require.ErrorIs(t, err, backup.ErrNewerFormat)
	require.ErrorContains(t, err, "use a newer release")
}

func TestLimitsAndLabels(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory(t), &backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir(), UploadRate: 200_000, Requests: 1}})
	noise := make([]byte, 150_000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	start := time.Now()
	snap, err := r.Backup(ctx, fstest.MapFS{"n": {Data: noise}, "skip.tmp": {Data: noise}, "cache/x": {Data: noise}},
		&backup.BackupOptions{Labels: map[string]string{"site": "north"}, Name: "db", Host: "h", Exclude: []string{"*.tmp", "cache/"}})
	require.NoError(t, err)
	require.Greater(t, time.Since(start), 300*time.Millisecond, "the limit of the upload was not kept")
	require.EqualValues(t, 1, snap.Stats().Files)
	got, err := r.Snapshot(ctx, snap.ID()[:10])
	require.NoError(t, err)
	require.Equal(t, map[string]string{"site": "north"}, got.Labels())
	require.Equal(t, "h", got.Host())
	require.Equal(t, "db", got.Name())
}

func TestDiff(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory(t), nil)
	a, err := r.Backup(ctx, files, nil)
	require.NoError(t, err)
	changed := fstest.MapFS{}
	for n, f := range files {
		changed[n] = f
	}
	delete(changed, "letters/empty")
	changed["new"] = &fstest.MapFile{Data: []byte("n"), ModTime: time.Unix(1, 0)}
	changed["letters/one.txt"] = &fstest.MapFile{Data: []byte("two"), Mode: 0o640, ModTime: time.Unix(1_700_000_001, 0)}
	b, err := r.Backup(ctx, changed, nil)
	require.NoError(t, err)
	got := map[string]backup.ChangeKind{}
	for c, err := range r.Diff(ctx, a, b) {
		require.NoError(t, err)
		got[c.Path] = c.Kind
	}
	require.Equal(t, map[string]backup.ChangeKind{"letters/empty": backup.Removed, "new": backup.Added, "letters/one.txt": backup.Modified}, got)
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	bucket := memory(t)
	r := create(t, bucket, &backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir(), UploadRate: 1000}})
	time.AfterFunc(300*time.Millisecond, cancel)
	start := time.Now()
	snap, err := r.Backup(ctx, files, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, snap)
	require.Less(t, time.Since(start), 5*time.Second)
}

func objects(t testing.TB, b *blob.Bucket) []string {
	var keys []string
	it := b.List(nil)
	for {
		o, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return keys
		}
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
}

// TestCanary backs up a practice whose names and labels carry a mark, on good paths and on failing ones,
// and looks for the mark in everything that leaves the process but the caller's own fields.
func TestCanary(t *testing.T) {
	const canary = "Zyxwvut"
	ctx := t.Context()
	var mu sync.Mutex
	var logged bytes.Buffer
	spans := tracetest.NewSpanRecorder()
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader))
	opts := backup.Options{
		HostDir:        filepath.Join(t.TempDir(), canary+"-host"),
		Logger:         slog.New(slog.NewJSONHandler(&locked{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(spans)),
		MeterProvider:  meter,
	}
	var texts []string
	failed := func(err error) {
		require.Error(t, err)
		texts = append(texts, err.Error(), fmt.Sprintf("%v", err))
	}
	bucket := memory(t)
	r := create(t, bucket, &backup.CreateOptions{Options: opts})
	dir := filepath.Join(t.TempDir(), canary)
	_, err := practice.Generate(ctx, dir, &practice.Options{Size: 4 << 20, Canary: canary})
	require.NoError(t, err)
	o := &backup.BackupOptions{Labels: map[string]string{canary: canary}, Host: canary}
	snap, err := r.Backup(ctx, backup.Dir(dir), o)
	require.NoError(t, err)

	_, err = r.Backup(ctx, backup.Dir(filepath.Join(dir, canary+"-gone")), o)
	failed(err)
	_, err = r.Backup(ctx, flaky{fstest.MapFS{canary + "one.txt": {Data: []byte("x")}}}, o)
	failed(err)
	_, err = r.Backup(ctx, fstest.MapFS{}, &backup.BackupOptions{Exclude: []string{"*.tmp", canary + "["}})
	failed(err)
	require.ErrorContains(t, err, "pattern at index 1")
	_, err = snap.Restore(ctx, t.TempDir(), &backup.RestoreOptions{Paths: []string{canary + "/none"}})
	failed(err)
	blocked := filepath.Join(t.TempDir(), canary)
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	_, err = snap.Restore(ctx, blocked, nil)
	failed(err)
	_, err = r.Snapshot(ctx, canary)
	failed(err)
	forgetting(t, bucket, opts, canary, failed)
	keys := objects(t, bucket)
	for _, k := range keys {
		if strings.HasPrefix(k, "p/") {
			require.NoError(t, bucket.Delete(ctx, k))
		}
	}
	fresh, err := backup.Open(ctx, bucket, backup.Password("secret"), &opts)
	require.NoError(t, err)
	closing(t, fresh)
	rep, err := fresh.Check(ctx, &backup.CheckOptions{ReadAll: true})
	failed(err)
	for _, f := range rep.Findings {
		texts = append(texts, f.Detail, f.Object, f.Kind.String())
	}
	damaged, err := fresh.Snapshot(ctx, snap.ID())
	require.NoError(t, err)
	_, err = damaged.Restore(ctx, t.TempDir(), nil)
	failed(err)
	broken := 0
	require.NoError(t, fs.WalkDir(damaged.FS(ctx), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if _, err := fs.ReadFile(damaged.FS(ctx), p); err != nil {
				failed(err)
				broken++
			}
		}
		return err
	}))
	require.Positive(t, broken)
	for _, k := range slices.Backward(keys) { // the log loses its end, and compacting cannot know what was there
		if strings.HasPrefix(k, "log/") {
			require.NoError(t, bucket.WriteAll(ctx, k, []byte(canary), nil))
			break
		}
	}
	opts.HostDir, opts.Stateless = "", true
	fresh, err = backup.Open(ctx, bucket, backup.Password("secret"), &opts)
	require.NoError(t, err)
	closing(t, fresh)
	_, err = fresh.Compact(ctx, &backup.CompactOptions{Grace: 1})
	failed(err)
	_, err = fresh.Catalogue(ctx, nil)
	failed(err)

	var exported strings.Builder
	for _, s := range spans.Ended() {
		fmt.Fprintln(&exported, s.Name(), s.Attributes(), s.Events(), s.Status())
	}
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(ctx, &rm))
	fmt.Fprintf(&exported, "%+v", rm)
	require.Contains(t, exported.String(), "carekeep.backup", "nothing was exported: the test proves nothing")
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, logged.String())
	for what, text := range map[string]string{
		"an object key": strings.Join(keys, "\n"), "an error": strings.Join(texts, "\n"), "a log": logged.String(), "a span or metric": exported.String(),
	} {
		require.NotContains(t, strings.ToLower(text), strings.ToLower(canary), "the mark is in "+what)
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestProgress(t *testing.T) {
	var mu sync.Mutex
	var events []backup.Progress
	r := create(t, memory(t), &backup.CreateOptions{Options: backup.Options{HostDir: t.TempDir(), Progress: func(p backup.Progress) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, p)
	}}})
	_, err := r.Backup(t.Context(), files, nil)
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	last := events[len(events)-1]
	require.True(t, last.Done)
	require.Equal(t, "backup", last.Operation)
	require.EqualValues(t, 5, last.Files)
}
