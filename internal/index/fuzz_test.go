package index_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/seal"
)

// FuzzPlaintext feeds plaintexts that somebody with the key has sealed: nothing in them may be believed.
func FuzzPlaintext(f *testing.F) {
	w := newWorld(f, seal.T1)
	aad := append([]byte("carekeep/v1 index\x01"), w.cfg.Repo[:]...)
	for _, n := range []int{1, 2, 60, 130} {
		b := index.NewBuilder(w.cfg, writerA, 0)
		fill(f, b, ids(uint64(n), n))
		object, s, err := b.Build()
		require.NoError(f, err)
		st, err := seal.T1.OpenStream(w.cfg.Key, aad, object)
		require.NoError(f, err)
		plain, _, err := st.Decrypt(nil, 0, object, int64(s.Size))
		require.NoError(f, err)
		f.Add(plain)
		plain[30] ^= 255 // ids out of order, or found elsewhere
		f.Add(plain)
		f.Add(plain[:len(plain)-64])
		plain[30] ^= 255
		if n > 64 { // an id in two packs: in the order of their numbers, and not
			at := 16
			for binary.BigEndian.Uint32(plain[at+32:]) == binary.BigEndian.Uint32(plain[at+56+32:]) {
				at += 56
			}
			copy(plain[at+56:], plain[at:at+32])
			copy(plain[at+56+36:], plain[at+36:at+56])
			f.Add(plain)
			plain[at+35], plain[at+56+35] = plain[at+56+35], plain[at+35]
			f.Add(plain)
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > 1<<20 {
			return
		}
		object, err := seal.T1.SealStream(nil, format.Header(format.TypeIndex), w.cfg.Key, aad, plain)
		require.NoError(t, err)
		s := format.Segment{Hash: sha256.Sum256(object), Size: uint64(len(object)), Writer: writerA}
		if len(plain) >= 8 {
			s.Entries = binary.BigEndian.Uint64(plain)
		}
		try(t, w.cfg, s, object, plain)
	})
}

// FuzzObject feeds objects of anybody.
func FuzzObject(f *testing.F) {
	w := newWorld(f, seal.T1)
	b := index.NewBuilder(w.cfg, writerA, 0)
	fill(f, b, ids(1, 3))
	object, s, err := b.Build()
	require.NoError(f, err)
	f.Add(object, s.Entries)
	f.Add(object[:44], uint64(1))
	f.Add([]byte("CKI\x01"), uint64(0))
	f.Fuzz(func(t *testing.T, object []byte, entries uint64) {
		s := format.Segment{Hash: sha256.Sum256(object), Size: uint64(len(object)), Entries: entries}
		try(t, w.cfg, s, object, object)
	})
}

// try does all that can be done with a segment. Where a check finds nothing wrong, everything must agree.
func try(t *testing.T, cfg index.Config, s format.Segment, object, hints []byte) {
	ctx := context.Background()
	x := index.New(cfg)
	defer x.Close()
	require.NoError(t, cfg.Store.Put(ctx, format.IndexKey(s.Hash), object))
	defer func() { _ = cfg.Store.Delete(ctx, format.IndexKey(s.Hash)) }()
	if x.Add(s, object) != nil {
		x.Set([]format.Segment{s})
	}
	for i := 16; i+32 <= len(hints) && i < 16+56*50; i += 56 {
		_, _, _ = x.Lookup(ctx, format.ID(hints[i:]))
	}
	var items []index.Item
	for item, err := range x.All(ctx, s) {
		if err != nil {
			var se *index.SegmentError
			require.ErrorAs(t, err, &se)
			_ = x.Merge(ctx, []format.Segment{s}, 0, func(format.Segment, []byte) error { return nil })
			return
		}
		items = append(items, item)
	}
	require.EqualValues(t, s.Entries, len(items))
	for i, item := range items {
		if i > 0 && items[i-1].ID == item.ID {
			require.Less(t, items[i-1].Location.Pack, item.Location.Pack)
			continue
		}
		f, ok, err := x.Lookup(ctx, item.ID)
		require.NoError(t, err)
		require.True(t, ok)
		for f, err := range x.Places(ctx, item.ID) {
			require.NoError(t, err)
			require.Equal(t, item.ID, items[i].ID)
			require.Equal(t, index.Found{Pack: items[i].Pack, Location: items[i].Location, Segment: s.Hash, Writer: s.Writer}, f)
			i++
		}
		require.True(t, i == len(items) || items[i].ID != item.ID)
		require.Equal(t, item.Location, f.Location)
	}
	var merged uint64
	require.NoError(t, x.Merge(ctx, []format.Segment{s}, 0, func(m format.Segment, _ []byte) error {
		merged += m.Entries
		return nil
	}))
	// Two numbers may stand for equal packs, which a merge makes one.
	require.LessOrEqual(t, merged, s.Entries)
	require.Positive(t, merged)
}
