package index

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/carekeep/carekeep/internal/format"
)

// maxSegment bounds the object of a segment that nothing says the size of.
const maxSegment = 64 << 20

// Identify reads a segment whole of which only the name is known, and returns what else names it, but for its
// writer, which the object does not say. Its error is like those of [Index.All].
func (x *Index) Identify(ctx context.Context, name format.Hash) (format.Segment, error) {
	d := format.Segment{Hash: name}
	s := newSegment(d)
	object, err := x.c.Store.Get(ctx, format.IndexKey(name), maxSegment)
	if err != nil {
		return d, x.fail(s, err)
	}
	if sha256.Sum256(object) != name {
		return d, x.fail(s, errSwapped)
	}
	if err := format.CheckHeader(object, format.TypeIndex); err != nil {
		return d, x.fail(s, err)
	}
	stream, err := x.c.Suite.OpenStream(x.c.Key, x.aad, object)
	if err != nil {
		return d, x.fail(s, err)
	}
	plain, _, err := stream.Decrypt(nil, 0, object[:min(len(object), pageBytes)], int64(len(object)))
	if err != nil {
		return d, x.fail(s, err)
	}
	d.Size = uint64(len(object))
	if len(plain) >= 8 {
		d.Entries = binary.BigEndian.Uint64(plain)
	}
	if _, err := decodeHead(plain, x.c.Suite, d); err != nil {
		return d, x.fail(s, err)
	}
	return d, nil
}
