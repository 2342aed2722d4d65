package format_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/internal/format"
)

func sign(b []byte) []byte { return append(b, make([]byte, format.SignatureSize)...) }

// seeds are one of each object, filled as far as it goes.
func seeds() map[string][]byte {
	seg := format.Segment{Hash: format.Hash{1}, Size: 2, Entries: 3, Writer: format.WriterID{4}}
	state := format.State{
		Enrolled:  3,
		Enrolment: format.Enrolment{Writers: [][]byte{{1, 2}}, Recipients: [][]byte{{3}}},
		Slots:     []format.SlotInfo{{ID: format.SlotID{5}, Kind: format.SlotKMS, Added: 6}},
		Segments:  []format.Segment{seg},
		Snapshots: []format.SnapRef{{ID: format.SnapID{7}, Seq: 8, Hash: format.Hash{9}, Time: 10, Refs: format.Hash{11}}},
		Forgotten: []format.SnapRef{{ID: format.SnapID{12}, Seq: 13, Hash: format.Hash{14}, Time: 15, Refs: format.Hash{16}}},
		Partials:  []format.Partial{{Seq: 17, Time: 18, Refs: format.Hash{19}, Sessions: []format.SessionID{{20}, {21}}}},
		Condemned: 200, Swept: 22,
	}
	forget := format.Forget{Plan: format.Hash{1}, Snapshots: []format.SnapID{{2}, {3}}}
	condemn := format.Condemn{
		Previous: 300, Swept: 4, Forgotten: 5, Refs: []format.NewRefs{{ID: format.SnapID{6}, Refs: format.Hash{7}}, {ID: format.SnapID{8}}},
		Removed: []format.Hash{{9}, {10}}, Added: []format.Segment{seg}, Sessions: []format.SessionID{{11}},
		Objects: []format.Object{
			{Type: format.TypeIndex, Hash: format.Hash{12}}, {Type: format.TypeMetadata, Session: format.SessionID{13}, Hash: format.Hash{14}},
			{Type: format.TypeData, Session: format.SessionID{13}}, {Type: format.TypeRefs, Hash: format.Hash{15}},
			{Type: format.TypeSession, Session: format.SessionID{13}},
		},
	}
	frames := []format.Frame{{Codec: 1, Stored: 10, Plain: 30, Chunks: []format.Chunk{{ID: format.ID{1}, Len: 10}, {ID: format.ID{2}, Len: 20}}}}
	entry := format.Entry{
		Path: "a/b", Kind: format.File, Mode: 0o4755, Owner: &format.Owner{UID: 1, GID: 2, User: "u", Group: "g"},
		ModTime: format.Time{Sec: -5, Nsec: 7}, ChangeTime: format.Time{Sec: 1}, BirthTime: format.Time{Nsec: 1}, Inode: 9, LinkGroup: 3,
		Size: 30, Attributes: 2, Xattrs: []format.Xattr{{Name: "user.x", Value: []byte{0, 1}}},
		Content: format.Content{Refs: []format.Ref{{ID: format.ID{1}, Len: 10}, {Hole: true, Len: 20}}}, More: []byte{1},
	}
	desc := format.Description{
		Root: format.Child{ID: format.ID{1}, Len: 2, Entries: 3, Bytes: 4}, RootLevel: 1, Started: -1, Finished: 2, Host: "h", Sources: []string{"s"},
		Labels: []format.Label{{Key: "k", Value: "v"}}, Files: 1, Folders: 2, Others: 3, Bytes: 4,
		Problems: 1, ProblemBytes: 5, ProblemList: format.Content{Refs: []format.Ref{{ID: format.ID{2}, Len: 5}}},
	}
	ref := format.PackRef{Type: format.TypeData, Session: format.SessionID{1}, Number: 2, Size: 3, Hash: format.Hash{4}}
	refs := format.Refs{
		Depth: 1, Base: format.Hash{1}, Random: [16]byte{5}, Removed: []format.Object{{Type: format.TypeSession, Session: format.SessionID{4}}},
		Added: []format.Object{{Type: format.TypeIndex, Hash: format.Hash{3}}, {Type: format.TypeData, Hash: format.Hash{2}}},
	}
	return map[string][]byte{
		"format single": sign((&format.Format{
			Suite: 1, AdminKey: make([]byte, 32), ChunkMax: 1 << 20, PackSize: 1 << 24, SingleWriter: true, Host: format.HostID{9},
		}).Append(nil)),
		"format":      sign((&format.Format{Suite: 1, AdminKey: make([]byte, 32), ChunkMax: 1 << 20, PackSize: 1 << 24, Residency: "AU"}).Append(nil)),
		"slot":        (&format.Slot{Kind: format.SlotPassword, Wrapped: []byte{1}, Sealed: []byte{2}}).Append(nil),
		"keyset":      (&format.Keyset{Suite: 1, AdminKey: []byte{1}, Dataset: []byte{2}, Writer: []byte{3}}).Append(nil),
		"session":     sign((&format.Session{Generation: 1, Wraps: []format.Wrap{{Sealed: []byte{1}}}}).Append(nil)),
		"footer":      format.AppendFooter(make([]byte, 10), frames),
		"packref":     ref.Append(nil),
		"indexentry":  format.AppendIndexEntry(nil, format.ID{1}, format.Location{Plain: 10, Len: 5, Start: 5, Stored: 4}),
		"entry":       format.AppendEntry(nil, "", &entry),
		"leaf":        format.AppendEntry(format.AppendLeafHeader(nil), "", &entry),
		"children":    format.AppendChildren(nil, 1, []format.Child{{First: ".", ID: format.ID{1}, Len: 2, Entries: 3, Bytes: 4}, {First: "a", Len: 1}}),
		"refs":        format.AppendRefs(nil, entry.Content.Refs),
		"refchildren": format.AppendRefChildren(nil, 1, []format.Child{{ID: format.ID{1}, Len: 2, Bytes: 4}}),
		"problem":     format.AppendProblem(nil, format.Problem{Path: "p", Reason: 1, Detail: "d"}),
		"logentry":    sign((&format.LogEntry{Seq: 5, Enrolled: 3, Kind: format.KindSnapshot, Body: []byte{1}, Sealed: []byte{2}}).Append(nil)),
		"enrolment":   state.Enrolment.Append(nil),
		"commit":      (&format.Commit{Outcome: 1, Segments: []format.Segment{seg}, Sessions: []format.SessionID{{1}}}).Append(nil),
		"slotchange":  (&format.SlotChange{Removed: true, Slot: state.Slots[0]}).Append(nil),
		"state":       state.Append(nil),
		"settle":      (&format.Settle{Lost: []uint64{1, 2, 300}, State: state}).Append(nil),
		"forget":      forget.Append(nil),
		"condemn":     condemn.Append(nil),
		"sealedbody":  (&format.SealedBody{Wraps: []format.Wrap{{Sealed: []byte{1}}}, Sealed: []byte{2}}).Append(nil),
		"description": desc.Append(nil),
		"refsobject":  refs.Append(nil),
	}
}

func formatAgain(b []byte) ([]byte, error) {
	f, signed, sig, err := format.DecodeFormat(b)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(signed, f.Append(nil)) {
		return f.Append(nil), nil
	}
	return append(f.Append(nil), sig...), nil
}

// codecs decode and encode again. Every decoder accepts one encoding of a value only.
var codecs = map[string]func([]byte) ([]byte, error){
	"format":        formatAgain,
	"format single": formatAgain,
	"slot":          again(format.DecodeSlot, (*format.Slot).Append),
	"keyset":        again(format.DecodeKeyset, (*format.Keyset).Append),
	"session":       func(b []byte) ([]byte, error) { s, _, sig, err := format.DecodeSession(b); return signed(s, sig, err) },
	"footer": func(b []byte) ([]byte, error) {
		frames, err := format.DecodeFooter(b)
		if err != nil {
			return nil, err
		}
		f := format.AppendFooter(nil, frames)
		return append(bytes.Clone(b[:len(b)-min(len(f), len(b))]), f...), nil
	},
	"packref": func(b []byte) ([]byte, error) { p, err := format.DecodePackRef(b); return p.Append(nil), err },
	"indexentry": func(b []byte) ([]byte, error) {
		id, l, err := format.DecodeIndexEntry(b)
		return format.AppendIndexEntry(nil, id, l), err
	},
	"leaf": func(b []byte) ([]byte, error) {
		r, err := format.ReadLeaf(b)
		out, prev := format.AppendLeafHeader(nil), ""
		for err == nil {
			var e format.Entry
			var ok bool
			if ok, err = r.Next(&e); !ok {
				break
			}
			out = format.AppendEntry(out, prev, &e)
			prev = e.Path
		}
		return out, err
	},
	"children": func(b []byte) ([]byte, error) {
		c, err := format.DecodeChildren(b)
		if err != nil {
			return nil, err
		}
		level, err := format.NodeLevel(b)
		return format.AppendChildren(nil, level, c), err
	},
	"refs": func(b []byte) ([]byte, error) { r, err := format.DecodeRefs(b); return format.AppendRefs(nil, r), err },
	"refchildren": func(b []byte) ([]byte, error) {
		c, err := format.DecodeRefChildren(b, 1)
		return format.AppendRefChildren(nil, 1, c), err
	},
	"problem": func(b []byte) ([]byte, error) {
		p, rest, err := format.DecodeProblem(b)
		return append(format.AppendProblem(nil, p), rest...), err
	},
	"logentry":    func(b []byte) ([]byte, error) { e, _, sig, err := format.DecodeLogEntry(b); return signed(e, sig, err) },
	"enrolment":   again(format.DecodeEnrolment, (*format.Enrolment).Append),
	"commit":      again(format.DecodeCommit, (*format.Commit).Append),
	"slotchange":  again(format.DecodeSlotChange, (*format.SlotChange).Append),
	"state":       again(format.DecodeState, (*format.State).Append),
	"settle":      again(format.DecodeSettle, (*format.Settle).Append),
	"forget":      again(format.DecodeForget, (*format.Forget).Append),
	"condemn":     again(format.DecodeCondemn, (*format.Condemn).Append),
	"sealedbody":  again(format.DecodeSealedBody, (*format.SealedBody).Append),
	"description": again(format.DecodeDescription, (*format.Description).Append),
	"refsobject":  again(format.DecodeRefsObject, (*format.Refs).Append),
	"entry": func(b []byte) ([]byte, error) {
		var e format.Entry
		rest, err := format.DecodeEntry(b, "", &e)
		return append(format.AppendEntry(nil, "", &e), rest...), err
	},
}

func again[T any](decode func([]byte) (*T, error), encode func(*T, []byte) []byte) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return encode(v, nil), nil
	}
}

func signed(v interface{ Append([]byte) []byte }, sig []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return append(v.Append(nil), sig...), nil
}

func TestEveryObjectComesBack(t *testing.T) {
	all := seeds()
	require.Len(t, codecs, len(all))
	for name, b := range all {
		out, err := codecs[name](b)
		require.NoError(t, err, name)
		require.Equal(t, b, out, name)
	}
}

// TestCutOffObjectsAreRefused cuts every object at every length.
func TestCutOffObjectsAreRefused(t *testing.T) {
	for name, b := range seeds() {
		for n := range b {
			out, err := codecs[name](b[:n])
			if err == nil {
				require.Equal(t, b[:n], out, "%s of %d bytes", name, n)
			} else {
				require.ErrorIs(t, err, format.ErrMalformed, "%s of %d bytes", name, n)
			}
		}
	}
}

// TestWrongOrderIsRefused: what is a set has one encoding.
func TestWrongOrderIsRefused(t *testing.T) {
	seg := format.Segment{Hash: format.Hash{1}}
	pack := format.Object{Type: format.TypeData, Hash: format.Hash{1}}
	list := format.Object{Type: format.TypeRefs, Hash: format.Hash{1}}
	session := format.Object{Type: format.TypeSession, Session: format.SessionID{1}}
	for name, b := range map[string][]byte{
		"forget twice":              (&format.Forget{Snapshots: []format.SnapID{{1}, {1}}}).Append(nil),
		"forget out of order":       (&format.Forget{Snapshots: []format.SnapID{{2}, {1}}}).Append(nil),
		"condemn lists":             (&format.Condemn{Refs: []format.NewRefs{{ID: format.SnapID{1}}, {ID: format.SnapID{1}, Refs: format.Hash{1}}}}).Append(nil),
		"condemn removed":           (&format.Condemn{Removed: []format.Hash{{2}, {1}}}).Append(nil),
		"condemn added":             (&format.Condemn{Added: []format.Segment{seg, seg}}).Append(nil),
		"condemn objects":           (&format.Condemn{Objects: []format.Object{list, pack}}).Append(nil),
		"condemn twice":             (&format.Condemn{Objects: []format.Object{pack, pack}}).Append(nil),
		"condemn list of a session": (&format.Condemn{Objects: []format.Object{{Type: format.TypeRefs, Session: format.SessionID{1}}}}).Append(nil),
		"condemn session's digest":  (&format.Condemn{Objects: []format.Object{{Type: format.TypeSession, Hash: format.Hash{1}}}}).Append(nil),
		"condemn an entry":          (&format.Condemn{Objects: []format.Object{{Type: format.TypeEntry}}}).Append(nil),
		"state segments":            (&format.State{Segments: []format.Segment{seg, {Hash: seg.Hash, Size: 9}}}).Append(nil),
		"settle nothing":            (&format.Settle{}).Append(nil),
		"settle entry 0":            (&format.Settle{Lost: []uint64{0}}).Append(nil),
		"settle twice":              (&format.Settle{Lost: []uint64{3, 3}}).Append(nil),
		"settle out of order":       (&format.Settle{Lost: []uint64{3, 2}}).Append(nil),
		"commit segments":           (&format.Commit{Segments: []format.Segment{seg, seg}}).Append(nil),
		"refsobject list":           (&format.Refs{Added: []format.Object{list}}).Append(nil),
		"refsobject order":          (&format.Refs{Added: []format.Object{session, pack}}).Append(nil),
		"refsobject base":           (&format.Refs{Base: format.Hash{1}}).Append(nil),
		"refsobject depth":          (&format.Refs{Depth: format.MaxRefsDepth + 1, Base: format.Hash{1}}).Append(nil),
	} {
		codec, _, _ := strings.Cut(name, " ")
		_, err := codecs[codec](b)
		require.ErrorIs(t, err, format.ErrMalformed, name)
	}
}

func TestNewerVersion(t *testing.T) {
	b := seeds()["logentry"]
	b[3] = 2
	_, _, _, err := format.DecodeLogEntry(b)
	require.ErrorIs(t, err, format.ErrVersion)
	require.ErrorContains(t, err, "use a newer release")
}

// FuzzDecoders feeds every decoder. What a decoder accepts must encode to the same bytes, so that no two
// objects mean one thing.
func FuzzDecoders(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, codec := range codecs {
			out, err := codec(b)
			if err == nil && !bytes.Equal(out, b) {
				t.Fatalf("%s: %x becomes %x", name, b, out)
			}
		}
	})
}

func TestOrderOfPaths(t *testing.T) {
	ordered := []string{".", "a", "a/b", "a/b/c", "a/c", "a\x01", "a-", "a.b", "aa", "b"}
	for i, a := range ordered {
		for j, b := range ordered {
			c := format.ComparePaths(a, b)
			require.Equal(t, i < j, c < 0, "%q %q", a, b)
			require.Equal(t, i == j, c == 0)
		}
	}
}

func TestValidPath(t *testing.T) {
	for _, p := range []string{"", "/", "/a", "a/", "a//b", "..", "a/..", "./a", "a/.", "a\x00b"} {
		require.False(t, format.ValidPath(p), "%q", p)
	}
	for _, p := range []string{".", "a", "a/b", "...", "\xff\xfe", "a\nb", `a\b`, "C:"} {
		require.True(t, format.ValidPath(p), "%q", p)
	}
}

func TestRefsApplyUndoesDiff(t *testing.T) {
	object := rapid.Custom(func(t *rapid.T) format.Object {
		o := format.Object{Type: rapid.SampledFrom([]format.Type{format.TypeData, format.TypeMetadata, format.TypeSession}).Draw(t, "type")}
		o.Hash[0] = rapid.Byte().Draw(t, "hash")
		return o
	})
	rapid.Check(t, func(t *rapid.T) {
		list := func(name string) []format.Object {
			l := rapid.SliceOfDistinct(object, func(o format.Object) format.Object { return o }).Draw(t, name)
			sorted := append([]format.Object(nil), l...)
			for i := range sorted {
				for j := i; j > 0 && format.CompareObjects(sorted[j-1], sorted[j]) > 0; j-- {
					sorted[j-1], sorted[j] = sorted[j], sorted[j-1]
				}
			}
			return sorted
		}
		a, b := list("a"), list("b")
		removed, added := format.DiffRefs(a, b)
		got, err := (&format.Refs{Removed: removed, Added: added}).Apply(a)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(b) {
			t.Fatalf("%d objects, want %d", len(got), len(b))
		}
		for i := range b {
			if got[i] != b[i] {
				t.Fatalf("object %d differs", i)
			}
		}
	})
}
