package engine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/chunk"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// vnode is a file or folder of the source that vectors are made of.
type vnode struct {
	e    format.Entry
	data []byte
	runs [][2]int64 // of data; nil for all of it
	err  error      // of opening it
	kids map[string]*vnode
}

type vsource struct{ root *vnode }

func (s vsource) Open(context.Context) (source.Folder, *format.Entry, error) {
	e := s.root.e
	return s.root, &e, nil
}

type vnames []string

func (n vnames) Len() int        { return len(n) }
func (n vnames) At(i int) string { return n[i] }

func (n *vnode) sorted() (names vnames) {
	for name := range n.kids {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (n *vnode) Names(context.Context) (source.Names, error) { return n.sorted(), nil }
func (n *vnode) Close() error                                { return nil }
func (n *vnode) Folder(name string) (source.Folder, error)   { return n.kids[name], nil }

func (n *vnode) Lstat(name string) (*format.Entry, error) {
	e := n.kids[name].e
	e.Xattrs = nil
	return &e, nil
}

func (n *vnode) Xattrs(name string, e *format.Entry) error {
	e.Xattrs = n.kids[name].e.Xattrs
	return nil
}

func (n *vnode) File(name string) (source.File, error) {
	f := n.kids[name]
	return &vfile{Reader: bytes.NewReader(f.data), n: f}, f.err
}

type vfile struct {
	*bytes.Reader
	n *vnode
}

func (f *vfile) Close() error { return nil }

func (f *vfile) Stat() (*format.Entry, error) {
	e := f.n.e
	e.Xattrs = nil
	return &e, nil
}

func (f *vfile) NextData(off int64) (start, end int64, err error) {
	start, end = off, math.MaxInt64
	if f.n.runs != nil {
		start, end = f.n.e.Size, f.n.e.Size
		for _, r := range f.n.runs {
			if off < r[1] {
				start, end = max(off, r[0]), r[1]
				break
			}
		}
	}
	_, err = f.Seek(start, io.SeekStart)
	return start, end, err
}

// at adds a node; its folder is there already.
func (n *vnode) at(path string, e format.Entry, data []byte) *vnode {
	for {
		first, rest, more := strings.Cut(path, "/")
		if !more {
			break
		}
		n, path = n.kids[first], rest
	}
	if e.ModTime == (format.Time{}) {
		e.ModTime = format.Time{Sec: 1_767_322_800 + int64(len(path)), Nsec: 123_456_789}
	}
	if e.Mode == 0 {
		e.Mode = 0o640
	}
	e.Size = int64(len(data))
	k := &vnode{e: e, data: data}
	if e.Kind == format.Dir {
		k.kids = map[string]*vnode{}
	}
	n.kids[path] = k
	return k
}

func words(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%06d;observation;%s;%d\n", r.IntN(1e6), []string{"pulse", "weight", "height", "glucose"}[r.IntN(4)], r.IntN(200))
	}
	return b.Bytes()[:n]
}

// wave is 16-bit samples, with a little noise, of so many channels.
func wave(r *rand.Rand, n, channels int) (b []byte) {
	for i := range n {
		v := 3000*math.Sin(float64(i/channels)/90+float64(i%channels)*2) + float64(r.IntN(40))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	}
	return b
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// The snapshots of the vectors, in the order of the log.
const (
	vectorForgotten = iota // and given back: it holds what no later one does
	vectorFirst
	vectorSecondOne // incomplete
	vectorWaiting   // forgotten and condemned, but not deleted yet
	vectorLast      // forgotten, and not dealt with yet: it holds just what the second does
	vectorCutOff    // a run that has told of its packs and did not come to its end
)

// vectorTree is what a snapshot holds.
func vectorTree(small bool, which int) *vnode {
	r := rand.New(rand.NewPCG(1, 2))
	owner := &format.Owner{UID: 1000, GID: 100, User: "nurse", Group: "users"}
	file := format.Entry{Kind: format.File}
	dir := format.Entry{Kind: format.Dir, Mode: 0o2750, Owner: owner}
	root := &vnode{e: format.Entry{Path: ".", Kind: format.Dir, Mode: 0o755, ModTime: format.Time{Sec: 1_767_322_800}}, kids: map[string]*vnode{}}
	root.at("empty", file, nil)
	root.at("link", format.Entry{Kind: format.Symlink, Mode: 0o777, Target: "letters/caf\xe9"}, nil)
	root.at("letters", dir, nil)
	root.at("letters/caf\xe9.txt", format.Entry{Kind: format.File, Mode: 0o4755, Owner: owner}, []byte("a name that is not UTF-8\n"))
	root.at("scan.raw", file, wave(r, 8<<10, 1))
	root.at("notes.txt", file, words(r, 6000))
	if small {
		return root
	}
	// Order: a folder, what is below it, then names that bytewise order would put before its slash.
	root.at("letters!", file, []byte("after letters/\n"))
	root.at("letters/old", dir, nil)
	root.at("letters.txt", file, []byte("after letters!\n"))
	root.at("bare", format.Entry{Kind: format.Dir, Mode: 0o700}, nil)
	root.at("fifo", format.Entry{Kind: format.FIFO}, nil)
	root.at("socket", format.Entry{Kind: format.Socket}, nil)
	root.at("console", format.Entry{Kind: format.CharDevice, Device: 5<<32 | 1}, nil)
	root.at("disk", format.Entry{Kind: format.BlockDevice, Device: 8<<32 | 16}, nil)
	root.at("old.doc", format.Entry{Kind: format.File, ModTime: format.Time{Sec: -86_401, Nsec: 5}, Attributes: 0x22,
		ChangeTime: format.Time{Sec: 1_700_000_000, Nsec: 1}, BirthTime: format.Time{Sec: -200_000}, Inode: 1 << 40}, []byte("before 1970"))
	shared := words(r, 9000)
	for _, name := range []string{"one", "letters/old/two"} {
		root.at(name, format.Entry{Kind: format.File, LinkGroup: 77, Inode: 77, ModTime: format.Time{Sec: 1_767_000_000}}, shared)
	}
	root.at("noise.bin", file, noise(r, 200_000))
	root.at("dump.sql", file, words(r, 500_000))
	disk := make([]byte, 2<<20)
	copy(disk[4096:], noise(r, 5000))
	copy(disk[1<<20:], "the middle")
	root.at("disk.img", file, disk).runs = [][2]int64{{4096, 9096}, {1 << 20, 1<<20 + 10}}
	// Alternating runs and holes, enough for a second level of lists.
	comb, runs := make([]byte, 2200*4096), [][2]int64{}
	for i := int64(0); i < 2200; i++ {
		copy(comb[i*4096:], "carekeep")
		runs = append(runs, [2]int64{i * 4096, i*4096 + 8})
	}
	root.at("comb.img", file, comb).runs = runs
	// Attributes large enough to fill a leaf, so that the tree of entries has a second level.
	root.at("xattrs", dir, nil)
	for i := range 6 {
		e := file
		e.Xattrs = []format.Xattr{{Name: "user.b\xff", Value: bytes.Repeat([]byte{byte(i), 1, 2}, 20_000)}, {Name: "user.empty"}}
		root.at(fmt.Sprintf("xattrs/%d", i), e, []byte{byte(i)})
	}
	vectorDatabase(root, which >= vectorSecondOne)
	switch which {
	case vectorForgotten:
		root.at("withdrawn.bin", file, noise(r, 150_000))
	case vectorWaiting, vectorCutOff: // new nodes, no new content
		root.at(fmt.Sprintf("link %d", which), format.Entry{Kind: format.Symlink, Mode: 0o777, Target: "notes.txt"}, nil)
	}
	if which >= vectorSecondOne { // two channels, in a frame of its own
		root.at("sound.pcm", file, wave(r, 10_001, 2)[1:])
		root.at("new.txt", file, []byte("only in the second snapshot\n"))
		root.at("locked.txt", file, []byte("secret")).err = fs.ErrPermission
	} else {
		root.at("gone.txt", file, []byte("only in the first snapshot\n"))
	}
	return root
}

// vectorDatabase adds what is cut in pages of 16 KiB, since it looks like a database of SQLite.
func vectorDatabase(root *vnode, second bool) {
	b := words(rand.New(rand.NewPCG(3, 4)), 120_000)
	copy(b, "SQLite format 3\x00\x10\x00")
	sec := int64(1_767_400_000)
	if second {
		copy(b[70_000:], "changed in the second snapshot")
		sec++
	}
	root.at("patients.db", format.Entry{Kind: format.File, ModTime: format.Time{Sec: sec}}, b)
}

// expect lists what a snapshot of n must hold, from the source itself.
func (n *vnode) expect(path string) (out []vectorEntry, problems []vectorProblem) {
	if n.err != nil {
		return nil, []vectorProblem{{Path: []byte(path), Reason: engine.ReasonUnreadable}}
	}
	e := n.e
	e.Path = path
	v := vectorOf(&e)
	if e.Kind == format.File {
		v.SHA256 = digest(n.data)
		if n.runs != nil {
			v.Holes = e.Size
			for _, r := range n.runs {
				v.Holes -= r[1] - r[0]
			}
		}
	}
	out = append(out, v)
	for _, name := range n.sorted() {
		o, p := n.kids[name].expect(strings.TrimPrefix(path+"/"+name, "./"))
		out, problems = append(out, o...), append(problems, p...)
	}
	return out, problems
}

func writeVectors(t *testing.T, folder string, suite seal.Suite) {
	ctx := t.Context()
	bucket := memblob.OpenBucket(nil)
	kdf := seal.KDF{Algorithm: seal.Argon2id, Time: 1, MemoryKiB: 8 << 10, Threads: 2}
	if suite == seal.F1 {
		kdf = seal.KDF{Algorithm: seal.PBKDF2, Time: 1000}
	}
	seal.Random(kdf.Salt[:])
	seconds := int64(1_770_000_000)
	small := suite == seal.F1
	r, err := engine.Create(ctx, bucket, password(vectorPassword), engine.Config{
		Suite: suite, KDF: &kdf, Chunks: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}, PackSize: 10 * seal.SegmentSize, Residency: "au-nsw",
		Now: func() time.Time { seconds++; return time.Unix(seconds, 0) },
	})
	require.NoError(t, err)
	v := vectorFile{Passwords: []string{vectorPassword}, Damage: []uint64{}, Forgotten: []string{}}
	if !small {
		v.Passwords = append(v.Passwords, vectorSecond)
		v.KMS = map[string]string{vectorService: digest([]byte(vectorService))}
	}
	w := vectorWriter{T: t, bucket: bucket, repo: r, small: small}
	switch {
	case filepath.Base(folder) == vectorSettled:
		w.settled(&v)
	case small:
		v.Snapshots = append(v.Snapshots, w.expect(vectorFirst, w.snapshot(vectorFirst)))
	default:
		w.log(&v, func() time.Time { seconds++; return time.Unix(seconds, 0) })
	}
	for key := range keys(t, bucket) {
		b, err := bucket.ReadAll(ctx, key)
		require.NoError(t, err)
		p := filepath.Join(folder, filepath.FromSlash(key))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, b, 0o644))
	}
	l, _ := w.ledger(nil)
	v.Condemned, v.Swept = collected(t, bucket, l)
	v.Keys, v.Sessions = vectorSecrets(t, bucket)
	b, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(folder+".json", append(b, '\n'), 0o644))
}

// vectorWriter makes the entries of a repository of vectors.
type vectorWriter struct {
	*testing.T
	bucket *blob.Bucket
	repo   *engine.Repo
	small  bool
}

func (w *vectorWriter) snapshot(which int) *engine.Result {
	o := engine.BackupOptions{Host: "practice-1", Sources: []string{"/srv/practice"}, Workers: 1}
	if which >= vectorSecondOne {
		o.Labels = []format.Label{{Key: "case", Value: "été"}, {Key: "run", Value: "nightly"}}
	}
	res, err := w.repo.Backup(w.Context(), vsource{vectorTree(w.small, which)}, o)
	require.NoError(w, err)
	return res
}

// expect is what a snapshot must hold.
func (w *vectorWriter) expect(which int, res *engine.Result) vectorSnapshot {
	s, err := w.repo.Snapshot(w.Context(), res.Ref)
	require.NoError(w, err)
	x := vectorHead(s)
	x.Entries, x.Problems = vectorTree(w.small, which).expect(".")
	return x
}

// log fills a log with every kind of entry, and takes objects away as a collector does.
func (w *vectorWriter) log(v *vectorFile, now func() time.Time) {
	ctx := w.Context()
	forget := func(res *engine.Result) {
		plan := sha256.Sum256([]byte("a plan"))
		v.Forgotten = append(v.Forgotten, res.Ref.ID.String())
		record := fmt.Sprintf("record %d", len(v.Forgotten))
		require.NoError(w, w.repo.Forget(ctx, w.repo.Head(), plan, []format.SnapID{res.Ref.ID}, []byte(record)))
	}
	old := w.snapshot(vectorForgotten)
	v.Damage = w.fill()
	first := w.snapshot(vectorFirst)
	v.Snapshots = append(v.Snapshots, w.expect(vectorFirst, first))
	second := w.snapshot(vectorSecondOne) // a checkpoint follows
	v.Snapshots = append(v.Snapshots, w.expect(vectorSecondOne, second))

	forget(old)
	rep, err := w.repo.Compact(ctx, engine.CompactOptions{Grace: time.Nanosecond, Waste: 1, Shred: true, Workers: 1})
	require.NoError(w, err)
	require.NotZero(w, rep.Rewritten)
	require.NotZero(w, rep.Shredded)

	forget(w.snapshot(vectorWaiting))
	rep, err = w.repo.Compact(ctx, engine.CompactOptions{Waste: 1})
	require.NoError(w, err)
	require.Zero(w, rep.Deleted)
	require.NotZero(w, rep.Waiting)

	last := w.snapshot(vectorLast)
	require.True(w, last.Unchanged)
	forget(last)
	v.Record = "what the next decision has to know"
	require.NoError(w, w.repo.Forget(ctx, w.repo.Head(), format.Hash{}, nil, []byte(v.Record)))
	w.cutOff(now)
	w.repo, err = engine.Open(ctx, w.bucket, password(vectorPassword), engine.Config{Now: now})
	require.NoError(w, err)
	_, err = w.repo.AddSlot(ctx, vectorKMS())
	require.NoError(w, err)
}

// settled makes a log of which an entry is lost and given up, and gives space back after that.
func (w *vectorWriter) settled(v *vectorFile) {
	ctx := w.Context()
	record := func(text string, ids ...format.SnapID) {
		require.NoError(w, w.repo.Forget(ctx, w.repo.Head(), format.Hash{}, ids, []byte(text)))
	}
	first := w.snapshot(vectorFirst).Ref.ID
	v.Record, v.Forgotten = "the record that is left", []string{first.String()}
	record(v.Record, first)
	record("the record that is lost")
	lost := w.repo.Head().Seq
	second := w.snapshot(vectorFirst)
	require.NoError(w, w.bucket.WriteAll(ctx, format.EntryKey(lost), []byte("CKL\x01 this was an entry"), nil))
	v.Damage, v.Lost = []uint64{lost}, []uint64{lost}
	rep, err := w.repo.Settle(ctx, v.Lost, nil)
	require.NoError(w, err)
	require.True(w, rep.RecordLost)
	compacted, err := w.repo.Compact(ctx, engine.CompactOptions{Grace: time.Nanosecond, Waste: 1})
	require.NoError(w, err)
	require.NotZero(w, compacted.Deleted)
	v.Snapshots = append(v.Snapshots, w.expect(vectorFirst, second))
}

// cutOff leaves what a run that ended just before its commit had stored and told the log of, and a checkpoint
// that tells of it as well.
func (w *vectorWriter) cutOff(now func() time.Time) {
	ctx := w.Context()
	res := w.snapshot(vectorCutOff)
	s, err := w.repo.Snapshot(ctx, res.Ref)
	require.NoError(w, err)
	all, err := w.repo.Refs(ctx, res.Ref.Refs)
	require.NoError(w, err)
	refs := &format.Refs{}
	for _, o := range all {
		if slices.Contains(s.Commit.Sessions, o.Session) {
			refs.Added = append(refs.Added, o)
		}
	}
	require.Len(w, refs.Added, 2)
	seal.Random(refs.Random[:])
	object := refs.Append(nil)
	c := &format.Commit{Refs: sha256.Sum256(object), Segments: s.Commit.Segments, Sessions: s.Commit.Sessions}
	require.NoError(w, w.bucket.WriteAll(ctx, format.RefsKey(c.Refs), object, nil))
	require.NoError(w, w.bucket.Delete(ctx, format.RefsKey(res.Ref.Refs)))
	require.NoError(w, w.bucket.Delete(ctx, format.EntryKey(res.Ref.Seq)))
	l, writer := w.ledger(now)
	_, err = l.Append(ctx, ledger.Proposal{
		Kind: format.KindPartial, Signer: writer,
		Build: func(*format.State) ([]byte, []byte, error) { return c.Append(nil), nil, nil },
	})
	require.NoError(w, err)
	_, err = l.Append(ctx, ledger.Proposal{
		Kind: format.KindCheckpoint, Signer: writer,
		Build: func(st *format.State) ([]byte, []byte, error) { return st.Append(nil), nil, nil },
	})
	require.NoError(w, err)
}

// ledger opens the log, and gives the writer's key.
func (w *vectorWriter) ledger(now func() time.Time) (*ledger.Ledger, *seal.Signer) {
	f := vectorFormat(w.T, w.bucket)
	l, err := ledger.Open(w.Context(), ledger.Config{Store: store.New(w.bucket, store.Options{}), Repo: f.Repo, AdminKey: f.AdminKey, Now: now}, nil)
	require.NoError(w, err)
	secrets, _ := vectorSecrets(w.T, w.bucket)
	seed, err := hex.DecodeString(secrets["writer seed"])
	require.NoError(w, err)
	writer, err := seal.NewSigner(seed)
	require.NoError(w, err)
	return l, writer
}

// fill makes the log so long that the second snapshot after is followed by a checkpoint, with a slot on the
// way that holds no entry.
func (w *vectorWriter) fill() []uint64 {
	ctx := w.Context()
	_, err := w.repo.AddSlot(ctx, password(vectorSecond))
	require.NoError(w, err)
	const broken = 3
	require.NoError(w, w.bucket.WriteAll(ctx, format.EntryKey(broken), []byte("CKL\x01 this is no entry"), nil))
	for range 29 {
		info, err := w.repo.AddSlot(ctx, password("spare"))
		require.NoError(w, err)
		require.NoError(w, w.repo.RemoveSlot(ctx, info.ID))
	}
	return []uint64{broken}
}
