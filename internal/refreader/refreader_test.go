package refreader

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const vectors = "../../backup/testdata/vectors"

type xattrJSON struct {
	Name   []byte `json:"name"`
	Size   uint64 `json:"size"`
	SHA256 string `json:"sha256"`
}

type entryJSON struct {
	Path       []byte      `json:"path"`
	Kind       byte        `json:"kind"`
	Mode       uint16      `json:"mode"`
	Mtime      [2]int64    `json:"mtime"`
	Ctime      [2]int64    `json:"ctime"`
	Btime      [2]int64    `json:"btime"`
	Owner      *Owner      `json:"owner"`
	Inode      uint64      `json:"inode"`
	LinkGroup  uint64      `json:"link_group"`
	Attributes uint32      `json:"attributes"`
	Xattrs     []xattrJSON `json:"xattrs"`
	Size       uint64      `json:"size"`
	Holes      uint64      `json:"holes"`
	SHA256     string      `json:"sha256"`
	Target     []byte      `json:"target"`
	Device     uint64      `json:"device"`
}

type problemJSON struct {
	Path   []byte `json:"path"`
	Reason byte   `json:"reason"`
}

type snapshotJSON struct {
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
	Problems []problemJSON     `json:"problems"`
	Entries  []entryJSON       `json:"entries"`
}

type vectorJSON struct {
	Passwords []string          `json:"passwords"`
	KMS       map[string]string `json:"kms"`
	Keys      map[string]string `json:"keys"`
	Sessions  map[string]string `json:"sessions"`
	Damage    []uint64          `json:"damage"`
	Lost      []uint64          `json:"lost"`
	Snapshots []snapshotJSON    `json:"snapshots"`
	Forgotten []string          `json:"forgotten"`
	Record    string            `json:"record"`
	Condemned []string          `json:"condemned"`
	Swept     []string          `json:"swept"`
}

func load(t *testing.T, name string) (fstest.MapFS, vectorJSON) {
	t.Helper()
	root, objects := os.DirFS(filepath.Join(vectors, name)), fstest.MapFS{}
	require.NoError(t, fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, p)
		objects[p] = &fstest.MapFile{Data: b}
		return err
	}))
	b, err := os.ReadFile(filepath.Join(vectors, name+".json"))
	require.NoError(t, err)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var v vectorJSON
	require.NoError(t, dec.Decode(&v))
	return objects, v
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func pair(t Time) [2]int64 { return [2]int64{t.Sec, int64(t.Nsec)} }

// nilIfEmpty makes an absent field of the JSON and an empty one the same.
func nilIfEmpty(s string) []byte { return append([]byte(nil), s...) }

// list reads everything that the vectors tell of a repository.
func list(r *Repository) ([]snapshotJSON, error) {
	snaps, err := r.Snapshots()
	if err != nil {
		return nil, err
	}
	var out []snapshotJSON
	for _, s := range snaps {
		v := snapshotJSON{
			Seq: s.Seq, ID: hex.EncodeToString(s.ID[:]), Host: s.Host, Sources: s.Sources, Labels: s.Labels,
			Files: s.Files, Folders: s.Folders, Others: s.Others, Bytes: s.Bytes,
		}
		if !s.Complete {
			v.Outcome = 1
		}
		problems, err := s.Problems()
		if err != nil {
			return nil, err
		}
		for _, p := range problems {
			v.Problems = append(v.Problems, problemJSON{[]byte(p.Path), p.Reason})
		}
		err = s.Walk(func(e Entry) error {
			j := entryJSON{
				Path: []byte(e.Path), Kind: e.Kind, Mode: e.Mode, Mtime: pair(e.Modified), Ctime: pair(e.Changed),
				Btime: pair(e.Born), Owner: e.Owner, Inode: e.Inode, LinkGroup: e.LinkGroup,
				Attributes: e.Attributes, Size: e.Size, Target: nilIfEmpty(e.Target), Device: e.Device,
			}
			for _, x := range e.Xattrs {
				j.Xattrs = append(j.Xattrs, xattrJSON{[]byte(x.Name), uint64(len(x.Value)), digest(x.Value)})
			}
			if e.Kind == File {
				h := sha256.New()
				if err := s.WriteContent(e, h); err != nil {
					return err
				}
				j.SHA256 = hex.EncodeToString(h.Sum(nil))
				err := r.eachRef(e.content, e.Size, func(ref reference) error {
					if ref.hole {
						j.Holes += ref.size
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			v.Entries = append(v.Entries, j)
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

var names = []string{"repo-v1", "repo-f1", "repo-s1"}

func TestVectors(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			objects, want := load(t, name)
			for i, password := range want.Passwords {
				r, err := Open(objects, password)
				require.NoError(t, err)
				got, err := list(r)
				require.NoError(t, err)
				require.Equal(t, want.Snapshots, got)
				record, err := r.Record()
				require.NoError(t, err)
				require.Equal(t, want.Record, string(record))
				for k, v := range map[string][]byte{
					"data id": r.dataID, "metadata id": r.metaID, "index": r.index,
				} {
					require.Equal(t, want.Keys[k], hex.EncodeToString(v), k)
				}
				if i == 0 {
					require.Equal(t, want.Keys["stretched password"], hex.EncodeToString(r.format.stretched))
				}
				for id, v := range want.Sessions {
					b, err := hex.DecodeString(id)
					require.NoError(t, err)
					s, err := r.session([16]byte(b))
					require.NoError(t, err)
					require.Equal(t, v, hex.EncodeToString(s))
				}
			}
			_, err := Open(objects, "wrong")
			require.ErrorIs(t, err, ErrWrongPassword)
		})
	}
}

func TestKeyService(t *testing.T) {
	objects, want := load(t, "repo-v1")
	for name, key := range want.KMS {
		r, err := OpenService(objects, name, func(b, aad []byte) ([]byte, error) {
			k, err := hex.DecodeString(key)
			if err != nil {
				return nil, err
			}
			return openGCM(k, b[:12], b[12:], aad)
		})
		require.NoError(t, err)
		got, err := list(r)
		require.NoError(t, err)
		require.Equal(t, want.Snapshots, got)
	}
}

// TestFullLog takes the log from entry 0: the checkpoints must agree with it.
func TestFullLog(t *testing.T) {
	for _, name := range names {
		objects, want := load(t, name)
		root := func(f *format, _ [16]byte, _ []byte) ([]byte, error) { return f.stretch(want.Passwords[0]) }
		full, err := open(objects, 1, true, root)
		require.NoError(t, err)
		quick, err := open(objects, 1, false, root)
		require.NoError(t, err)
		require.True(t, full.state.same(quick.state))
		require.Equal(t, full.state.segments, quick.state.segments)
		damage := []uint64{}
		for _, d := range full.Damage() {
			lost := slices.Contains(want.Lost, d.Seq)
			require.Equal(t, []bool{!lost, lost, lost}, []bool{d.Vouched, d.Settled, d.GivenUp})
			damage = append(damage, d.Seq)
		}
		require.Equal(t, want.Damage, damage)
	}
}

// TestFlippedBytes changes every 97th byte of every object: that must give an error or the very same snapshots.
func TestFlippedBytes(t *testing.T) {
	step := 97
	if os.Getenv("CAREKEEP_LONG") == "" {
		step *= 5
	}
	for _, name := range names {
		objects, want := load(t, name)
		good, err := Open(objects, want.Passwords[0])
		require.NoError(t, err)
		_, err = list(good) // loads the index
		require.NoError(t, err)
		for id := range want.Sessions {
			b, err := hex.DecodeString(id)
			require.NoError(t, err)
			_, err = good.session([16]byte(b))
			require.NoError(t, err)
		}
		root := func(f *format, _ [16]byte, _ []byte) ([]byte, error) { // spares Argon2id
			if f.salt == good.format.salt {
				return good.format.stretched, nil
			}
			return f.stretch(want.Passwords[0])
		}
		places := packPlaces(good)
		for object, file := range objects {
			t.Run(name+"/"+object, func(t *testing.T) {
				t.Parallel()
				for at := 0; at < len(file.Data); at += step {
					b := bytes.Clone(file.Data)
					b[at] ^= 1 << (at % 8)
					changed := maps.Clone(objects)
					changed[object] = &fstest.MapFile{Data: b}
					if slices.Contains(want.Condemned, object) && at%(97*101) != 0 {
						continue // nothing leads to it: a few are tried
					}
					if p, ok := places[object]; ok && at >= 44 && at%(97*101) != 0 {
						// No byte of that segment may be given out. A few are tried like other objects.
						tag := int64(16)
						if good.format.suite == suiteF1 {
							tag = 32
						}
						p.offset, p.stored = uint32(max(0, int64(at)/segmentSize*(segmentSize-tag)-44)), 1
						r := &Repository{fsys: changed, format: good.format, secrets: good.secrets}
						_, err := r.readFrame(p.place())
						require.ErrorIs(t, err, errAuth, at)
						continue
					}
					r, err := open(changed, 1, false, root)
					if err != nil {
						require.NotContains(t, err.Error(), filepath.Base(object))
						continue
					}
					if got, err := list(r); err == nil {
						require.Equal(t, want.Snapshots, got, at)
					}
				}
			})
		}
	}
}

// TestReferences: the lists of all snapshots and partials, and the condemn entries, together name every pack and
// session in the store, and nothing else.
func TestReferences(t *testing.T) {
	for _, name := range names {
		objects, want := load(t, name)
		r, err := Open(objects, want.Passwords[0])
		require.NoError(t, err)
		snaps, err := r.Snapshots()
		require.NoError(t, err)
		named, stored := map[string]bool{}, map[string]bool{}
		content := func(object string) bool {
			dir, _, _ := strings.Cut(object, "/")
			return dir == "p" || dir == "m" || dir == "sess"
		}
		for _, s := range snaps {
			list, err := s.References()
			require.NoError(t, err)
			for _, v := range list {
				named[nameOf(v)] = true
			}
		}
		for _, p := range r.state.partials {
			list, err := r.references(p.refs, -1)
			require.NoError(t, err)
			for _, v := range list {
				named[nameOf(v)] = true
			}
		}
		for _, object := range want.Condemned {
			require.False(t, named[object], object)
			if content(object) {
				named[object] = true
			}
		}
		for _, object := range want.Swept {
			require.False(t, named[object], object)
		}
		for object := range objects {
			if content(object) {
				stored[object] = true
			}
		}
		require.Equal(t, stored, named)
	}
}

// nameOf is the name of an object; of a session that of generation 0.
func nameOf(v Reference) string {
	session, sum := hex.EncodeToString(v.Session[:]), hex.EncodeToString(v.SHA256[:])
	return map[byte]string{
		'P': "p/" + session + "/" + sum, 'M': "m/" + session + "/" + sum, 'S': "sess/" + session + ".0",
		'I': "i/" + sum, 'R': "refs/" + sum,
	}[v.Type]
}

// TestCollected follows the condemn entries, from the newest that the state names, and looks for what they name.
func TestCollected(t *testing.T) {
	objects, want := load(t, "repo-v1")
	r, err := Open(objects, want.Passwords[0])
	require.NoError(t, err)
	condemned, swept, moved := []string{}, []string{}, 0
	for at := r.state.condemned; at > 0; {
		e, _, err := r.slot(at)
		require.NoError(t, err)
		require.Equal(t, byte(6), e.kind)
		c, err := decodeCondemn(e.body)
		require.NoError(t, err)
		for _, v := range c.objects {
			if at <= r.state.swept {
				require.NotContains(t, objects, nameOf(v))
				swept = append(swept, nameOf(v))
			} else {
				require.Contains(t, objects, nameOf(v))
				condemned = append(condemned, nameOf(v))
			}
		}
		moved += len(c.lists)
		at = c.previous
	}
	slices.Sort(condemned)
	slices.Sort(swept)
	require.Equal(t, want.Condemned, condemned)
	require.Equal(t, want.Swept, swept)
	require.Equal(t, 2, moved)
	require.Len(t, r.state.forgotten, 1)
	require.Contains(t, want.Forgotten, hex.EncodeToString(r.state.forgotten[0].id[:]))
	require.Len(t, r.state.partials, 1)
	for _, s := range r.state.snaps {
		require.NotContains(t, want.Forgotten, hex.EncodeToString(s.id[:]))
	}
}

// TestRecord opens the record of every entry that forgets; the state names the newest.
func TestRecord(t *testing.T) {
	objects, want := load(t, "repo-v1")
	r, err := Open(objects, want.Passwords[0])
	require.NoError(t, err)
	newest, last := r.state.recorded, uint64(0)
	var records []string
	for seq := range r.head + 1 {
		if e, _, _ := r.slot(seq); e == nil || e.kind != 5 {
			r.state.recorded = seq
			_, err := r.Record()
			require.Equal(t, seq == 0, err == nil, seq)
			continue
		}
		r.state.recorded = seq
		b, err := r.Record()
		require.NoError(t, err)
		records, last = append(records, string(b)), seq
	}
	require.Equal(t, []string{"record 1", "record 2", "record 3", want.Record}, records)
	require.Equal(t, last, newest)
	r.state.recorded = newest

	// Another entry's sealed body does not open in its place.
	e, _, err := r.slot(newest)
	require.NoError(t, err)
	id, _, err := decodeForget(e.body)
	require.NoError(t, err)
	_, err = r.openBody("carekeep/v1 snapshot", id, e.sealed)
	require.ErrorIs(t, err, errAuth)
	id[0] ^= 1
	_, err = r.openBody("carekeep/v1 record", id, e.sealed)
	require.ErrorIs(t, err, errAuth)
	e.raw[len(e.raw)-1] ^= 1
	objects[logName(newest)] = &fstest.MapFile{Data: e.raw}
	_, err = r.Record()
	require.Error(t, err, "not the administrator's")

	objects, want = load(t, "repo-f1")
	r, err = Open(objects, want.Passwords[0])
	require.NoError(t, err)
	b, err := r.Record()
	require.NoError(t, err)
	require.Nil(t, b)
	require.Empty(t, want.Record)
}

// growing shows the log only up to a slot.
type growing struct {
	fstest.MapFS
	last string
}

func (g *growing) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "log/") && name > g.last {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return g.MapFS.Open(name)
}

func (g *growing) Stat(name string) (fs.FileInfo, error) {
	f, err := g.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// TestCollectedMeanwhile: whoever has opened the log before a collector came reads what is kept all the same, and
// learns that the rest was forgotten.
func TestCollectedMeanwhile(t *testing.T) {
	objects, want := load(t, "repo-v1")
	forget := uint64(0)
	r, err := Open(objects, want.Passwords[0])
	require.NoError(t, err)
	for seq := range r.head {
		if e, _, _ := r.slot(seq); e != nil && e.kind == 5 {
			forget = seq
			break
		}
	}
	require.NotZero(t, forget)
	then := &growing{objects, logName(forget - 1)}
	early := func() []Snapshot {
		r, err := Open(then, want.Passwords[0])
		require.NoError(t, err)
		snaps, err := r.Snapshots()
		require.NoError(t, err)
		require.Len(t, snaps, 3)
		require.Equal(t, want.Forgotten[0], hex.EncodeToString(snaps[0].ID[:]))
		return snaps
	}
	ignore := func(Entry) error { return nil }
	for _, s := range early() {
		require.ErrorIs(t, s.Walk(ignore), errMissing, "nothing tells yet why it is gone")
		_, err := s.References()
		require.ErrorIs(t, err, errMissing)
	}
	// Each learns it by itself.
	now := func(i int) Snapshot {
		then.last = logName(forget - 1)
		defer func() { then.last = logName(1 << 40) }()
		return early()[i]
	}
	s := now(0)
	require.ErrorIs(t, s.Walk(ignore), ErrForgotten)
	s = now(0)
	_, err = s.References()
	require.ErrorIs(t, err, ErrForgotten)
	for i := 1; i <= 2; i++ {
		s := now(i)
		require.NoError(t, s.Walk(ignore))
		s = now(i)
		list, err := s.References()
		require.NoError(t, err)
		require.NotEmpty(t, list)
	}
	s = now(1)
	require.NoError(t, s.Walk(ignore))
	got, err := list(s.r)
	require.NoError(t, err)
	require.Equal(t, want.Snapshots, got)
}

// TestForgetAndCondemn applies entries to a state.
func TestForgetAndCondemn(t *testing.T) {
	id := func(n byte) (v [16]byte) { v[0] = n; return v }
	sum := func(n byte) (v [32]byte) { v[0] = n; return v }
	before := state{
		segments: []segment{{sum: sum(1)}, {sum: sum(2)}}, snaps: []snapRef{{id: id(1), refs: sum(11)}, {id: id(2), refs: sum(12)}},
		forgotten: []snapRef{{id: id(3), refs: sum(13)}}, partials: []partial{{refs: sum(14), sessions: [][16]byte{id(4)}}},
		condemned: 7, swept: 5,
	}
	apply := func(kind byte, body ...[]byte) (state, bool) {
		return (&Repository{}).apply(&entry{kind: kind, seq: 9, body: bytes.Join(body, nil)}, before)
	}
	ids := func(v ...byte) (b []byte) {
		b = append(make([]byte, 16+32), byte(len(v)))
		for _, n := range v {
			x := id(n)
			b = append(b, x[:]...)
		}
		return b
	}
	s, ok := apply(5, ids(1, 2))
	require.True(t, ok)
	require.Empty(t, s.snaps)
	require.Equal(t, []snapRef{before.forgotten[0], before.snaps[0], before.snaps[1]}, s.forgotten)
	require.Len(t, before.snaps, 2)
	require.EqualValues(t, 9, s.recorded)
	s, ok = apply(5, ids())
	require.True(t, ok, "one that only records")
	require.Equal(t, before.snaps, s.snaps)
	require.EqualValues(t, 9, s.recorded)
	for name, body := range map[string][]byte{
		"unknown": ids(1, 5), "forgotten already": ids(3), "out of order": ids(2, 1), "twice": ids(1, 1),
		"left over": append(ids(1), 0), "cut off": ids(1)[:56],
	} {
		_, ok := apply(5, body)
		require.False(t, ok, name)
	}

	lists := func(v ...byte) (b []byte) {
		b = []byte{byte(len(v) / 2)}
		for i := 0; i < len(v); i += 2 {
			x, y := id(v[i]), sum(v[i+1])
			b = append(append(b, x[:]...), y[:]...)
		}
		return b
	}
	sums := func(v ...byte) (b []byte) {
		b = []byte{byte(len(v))}
		for _, n := range v {
			x := sum(n)
			b = append(b, x[:]...)
		}
		return b
	}
	added := func(v ...byte) (b []byte) {
		b = []byte{byte(len(v))}
		for _, n := range v {
			x := sum(n)
			b = append(append(b, x[:]...), make([]byte, 10)...)
		}
		return b
	}
	objects := func(v ...Reference) (b []byte) {
		b = []byte{byte(len(v))}
		for _, o := range v {
			b = append(b, o.raw()...)
		}
		return b
	}
	none := []byte{0}
	index := func(n byte) Reference { return Reference{Type: 'I', SHA256: sum(n)} }
	list := func(n byte) Reference { return Reference{Type: 'R', SHA256: sum(n)} }
	pack := Reference{Type: 'P', Session: id(6), SHA256: sum(6)}
	s, ok = apply(6, []byte{7, 7, 1}, lists(2, 22), sums(1), added(3), none, objects(index(1), pack, list(12), list(13), list(14)))
	require.True(t, ok)
	require.Equal(t, []snapRef{{id: id(1), refs: sum(11)}, {id: id(2), refs: sum(22)}}, s.snaps)
	require.Equal(t, sum(12), before.snaps[1].refs)
	require.Equal(t, []segment{{sum: sum(2)}, {sum: sum(3)}}, s.segments)
	require.Empty(t, s.forgotten)
	require.Empty(t, s.partials)
	require.Equal(t, []uint64{9, 7}, []uint64{s.condemned, s.swept})
	_, ok = apply(6, []byte{7, 5, 0}, none, none, none, none, none)
	require.True(t, ok, "one that only tells what was swept")
	for name, body := range map[string][][]byte{
		"another before":         {{6, 5, 0}, none, none, none, none, none},
		"swept less":             {{7, 4, 0}, none, none, none, none, none},
		"swept itself":           {{7, 9, 0}, none, none, none, none, none},
		"forgotten too many":     {{7, 5, 2}, none, none, none, none, none},
		"unknown snapshot":       {{7, 5, 0}, lists(5, 22), none, none, none, none},
		"forgotten snapshot":     {{7, 5, 0}, lists(3, 22), none, none, none, none},
		"lists out of order":     {{7, 5, 0}, lists(2, 22, 1, 21), none, none, none, none},
		"unknown segment":        {{7, 5, 0}, none, sums(4), none, none, none},
		"segments out of order":  {{7, 5, 0}, none, sums(2, 1), none, none, none},
		"segment that is there":  {{7, 5, 0}, none, none, added(2), none, none},
		"segment added twice":    {{7, 5, 0}, none, none, added(3, 3), none, none},
		"live segment":           {{7, 5, 0}, none, none, none, none, objects(index(2))},
		"added segment":          {{7, 5, 0}, none, none, added(3), none, objects(index(3))},
		"live list":              {{7, 5, 0}, none, none, none, none, objects(list(11))},
		"new list":               {{7, 5, 0}, lists(2, 22), none, none, none, objects(list(22))},
		"objects out of order":   {{7, 5, 0}, none, none, none, none, objects(list(13), pack)},
		"list with a session":    {{7, 5, 0}, none, none, none, none, objects(Reference{Type: 'R', Session: id(1), SHA256: sum(13)})},
		"object of another type": {{7, 5, 0}, none, none, none, none, objects(Reference{Type: 'L', SHA256: sum(13)})},
		"left over":              {{7, 5, 0}, none, none, none, none, none, none},
	} {
		_, ok := apply(6, body...)
		require.False(t, ok, name)
	}

	// The next entry of a run replaces what it, or a run that it took over, has told before.
	commit := func(session byte, kind byte) []byte {
		b := make([]byte, 16+1+32)
		if kind == 3 {
			b[0] = 9
		}
		x := id(session)
		return append(append(b, 0, 1), x[:]...)
	}
	for _, kind := range []byte{3, 4} {
		s, ok = apply(kind, commit(4, kind))
		require.True(t, ok)
		require.Len(t, s.partials, int(kind)-3)
		s, ok = apply(kind, commit(5, kind))
		require.True(t, ok)
		require.Len(t, s.partials, int(kind)-2)
	}
}

type packPlace struct {
	of             place
	offset, stored uint32
}

func (p packPlace) place() place {
	p.of.frame.offset, p.of.stored = p.offset, p.stored
	return p.of
}

// packPlaces gives a place in every pack of the index.
func packPlaces(r *Repository) map[string]packPlace {
	out := map[string]packPlace{}
	for _, t := range r.tables {
		for i := range len(t.entries) / entrySize {
			if p, err := t.place(i); err == nil {
				dir := map[byte]string{'P': "p/", 'M': "m/"}[p.frame.typ]
				name := dir + hex.EncodeToString(p.frame.session[:]) + "/" + hex.EncodeToString(p.frame.pack[:])
				out[name] = packPlace{of: p}
			}
		}
	}
	return out
}

// TestMissingObjects leaves out one object at a time.
func TestMissingObjects(t *testing.T) {
	objects, want := load(t, "repo-f1")
	for object := range objects {
		changed := maps.Clone(objects)
		delete(changed, object)
		r, err := Open(changed, want.Passwords[0])
		if err != nil {
			continue
		}
		// A missing head cannot be told from a log that ends before it: only a pin would.
		if got, err := list(r); err == nil && object != "log/00000000000000000001" {
			require.Equal(t, want.Snapshots, got, object)
		}
	}
}

// TestIndependent shows that nothing of this module but the package itself is in it.
func TestIndependent(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, p := range strings.Fields(string(out)) {
		if strings.HasPrefix(p, "github.com/carekeep") {
			require.Equal(t, "github.com/carekeep/carekeep/internal/refreader", p)
		}
	}
}

// TestSingleWriterFormat reads format objects that name the one host that may write.
func TestSingleWriterFormat(t *testing.T) {
	objects, _ := load(t, "repo-v1")
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	read := func(single byte, host ...byte) error {
		b := bytes.Clone(objects["format"].Data)
		b = append(b[:len(b)-64], host...)
		copy(b[30:], public)
		b[120] = single
		b = append(b, ed25519.Sign(private, append([]byte("carekeep/v1 format\x00"), b...))...)
		r := &Repository{fsys: fstest.MapFS{"format": {Data: b}}}
		return r.readFormat("format")
	}
	id := bytes.Repeat([]byte{7}, 16)
	require.NoError(t, read(0))
	require.NoError(t, read(1, id...))
	require.Error(t, read(0, id...))
	require.Error(t, read(1))
	require.Error(t, read(1, id[:15]...))
	require.Error(t, read(1, make([]byte, 16)...))
	require.Error(t, read(2, id...))
}
