package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// forger writes snapshots that no backup would, with the keys of a writer. It needs to be in the package.
type forger struct {
	t     *testing.T
	store *faultstore.Store
	r     *Repo
	s     *sink
	n     *nodes
	data  framer
	prf   *seal.PRF
	refs  []format.Object // instead of the right ones
}

func newForger(t *testing.T) *forger {
	s := faultstore.New()
	k, err := seal.DefaultKDF(seal.T1)
	require.NoError(t, err)
	k.MemoryKiB, k.Time, k.Threads = 8<<10, 1, 1
	r, err := Create(t.Context(), s.Bucket(), Key{Password: []byte("x")}, Config{KDF: &k, Store: store.Options{Attempts: 1}})
	require.NoError(t, err)
	f := &forger{t: t, store: s, r: r}
	f.begin()
	return f
}

// begin opens a session.
func (f *forger) begin() {
	t := f.t
	_, op := f.r.obs.Begin(t.Context(), "backup")
	t.Cleanup(func() { op.End(context.Background(), nil) })
	var err error
	f.s, err = f.r.newSink(t.Context(), op, nil, &condemned{}, compress.Fastest)
	require.NoError(t, err)
	f.n, err = f.s.newNodes()
	require.NoError(t, err)
	f.prf, err = seal.NewPRF(f.r.dataID)
	require.NoError(t, err)
	enc, err := compress.NewEncoder(compress.Fastest)
	require.NoError(t, err)
	f.data = framer{s: f.s, w: f.s.data, enc: enc, limit: frameSize, out: new([]byte)}
}

func (f *forger) file(path, content string) format.Entry {
	var id [32]byte
	f.prf.Sum(&id, []byte(content))
	require.NoError(f.t, f.data.add(f.t.Context(), id, []byte(content)))
	n := int64(len(content))
	return format.Entry{Path: path, Kind: format.File, Size: n, Content: format.Content{Refs: []format.Ref{{ID: id, Len: n}}}}
}

func dir(path string) format.Entry { return format.Entry{Path: path, Kind: format.Dir} }

// leaf stores a leaf and says of it what is right.
func (f *forger) leaf(entries ...format.Entry) format.Child {
	b, prev := format.AppendLeafHeader(nil), ""
	c := format.Child{First: entries[0].Path, Entries: uint64(len(entries))}
	for i := range entries {
		b = format.AppendEntry(b, prev, &entries[i])
		prev = entries[i].Path
		c.Bytes += uint64(entries[i].Size)
	}
	return f.node(b, c)
}

func (f *forger) node(b []byte, c format.Child) format.Child {
	var err error
	c.ID, err = f.n.SaveNode(f.t.Context(), b)
	require.NoError(f.t, err)
	c.Len = uint32(len(b))
	return c
}

func (f *forger) inner(level int, children ...format.Child) format.Child {
	c := format.Child{First: children[0].First}
	for _, ch := range children {
		c.Entries += ch.Entries
		c.Bytes += ch.Bytes
	}
	return f.node(format.AppendChildren(nil, level, children), c)
}

// commit commits a snapshot of the tree.
func (f *forger) commit(root format.Child, level int) *Snapshot {
	t, ctx := f.t, f.t.Context()
	require.NoError(t, f.data.flush(ctx))
	require.NoError(t, f.n.f.flush(ctx))
	require.NoError(t, f.s.data.Flush(ctx))
	require.NoError(t, f.s.meta.Flush(ctx))
	require.NoError(t, f.s.flushIndex(ctx, false))
	refs := f.refs
	if refs == nil {
		refs = withSessions(f.s.packs)
	}
	c := &format.Commit{Segments: f.s.segments, Sessions: f.s.sessions}
	seal.Random(c.ID[:])
	var err error
	c.Refs, err = f.r.putRefs(ctx, &format.Refs{Added: refs})
	require.NoError(t, err)
	d := format.Description{Root: root, RootLevel: uint8(level), Files: root.Entries, Bytes: root.Bytes}
	sealed, err := sealBody(f.r.format, f.r.ledger.State().Enrolment.Recipients, bodyAAD(domainBody, f.r.format, c.ID), d.Append(nil))
	require.NoError(t, err)
	ref, err := f.r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindSnapshot, Signer: f.s.signer,
		Build: func(*format.State) ([]byte, []byte, error) { return c.Append(nil), sealed, nil },
	})
	require.NoError(t, err)
	ref.ID = c.ID
	snap, err := f.r.Snapshot(ctx, ref)
	require.NoError(t, err)
	return snap
}

// kinds checks the repository in both ways, with and without room for nodes, and returns the kinds found.
func (f *forger) kinds() []FindingKind {
	var out []FindingKind
	for i, o := range []CheckOptions{{ReadAll: true}, {}, {Memory: 1}} {
		rep, err := f.r.Check(f.t.Context(), o)
		require.NoError(f.t, err)
		var kinds []FindingKind
		for _, x := range rep.Findings {
			if !slices.Contains(kinds, x.Kind) {
				kinds = append(kinds, x.Kind)
			}
		}
		slices.Sort(kinds)
		if i > 0 {
			require.Equal(f.t, out, kinds)
		}
		out = kinds
	}
	return out
}

func walkError(s *Snapshot) error {
	for _, err := range s.Tree().Walk(context.Background(), "") {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestCheckJudgesTreesAsReadersDo holds the check of trees against the reader of package tree.
func TestCheckJudgesTreesAsReadersDo(t *testing.T) {
	shorter := func(c format.Child) format.Child { c.Bytes--; return c }
	fewer := func(c format.Child) format.Child { c.Entries++; return c }
	later := func(c format.Child, first string) format.Child { c.First = first; return c }
	for name, test := range map[string]struct {
		sound bool
		make  func(f *forger) (format.Child, int)
	}{
		"a leaf": {true, func(f *forger) (format.Child, int) { return f.leaf(dir("."), dir("a"), f.file("a/x", "1")), 0 }},
		"two leaves": {true, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir("."), dir("a")), f.leaf(f.file("a/x", "1"))), 1
		}},
		"no root":   {false, func(f *forger) (format.Child, int) { return f.leaf(dir("a"), f.file("a/x", "1")), 0 }},
		"no folder": {false, func(f *forger) (format.Child, int) { return f.leaf(dir("."), f.file("a/x", "1")), 0 }},
		"no folder in": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir("."), dir("a")), f.leaf(f.file("b/x", "1"))), 1
		}},
		"a file's file": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir("."), f.file("a", "1")), f.leaf(f.file("a/x", "1"))), 1
		}},
		"overlap": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir("."), dir("c")), f.leaf(dir("b"))), 1
		}},
		"overlap of inner": {false, func(f *forger) (format.Child, int) {
			return f.inner(2, f.inner(1, f.leaf(dir("."), dir("a")), f.leaf(dir("d"))), f.inner(1, f.leaf(dir("c")))), 2
		}},
		"wrong bytes": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir(".")), shorter(f.leaf(f.file("x", "12")))), 1
		}},
		"wrong entries": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir(".")), fewer(f.leaf(f.file("x", "12")))), 1
		}},
		"wrong first": {false, func(f *forger) (format.Child, int) {
			return f.inner(1, f.leaf(dir(".")), later(f.leaf(f.file("x", "12")), "w")), 1
		}},
		"wrong level": {false, func(f *forger) (format.Child, int) { return f.inner(2, f.leaf(dir(".")), f.leaf(dir("a"))), 2 }},
		"wrong root":  {false, func(f *forger) (format.Child, int) { return f.leaf(dir("."), dir("a")), 1 }},
		"rubbish": {false, func(f *forger) (format.Child, int) {
			return f.node([]byte{0, 1, 2, 3}, format.Child{Entries: 1}), 0
		}},
		"wrong sum": {false, func(f *forger) (format.Child, int) { return fewer(f.leaf(dir("."), dir("a"))), 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t)
			s := f.commit(test.make(f))
			if err := walkError(s); test.sound {
				require.NoError(t, err)
				require.Empty(t, f.kinds())
			} else {
				require.Error(t, err)
				require.Equal(t, []FindingKind{DamagedSnapshot}, f.kinds())
			}
		})
	}
}

// TestCheckOfLongFiles is the same for the trees of references.
func TestCheckOfLongFiles(t *testing.T) {
	for name, test := range map[string]struct {
		sound bool
		node  func(f *forger, refs []format.Ref) format.Content
	}{
		"a list": {true, func(f *forger, refs []format.Ref) format.Content {
			b := format.AppendRefs(nil, refs)
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 1, RootLen: uint32(len(b))}
		}},
		"too few": {false, func(f *forger, refs []format.Ref) format.Content {
			b := format.AppendRefs(nil, refs[1:])
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 1, RootLen: uint32(len(b))}
		}},
		"wrong level": {false, func(f *forger, refs []format.Ref) format.Content {
			b := format.AppendRefs(nil, refs)
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 2, RootLen: uint32(len(b))}
		}},
		"an unknown chunk": {false, func(f *forger, refs []format.Ref) format.Content {
			refs[1].ID[5]++
			b := format.AppendRefs(nil, refs)
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 1, RootLen: uint32(len(b))}
		}},
		"a chunk of another length": {false, func(f *forger, refs []format.Ref) format.Content {
			refs[0].Len, refs[1].Len = refs[0].Len+1, refs[1].Len-1
			b := format.AppendRefs(nil, refs)
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 1, RootLen: uint32(len(b))}
		}},
		"a node for a chunk": {false, func(f *forger, refs []format.Ref) format.Content {
			c := f.leaf(dir("."))
			refs[0].ID, refs[0].Len = c.ID, int64(c.Len)
			refs[1] = format.Ref{Hole: true, Len: 6 - refs[0].Len%6}
			b := format.AppendRefs(nil, refs)
			return format.Content{Root: f.node(b, format.Child{}).ID, Level: 1, RootLen: uint32(len(b))}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t)
			a, b := f.file("a", "123"), f.file("b", "456")
			e := format.Entry{Path: "long", Kind: format.File, Size: 6}
			e.Content = test.node(f, append(slices.Clone(a.Content.Refs), b.Content.Refs...))
			f.commit(f.leaf(dir("."), a, b, e), 0)
			if test.sound {
				require.Empty(t, f.kinds())
				return
			}
			require.Equal(t, []FindingKind{DamagedSnapshot}, f.kinds())
			rep, err := f.r.Check(t.Context(), CheckOptions{})
			require.NoError(t, err)
			require.Equal(t, "long", rep.Losses[0].Path)
		})
	}
}

// TestCheckComputesIDs has chunks that are not what their ids say, in packs that are as they were written.
func TestCheckComputesIDs(t *testing.T) {
	f := newForger(t)
	e := f.file("x", "123")
	e.Content.Refs[0].ID[0]++
	require.NoError(t, f.data.add(t.Context(), e.Content.Refs[0].ID, []byte("123")))
	f.commit(f.leaf(dir("."), e), 0)
	rep, err := f.r.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK())
	rep, err = f.r.Check(t.Context(), CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Equal(t, DamagedObject, rep.Findings[0].Kind)
	require.Equal(t, "x", rep.Findings[0].Path)
	require.EqualValues(t, 1, rep.Lost)
}

// TestCheckComparesLists leaves packs out of a snapshot's list, and adds some.
func TestCheckComparesLists(t *testing.T) {
	f := newForger(t)
	f.commit(f.leaf(dir("."), f.file("x", "123")), 0)
	require.Empty(t, f.kinds())
	all := withSessions(f.s.packs)

	// A second snapshot of the same chunks does not list the pack that they are in.
	f.refs = slices.DeleteFunc(slices.Clone(all), func(o format.Object) bool { return o.Type == format.TypeData })
	f.s.packs, f.s.segments = nil, nil
	f.commit(f.leaf(dir("."), f.file("y", "123")), 0)
	require.Equal(t, []FindingKind{UnlistedPack}, f.kinds()[:1])

	f = newForger(t)
	f.commit(f.leaf(dir("."), f.file("x", "123")), 0)
	f.refs = append(withSessions(f.s.packs), format.Object{Type: format.TypeData, Hash: format.Hash{1}})
	slices.SortFunc(f.refs, format.CompareObjects)
	f.commit(f.leaf(dir("."), f.file("x", "123")), 0)
	require.Equal(t, []FindingKind{WrongIndex}, f.kinds())

	f = newForger(t)
	f.commit(f.leaf(dir("."), f.file("x", "123")), 0)
	f.refs = append(withSessions(f.s.packs), format.Object{Type: format.TypeSession, Session: format.SessionID{1}})
	slices.SortFunc(f.refs, format.CompareObjects)
	f.commit(f.leaf(dir("."), f.file("x", "123")), 0)
	require.Equal(t, []FindingKind{MissingObject}, f.kinds())
}

// TestCheckEndsWhenTheStoreIsOut names many sessions, which the store then fails to give.
func TestCheckEndsWhenTheStoreIsOut(t *testing.T) {
	f := newForger(t)
	root := f.leaf(dir("."), f.file("x", "123"))
	for i := range 3 * maxOutage {
		f.refs = append(f.refs, format.Object{Type: format.TypeSession, Session: format.SessionID{1, byte(i)}})
	}
	f.commit(root, 0)
	rep, err := f.r.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	require.Greater(t, rep.Found, int64(3*maxOutage), "all are missing")
	f.store.SetHook(faultstore.Nth(0, faultstore.On(faultstore.Read, "sess/01"), faultstore.Fail(gcerrors.Internal)))
	_, err = f.r.Check(t.Context(), CheckOptions{})
	require.ErrorIs(t, err, errOutage)
	f.store.SetHook(faultstore.Nth(maxOutage, faultstore.On(faultstore.Read, "sess/01"), faultstore.Fail(gcerrors.Internal)))
	rep, err = f.r.Check(t.Context(), CheckOptions{})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(rep.Findings, func(x Finding) bool { return x.Kind == UnreadableObject }))
}

// TestCheckOfChunksStoredTwice has two sessions store the same, as happens when two runs meet.
func TestCheckOfChunksStoredTwice(t *testing.T) {
	f := newForger(t)
	a, b := f, &forger{t: t, r: f.r}
	b.begin()
	// Both look before either has stored: neither finds the other's chunks.
	ra, rb := a.leaf(dir("."), a.file("x", "123")), b.leaf(dir("."), b.file("x", "123"))
	require.NoError(t, walkError(b.commit(rb, 0)))
	require.NoError(t, walkError(a.commit(ra, 0)))
	require.Empty(t, f.kinds())
}

// TestCheckComparesIndex adds segments that say something else than the packs.
func TestCheckComparesIndex(t *testing.T) {
	for name, change := range map[string]func(id *format.ID, l *format.Location){
		"an unknown chunk": func(id *format.ID, _ *format.Location) { id[3]++ },
		"another place":    func(_ *format.ID, l *format.Location) { l.Start, l.Len = l.Start+1, l.Len-1 },
		"another frame":    func(_ *format.ID, l *format.Location) { l.Offset++ },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t)
			e := f.file("x", "12345")
			f.commit(f.leaf(dir("."), e), 0)
			at, ok, err := f.r.index.Lookup(t.Context(), e.Content.Refs[0].ID)
			require.NoError(t, err)
			require.True(t, ok)
			f.begin()
			id, l := e.Content.Refs[0].ID, at.Location
			l.Pack = f.s.builder.AddPack(at.Pack)
			change(&id, &l)
			require.NoError(t, f.s.builder.Add(id, l))
			f.s.built = append(f.s.built, id)
			other := f.leaf(dir("."), dir("other"))
			f.commit(other, 0)
			rep, err := f.r.Check(t.Context(), CheckOptions{ReadAll: true})
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(rep.Findings, func(x Finding) bool { return x.Kind == WrongIndex }))
		})
	}
}
