package engine_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// The public test vectors of the repository format: whole repositories as folders of objects, and beside
// each what it holds. backup/FORMAT.md describes them. They are written once; afterwards these tests prove
// that the code still reads them.
//
//	CAREKEEP_WRITE_VECTORS=1 go test -run TestVectors ./internal/engine      writes those that are missing
//	CAREKEEP_WRITE_VECTORS=force go test -run TestVectors ./internal/engine  replaces them
const (
	vectorFolder   = "../../backup/testdata/vectors"
	vectorPassword = "correct horse battery staple"
	vectorSecond   = "second password"
	vectorService  = "vectors"
	vectorSettled  = "repo-s1"
	maxVectorBytes = 1536 << 10
)

// vectorFile is the content of repo-*.json. Byte strings are in hexadecimal unless they are names.
type vectorFile struct {
	Passwords []string          `json:"passwords"`
	KMS       map[string]string `json:"kms,omitempty"` // name of a key → AES-256 key: nonce(12) ‖ ciphertext ‖ tag(16)
	Keys      map[string]string `json:"keys"`
	Sessions  map[string]string `json:"sessions"`       // id → secret
	Damage    []uint64          `json:"damage"`         // slots of the log that hold no valid entry
	Lost      []uint64          `json:"lost,omitempty"` // of them, those that were given up
	Snapshots []vectorSnapshot  `json:"snapshots"`
	Forgotten []string          `json:"forgotten"`        // ids of snapshots
	Record    string            `json:"record,omitempty"` // text that the newest forget entry holds
	Condemned []string          `json:"condemned"`        // objects that may be deleted and are still there
	Swept     []string          `json:"swept"`            // objects that were deleted
}

type vectorSnapshot struct {
	Seq      uint64            `json:"seq"`
	ID       string            `json:"id"`
	Outcome  byte              `json:"outcome"`
	Host     string            `json:"host"`
	Sources  []string          `json:"sources"`
	Labels   map[string]string `json:"labels"`
	Files    uint64            `json:"files"`
	Folders  uint64            `json:"folders"`
	Others   uint64            `json:"others"`
	Bytes    uint64            `json:"bytes"`
	Problems []vectorProblem   `json:"problems,omitempty"`
	Entries  []vectorEntry     `json:"entries"`
}

type vectorProblem struct {
	Path   []byte `json:"path"` // base64
	Reason byte   `json:"reason"`
}

type vectorEntry struct {
	Path       []byte        `json:"path"` // base64
	Kind       format.Kind   `json:"kind"`
	Mode       uint32        `json:"mode"`
	MTime      [2]int64      `json:"mtime"` // seconds, nanoseconds
	CTime      [2]int64      `json:"ctime,omitzero"`
	BTime      [2]int64      `json:"btime,omitzero"`
	Owner      *format.Owner `json:"owner,omitempty"`
	Inode      uint64        `json:"inode,omitempty"`
	LinkGroup  uint64        `json:"link_group,omitempty"`
	Attributes uint32        `json:"attributes,omitempty"`
	Device     uint64        `json:"device,omitempty"`
	Target     []byte        `json:"target,omitempty"` // base64
	Xattrs     []vectorXattr `json:"xattrs,omitempty"`
	Size       int64         `json:"size,omitempty"`
	Holes      int64         `json:"holes,omitempty"`  // bytes in holes
	SHA256     string        `json:"sha256,omitempty"` // of a file's content
}

type vectorXattr struct {
	Name   []byte `json:"name"` // base64
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func stamp(t format.Time) [2]int64 { return [2]int64{t.Sec, int64(t.Nsec)} }

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func vectorOf(e *format.Entry) vectorEntry {
	v := vectorEntry{
		Path: []byte(e.Path), Kind: e.Kind, Mode: e.Mode, MTime: stamp(e.ModTime), CTime: stamp(e.ChangeTime), BTime: stamp(e.BirthTime),
		Owner: e.Owner, Inode: e.Inode, LinkGroup: e.LinkGroup, Attributes: e.Attributes, Device: e.Device, Size: e.Size,
	}
	if e.Kind == format.Symlink {
		v.Target = []byte(e.Target)
	}
	for _, x := range e.Xattrs {
		v.Xattrs = append(v.Xattrs, vectorXattr{Name: []byte(x.Name), Size: len(x.Value), SHA256: digest(x.Value)})
	}
	return v
}

// vectorHead is a snapshot as read, but for its entries and problems.
func vectorHead(s *engine.Snapshot) vectorSnapshot {
	d := s.Description
	v := vectorSnapshot{
		Seq: s.Ref.Seq, ID: s.Commit.ID.String(), Outcome: s.Commit.Outcome, Host: d.Host, Sources: d.Sources, Labels: map[string]string{},
		Files: d.Files, Folders: d.Folders, Others: d.Others, Bytes: d.Bytes,
	}
	for _, l := range d.Labels {
		v.Labels[l.Key] = l.Value
	}
	return v
}

// found lists what a snapshot holds.
func found(t *testing.T, s *engine.Snapshot) vectorSnapshot {
	v := vectorHead(s)
	for e, err := range s.Tree().Walk(t.Context(), ".") {
		require.NoError(t, err)
		x := vectorOf(e)
		if e.Kind == format.File {
			h := sha256.New()
			for ref, err := range s.Content(e).Refs(t.Context(), 0) {
				require.NoError(t, err)
				b := make([]byte, ref.Len)
				if ref.Hole {
					x.Holes += ref.Len
				} else if b, err = s.Chunk(t.Context(), ref.Ref); err != nil {
					require.NoError(t, err)
				}
				h.Write(b)
			}
			x.SHA256 = hex.EncodeToString(h.Sum(nil))
		}
		v.Entries = append(v.Entries, x)
	}
	problems, err := s.Problems(t.Context())
	require.NoError(t, err)
	for _, p := range problems {
		v.Problems = append(v.Problems, vectorProblem{Path: []byte(p.Path), Reason: p.Reason})
	}
	return v
}

// service is a key service whose key is public.
type service [32]byte

func (k service) Encrypt(plaintext, aad []byte) ([]byte, error) {
	return seal.T1.Seal(k[:], aad, plaintext)
}
func (k service) Decrypt(sealed, aad []byte) ([]byte, error) { return seal.T1.Open(k[:], aad, sealed) }

func vectorKMS() engine.Key {
	return engine.Key{KMSName: vectorService, KMS: service(sha256.Sum256([]byte(vectorService)))}
}

func password(s string) engine.Key { return engine.Key{Password: []byte(s)} }

func TestVectors(t *testing.T) {
	t.Run("t1", func(t *testing.T) { vectors(t, "repo-v1", seal.T1) })
	t.Run("f1", func(t *testing.T) { vectors(t, "repo-f1", seal.F1) })
	t.Run("settled", func(t *testing.T) { vectors(t, vectorSettled, seal.F1) })
}

func vectors(t *testing.T, name string, suite seal.Suite) {
	folder := filepath.Join(vectorFolder, name)
	_, err := os.Stat(folder)
	switch os.Getenv("CAREKEEP_WRITE_VECTORS") {
	case "":
	case "force":
		require.NoError(t, os.RemoveAll(folder))
		writeVectors(t, folder, suite)
	default:
		require.ErrorIs(t, err, fs.ErrNotExist, "vectors are never overwritten: remove the folder, or say force")
		writeVectors(t, folder, suite)
	}
	checkVectors(t, folder, suite)
}

func loadVectors(t *testing.T, folder string) (bucket *blob.Bucket, v vectorFile) {
	bucket = memblob.OpenBucket(nil)
	total := 0
	require.NoError(t, filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		key, err := filepath.Rel(folder, p)
		require.NoError(t, err)
		total += len(b)
		return bucket.WriteAll(t.Context(), filepath.ToSlash(key), b, nil)
	}))
	require.Less(t, total, maxVectorBytes)
	b, err := os.ReadFile(folder + ".json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return bucket, v
}

func checkVectors(t *testing.T, folder string, suite seal.Suite) {
	ctx := t.Context()
	bucket, v := loadVectors(t, folder)
	ways := []engine.Key{}
	for _, p := range v.Passwords {
		ways = append(ways, password(p))
	}
	if v.KMS != nil {
		require.Equal(t, digest([]byte(vectorService)), v.KMS[vectorService])
		ways = append(ways, vectorKMS())
	}
	for _, key := range ways {
		r, err := engine.Open(ctx, bucket, key, engine.Config{})
		require.NoError(t, err)
		require.EqualValues(t, suite, r.Format().Suite)
		refs, sure, err := r.Snapshots(ctx)
		require.NoError(t, err)
		require.True(t, sure)
		require.Len(t, refs, len(v.Snapshots))
		for i, want := range v.Snapshots {
			s, err := r.Snapshot(ctx, refs[i])
			require.NoError(t, err)
			require.Equal(t, want, found(t, s))
		}
		record, err := r.Record(ctx)
		require.NoError(t, err)
		require.Equal(t, v.Record, string(record))
		r.Close()
	}
	secrets, sessions := vectorSecrets(t, bucket)
	require.Equal(t, v.Keys, secrets)
	require.Equal(t, v.Sessions, sessions)
	require.NotEmpty(t, sessions)
	f := vectorFormat(t, bucket)
	l, err := ledger.Open(ctx, ledger.Config{Store: store.New(bucket, store.Options{}), Repo: f.Repo, AdminKey: f.AdminKey}, nil)
	require.NoError(t, err)
	damage, err := l.Verify(ctx)
	require.NoError(t, err)
	require.Len(t, damage, len(v.Damage))
	for i, d := range damage {
		lost := slices.Contains(v.Lost, d.Seq)
		require.Equal(t, ledger.Damage{Seq: v.Damage[i], Vouched: !lost, Settled: lost, Accepted: lost}, d)
	}
	checkVariety(t, bucket, suite, l, sessions)
	checkCollected(t, bucket, suite, l, v)
}

// checkCollected compares what the condemn entries name with what is there.
func checkCollected(t *testing.T, bucket *blob.Bucket, suite seal.Suite, l *ledger.Ledger, v vectorFile) {
	condemned, swept := collected(t, bucket, l)
	require.Equal(t, v.Condemned, condemned)
	require.Equal(t, v.Swept, swept)
	st, there := l.State(), keys(t, bucket)
	require.Len(t, st.Snapshots, len(v.Snapshots))
	for i, s := range st.Snapshots {
		require.Equal(t, v.Snapshots[i].ID, s.ID.String())
	}
	for _, key := range swept {
		require.NotContains(t, there, key)
	}
	if suite != seal.T1 {
		return
	}
	require.Len(t, st.Forgotten, 1)
	require.Contains(t, v.Forgotten, st.Forgotten[0].ID.String())
	require.Len(t, v.Forgotten, 3)
	e, err := l.SignedByAdmin(t.Context(), st.Recorded)
	require.NoError(t, err)
	f, err := format.DecodeForget(e.Body)
	require.NoError(t, err)
	require.Empty(t, f.Snapshots, "the newest only records")
	require.NotEmpty(t, v.Record)
	require.Len(t, st.Partials, 1)
	require.Greater(t, st.Condemned, st.Swept)
	for _, list := range [][]string{condemned, swept} {
		for _, prefix := range []string{"i/", "m/", "refs/", "sess/"} {
			require.True(t, slices.ContainsFunc(list, func(key string) bool { return strings.HasPrefix(key, prefix) }), prefix)
		}
	}
	for _, s := range st.Snapshots { // the collector gave both another list
		e, err := l.Entry(t.Context(), s)
		require.NoError(t, err)
		c, err := format.DecodeCommit(e.Body)
		require.NoError(t, err)
		require.NotEqual(t, c.Refs, s.Refs)
		require.NotContains(t, there, format.RefsKey(c.Refs))
	}
}

// collected lists what the condemn entries name: what is there, and what is not.
func collected(t *testing.T, bucket *blob.Bucket, l *ledger.Ledger) (condemned, swept []string) {
	there, st := keys(t, bucket), l.State()
	condemned, swept = []string{}, []string{}
	_, err := l.Condemned(t.Context(), st.Condemned, 0, func(seq uint64, _ int64, c *format.Condemn) error {
		for _, o := range c.Objects {
			if _, ok := there[o.Key()]; ok {
				require.Greater(t, seq, st.Swept)
				condemned = append(condemned, o.Key())
			} else {
				require.LessOrEqual(t, seq, st.Swept)
				swept = append(swept, o.Key())
			}
		}
		return nil
	})
	require.NoError(t, err)
	slices.Sort(condemned)
	slices.Sort(swept)
	return condemned, swept
}

// checkVariety makes sure that the vectors hold what they are meant to show.
func checkVariety(t *testing.T, bucket *blob.Bucket, suite seal.Suite, l *ledger.Ledger, sessions map[string]string) {
	codecs, params, nodes, frames := map[byte]bool{}, map[byte]bool{}, map[byte]bool{}, 0
	f := vectorFormat(t, bucket)
	for key := range keys(t, bucket) {
		class, rest, _ := strings.Cut(key, "/")
		if class != "p" && class != "m" {
			continue
		}
		object, err := bucket.ReadAll(t.Context(), key)
		require.NoError(t, err)
		id, _, _ := strings.Cut(rest, "/")
		plain := openVectorPack(t, suite, f.Repo, object, id, sessions[id])
		list, err := format.DecodeFooter(plain)
		require.NoError(t, err)
		dec, err := compress.NewDecoder()
		require.NoError(t, err)
		for _, fr := range list {
			frames++
			codecs[fr.Codec] = true
			if fr.Codec == compress.Samples {
				params[plain[0]&2] = true
			}
			b, err := dec.Decode(nil, fr.Codec, plain[:fr.Stored], int(fr.Plain))
			require.NoError(t, err)
			for _, c := range fr.Chunks {
				if class == "m" {
					nodes[b[0]] = true
				}
				b = b[c.Len:]
			}
			plain = plain[fr.Stored:]
		}
	}
	require.True(t, codecs[compress.Samples])
	require.True(t, nodes[0x00])
	if suite == seal.T1 {
		require.Len(t, codecs, 3)
		require.Len(t, params, 2, "mono and stereo")
		for _, tag := range []byte{0x01, 0x40, 0x41} {
			require.True(t, nodes[tag], "node %x", tag)
		}
		require.NotZero(t, l.Memory().Checkpoint)
		require.Greater(t, l.Head().Seq, l.Memory().Checkpoint)
	}
}

// openVectorPack opens a pack with its session's secret, trying the first numbers that it may have.
func openVectorPack(t *testing.T, suite seal.Suite, repo format.RepoID, object []byte, session, secret string) []byte {
	id, err := hex.DecodeString(session)
	require.NoError(t, err)
	s, err := hex.DecodeString(secret)
	require.NoError(t, err)
	info := "carekeep/v1 session data"
	if format.Type(object[2]) == format.TypeMetadata {
		info = "carekeep/v1 session metadata"
	}
	key, err := seal.Derive(s, append(repo[:], id...), info, 32)
	require.NoError(t, err)
	for n := range uint32(8) {
		st, err := suite.OpenStream(key, pack.AAD(suite, repo, format.Type(object[2]), format.SessionID(id), n), object)
		require.NoError(t, err)
		if plain, _, err := st.Decrypt(nil, 0, object, int64(len(object))); err == nil {
			return plain
		}
	}
	require.Fail(t, "a pack does not open")
	return nil
}

func vectorFormat(t *testing.T, bucket *blob.Bucket) *format.Format {
	object, err := bucket.ReadAll(t.Context(), format.FormatKey)
	require.NoError(t, err)
	f, _, _, err := format.DecodeFormat(object)
	require.NoError(t, err)
	return f
}

// vectorSecrets goes the way from the first password to every key, step by step.
func vectorSecrets(t *testing.T, bucket *blob.Bucket) (out, sessions map[string]string) {
	ctx := t.Context()
	f := vectorFormat(t, bucket)
	suite := seal.Suite(f.Suite)
	out, sessions = map[string]string{}, map[string]string{}
	put := func(name string, b []byte) { out[name] = hex.EncodeToString(b) }
	root, err := seal.KDF(f.KDF).Stretch(ctx, []byte(vectorPassword))
	require.NoError(t, err)
	sk, err := seal.DeriveSlot(root, f.Repo)
	require.NoError(t, err)
	object, err := bucket.ReadAll(ctx, format.SlotKey(f.FirstSlot))
	require.NoError(t, err)
	slot, err := format.DecodeSlot(object)
	require.NoError(t, err)
	plain, err := suite.Open(sk.KEK[:], slot.AppendHead(nil), slot.Sealed)
	require.NoError(t, err)
	ks, err := format.DecodeKeyset(plain)
	require.NoError(t, err)
	put("stretched password", root)
	put("slot key", sk.KEK[:])
	put("slot commitment", sk.Commitment[:])
	put("dataset", ks.Dataset)
	put("writer seed", ks.Writer)
	put("admin seed", ks.Admin)
	put("reader private key", ks.Reader)
	for _, name := range []string{"data id", "metadata id", "chunker", "index", "tree"} {
		k, err := seal.Derive(ks.Dataset, f.Repo[:], "carekeep/v1 "+name, 32)
		require.NoError(t, err)
		put(name, k)
	}
	for key := range keys(t, bucket) {
		if !strings.HasPrefix(key, "sess/") {
			continue
		}
		object, err := bucket.ReadAll(ctx, key)
		require.NoError(t, err)
		s, _, _, err := format.DecodeSession(object)
		require.NoError(t, err)
		info := append([]byte("carekeep/v1 session"), f.Suite)
		info = append(append(append(info, f.Repo[:]...), s.ID[:]...), s.Commitment[:]...)
		secret, err := seal.Unwrap(suite, ks.Reader, info, s.Wraps[0].Sealed)
		require.NoError(t, err)
		sessions[hex.EncodeToString(s.ID[:])] = hex.EncodeToString(secret)
	}
	return out, sessions
}
