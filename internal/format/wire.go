// Package format encodes and decodes every object of a repository. It knows bytes and nothing else: no
// keys, no store, no time. backup/FORMAT.md is its specification.
//
// Decoders are strict. They accept one encoding of a value, bound what they allocate by the size of their
// input, and never panic; what they refuse wraps [ErrMalformed] or [ErrVersion].
package format

import (
	"encoding/binary"
	"errors"
)

// Every multi-byte integer of fixed width is big-endian. A uvarint or varint is that of [binary.Uvarint]
// and must be minimal. A byte string is a uvarint length followed by the bytes.

// ErrMalformed is wrapped by every decoding error of this package: the bytes are not a valid object of
// the type asked for. It never means that a key is wrong.
var ErrMalformed = errors.New("malformed object")

// ErrVersion is wrapped when an object was written by a newer version of the format than this one.
var ErrVersion = errors.New("object of a newer format")

type malformed string

func (m malformed) Error() string { return "malformed object: " + string(m) }
func (m malformed) Unwrap() error { return ErrMalformed }

// decoder reads fields from b. The first failure sticks; callers check err once at the end.
type decoder struct {
	b     []byte
	err   error
	owner *Owner // of the entry before: most entries share one
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = malformed(what)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		d.fail("it ends too early")
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.err != nil || n <= 0 || (n > 1 && d.b[n-1] == 0) {
		d.fail("bad varint")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a uvarint that counts items of at least min bytes each, so that a hostile count cannot make
// the caller allocate more than the input's own size.
func (d *decoder) count(min int) int {
	n := d.uvarint()
	if d.err == nil && n > uint64(len(d.b)/max(min, 1)) {
		d.fail("a count is larger than the object")
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail("it ends too early")
		return nil
	}
	return d.take(int(n))
}

func (d *decoder) str() string { return string(d.bytes()) }

func (d *decoder) id() (id ID)         { copy(id[:], d.take(len(id))); return }
func (d *decoder) hash() (h Hash)      { copy(h[:], d.take(len(h))); return }
func (d *decoder) short() (s [16]byte) { copy(s[:], d.take(len(s))); return }

// end reports the decoder's error, or one if bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail("bytes are left over at its end")
	}
	return d.err
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendVarint(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v)<<1^uint64(v>>63))
}
