package format

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Object names one object that a snapshot depends on.
type Object struct {
	Type    Type      // TypeData, TypeMetadata, TypeIndex, TypeSession or TypeRefs
	Session SessionID // of a pack or a session; zero for an index segment and for refs
	Hash    Hash      // zero for a session
}

const objectSize = 1 + 16 + 32

// Key is the object's name in the bucket; of a session that of its first generation.
func (o Object) Key() string {
	switch o.Type {
	case TypeIndex:
		return IndexKey(o.Hash)
	case TypeRefs:
		return RefsKey(o.Hash)
	case TypeSession:
		return SessionKey(o.Session, 0)
	}
	return PackKey(o.Type, o.Session, o.Hash)
}

func (o Object) append(b []byte) []byte {
	b = append(b, byte(o.Type))
	b = append(b, o.Session[:]...)
	return append(b, o.Hash[:]...)
}

// CompareObjects is the order in which refs keep objects.
func CompareObjects(a, b Object) int {
	if a.Type != b.Type {
		return int(a.Type) - int(b.Type)
	}
	if c := bytes.Compare(a.Session[:], b.Session[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

// Refs lists every object that a snapshot depends on, in clear so that space can be given back without a
// key to the content. Where Depth is not 0 it is the difference to the list Base.
//
// Random makes every object another one. A list that is stored again must not have the name of one that a
// collector may be deleting.
type Refs struct {
	Depth   uint8 // lists below this one
	Base    Hash  // zero when Depth is 0
	Random  [16]byte
	Removed []Object
	Added   []Object
}

// MaxRefsDepth bounds a chain of differences.
const MaxRefsDepth = 16

// Append encodes r; both lists must be sorted by [CompareObjects].
func (r *Refs) Append(b []byte) []byte {
	b = append(b, Header(TypeRefs)...)
	b = append(b, r.Depth)
	b = append(b, r.Base[:]...)
	b = append(b, r.Random[:]...)
	b = appendObjects(b, r.Removed)
	return appendObjects(b, r.Added)
}

func appendObjects(b []byte, list []Object) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, o := range list {
		b = o.append(b)
	}
	return b
}

// objects decodes a sorted list of objects. Refs are named only where something is condemned.
func (d *decoder) objects(refs bool) (list []Object) {
	n := d.count(objectSize)
	for range n {
		o := Object{Type: Type(d.u8()), Session: d.short(), Hash: d.hash()}
		switch {
		case o.Type == TypeData, o.Type == TypeMetadata:
		case o.Type == TypeIndex, o.Type == TypeRefs && refs:
			if o.Session != (SessionID{}) {
				d.fail("an object that no session holds names one")
			}
		case o.Type == TypeSession:
			if o.Hash != (Hash{}) {
				d.fail("a session is not named by a digest")
			}
		default:
			d.fail("a reference's type is unknown")
		}
		list = append(list, o)
	}
	if d.err == nil && !strictlySorted(list) {
		d.fail("references are out of order")
	}
	return list
}

// DecodeRefsObject is the inverse of [Refs.Append].
func DecodeRefsObject(object []byte) (*Refs, error) {
	if err := CheckHeader(object, TypeRefs); err != nil {
		return nil, err
	}
	d := decoder{b: object[HeaderSize:]}
	r := &Refs{Depth: d.u8(), Base: d.hash(), Random: d.short()}
	if r.Depth > MaxRefsDepth || (r.Depth == 0) != (r.Base == Hash{}) {
		d.fail("a chain of references is out of range")
	}
	r.Removed, r.Added = d.objects(false), d.objects(false)
	return r, d.end()
}

func strictlySorted(list []Object) bool {
	for i := 1; i < len(list); i++ {
		if CompareObjects(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// Apply returns base without r.Removed and with r.Added, sorted.
func (r *Refs) Apply(base []Object) ([]Object, error) {
	out := make([]Object, 0, len(base)+len(r.Added))
	i := 0
	for _, o := range base {
		if i < len(r.Removed) && r.Removed[i] == o {
			i++
			continue
		}
		out = append(out, o)
	}
	if i != len(r.Removed) {
		return nil, malformed("references remove what is not there")
	}
	out = append(out, r.Added...)
	slices.SortFunc(out, CompareObjects)
	if !strictlySorted(out) {
		return nil, malformed("references add what is there already")
	}
	return out, nil
}

// DiffRefs returns the difference that leads from base to next; both sorted.
func DiffRefs(base, next []Object) (removed, added []Object) {
	for len(base) > 0 || len(next) > 0 {
		c := 0
		switch {
		case len(base) == 0:
			c = 1
		case len(next) == 0:
			c = -1
		default:
			c = CompareObjects(base[0], next[0])
		}
		switch {
		case c < 0:
			removed, base = append(removed, base[0]), base[1:]
		case c > 0:
			added, next = append(added, next[0]), next[1:]
		default:
			base, next = base[1:], next[1:]
		}
	}
	return removed, added
}
