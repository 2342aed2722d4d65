package seal

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// A stream object is:
//
//	offset  bytes  content
//	0       4      clear header of the caller
//	4       1      40: length of the Tink stream header, itself included
//	5       32     salt, random
//	37      7      nonce prefix, random
//	44             segment 0, then segment i at offset i × 65,536
//
// A segment is ciphertext followed by its tag: 16 bytes (T1) or 32 bytes (F1). Every segment but the
// last ends on a multiple of 65,536; only the very first may hold no plaintext. From offset 4 on this is
// Tink's AES-GCM-HKDF (T1) or AES-CTR-HMAC (F1) streaming format with first segment offset 4 and
// associated data header ‖ aad, so the clear header is authenticated too. stream_cipher.go has the keys
// and nonces.
const (
	// HeaderSize is the length in bytes of the clear header that begins every stream object.
	HeaderSize = 4
	// PrologueSize is how many bytes of an object [Suite.OpenStream] needs.
	PrologueSize = HeaderSize + tinkHeaderSize
	// SegmentSize is the length in bytes of a ciphertext segment, tag included.
	SegmentSize = 64 << 10

	tinkHeaderSize = 1 + saltSize + prefixSize
	saltSize       = 32
	prefixSize     = 7
	maxSegments    = math.MaxUint32 // the segment number is a 32-bit counter; Tink leaves the last one out
)

var errStreamSize = fmt.Errorf("seal: no stream object has this length: %w", ErrAuthentication)

// tagSize is the length in bytes of a segment's tag, or 0 for an unknown suite.
func (s Suite) tagSize() int64 {
	switch s {
	case T1:
		return 16
	case F1:
		return 32
	}
	return 0
}

// StreamSize is the length in bytes of the object that holds plain bytes of plaintext, the clear header
// included. It returns 0 if no such object can exist.
func (s Suite) StreamSize(plain int64) int64 {
	tag := s.tagSize()
	body := int64(SegmentSize) - tag
	if tag == 0 || plain < 0 || plain > maxSegments*body-PrologueSize {
		return 0
	}
	// The prologue takes the place of plaintext in segment 0; even without plaintext there is one segment.
	segments := max(1, (plain+PrologueSize+body-1)/body)
	return PrologueSize + plain + segments*tag
}

// PlainSize is the length in bytes of the plaintext in an object of the given length. It is the inverse
// of [Suite.StreamSize]; a length that no object has is an [ErrAuthentication].
func (s Suite) PlainSize(object int64) (int64, error) {
	tag := s.tagSize()
	if tag == 0 {
		return 0, errSuite
	}
	if object < PrologueSize+tag || object > maxSegments*SegmentSize {
		return 0, errStreamSize
	}
	segments := (object + SegmentSize - 1) / SegmentSize
	// A last segment without plaintext would be a second way to write the same content.
	if segments > 1 && object-(segments-1)*SegmentSize <= tag {
		return 0, errStreamSize
	}
	return object - PrologueSize - segments*tag, nil
}

// SealStream encrypts plaintext as one stream object and appends it to dst. Header is exactly 4 bytes,
// stays readable and is authenticated; key is 32 bytes; aad is authenticated and not stored. Each call
// draws a fresh salt and nonce prefix, so a key may seal any number of streams. Plaintext must not
// overlap the free capacity of dst. With room for [Suite.StreamSize] more bytes, dst does not move.
func (s Suite) SealStream(dst, header, key, aad, plaintext []byte) ([]byte, error) {
	if !s.Valid() {
		return nil, errSuite
	}
	if len(header) != HeaderSize {
		return nil, errors.New("seal: stream header is not 4 bytes")
	}
	size := s.StreamSize(int64(len(plaintext)))
	if size == 0 || size > math.MaxInt-int64(len(dst)) {
		return nil, errors.New("seal: plaintext is too long for one stream")
	}
	start := len(dst)
	dst = slices.Grow(dst, int(size))
	dst = append(dst, header...)
	dst = append(dst, tinkHeaderSize)
	dst = dst[:start+PrologueSize]
	Random(dst[start+HeaderSize+1:])
	st, err := s.OpenStream(key, aad, dst[start:])
	if err != nil {
		return nil, err
	}
	w := st.worker()
	defer st.release(w)
	room := int(SegmentSize-s.tagSize()) - PrologueSize
	for i := uint32(0); ; i++ {
		n := min(room, len(plaintext))
		last := n == len(plaintext)
		dst = w.seal(dst, plaintext[:n], st.nonce(w, i, last))
		if last {
			return dst, nil
		}
		plaintext = plaintext[n:]
		room = int(SegmentSize - s.tagSize())
	}
}

// Span tells which bytes of the object hold the plaintext [off, off+n): whole segments, from objOff on,
// which is a multiple of [SegmentSize]. The range may reach beyond the end of the object; cut it there
// before fetching. A range without plaintext gives objLen 0, and so does a negative off or n.
func (st *Stream) Span(off, n int64) (objOff, objLen int64) {
	body := SegmentSize - st.suite.tagSize()
	if off < 0 || off > maxSegments*body-PrologueSize || n < 0 {
		return 0, 0
	}
	objOff = (off + PrologueSize) / body * SegmentSize
	if n == 0 {
		return objOff, 0
	}
	n = min(n, maxSegments*body-PrologueSize-off)
	last := (off + n - 1 + PrologueSize) / body
	return objOff, (last+1)*SegmentSize - objOff
}

// Decrypt opens whole consecutive segments, object, that begin at offset objOff of an object of
// objectSize bytes, and appends their plaintext to dst; plainOff is where that lies in the whole
// plaintext. ObjOff is a multiple of [SegmentSize]; object ends on one as well or at the end of the
// object, and if it begins at 0 it includes the prologue. ObjectSize decides which segment is the last,
// so take it from something authenticated or from the store: a wrong one is found out only when the
// last segment is opened.
//
// All segments are authenticated before anything is returned; altered bytes are an [ErrAuthentication].
// Object must not overlap the free capacity of dst. Decrypt is safe for concurrent use. With room in
// dst a T1 stream allocates nothing; an F1 stream allocates 0.5 KiB a segment.
func (st *Stream) Decrypt(dst []byte, objOff int64, object []byte, objectSize int64) (plaintext []byte, plainOff int64, err error) {
	if _, err := st.suite.PlainSize(objectSize); err != nil {
		return nil, 0, err
	}
	end := objOff + int64(len(object))
	if objOff < 0 || objOff%SegmentSize != 0 || len(object) == 0 || end < objOff || end > objectSize ||
		end != objectSize && end%SegmentSize != 0 {
		return nil, 0, errors.New("seal: the range to decrypt is not whole segments of the object")
	}
	tag := st.suite.tagSize()
	segment := objOff / SegmentSize
	plainOff = segment*(SegmentSize-tag) - PrologueSize
	room := SegmentSize
	if segment == 0 {
		if !Equal(object[:PrologueSize], st.prologue[:]) {
			return nil, 0, fmt.Errorf("seal: stream prologue differs: %w", ErrAuthentication)
		}
		object = object[PrologueSize:]
		room -= PrologueSize
		plainOff = 0
	}
	segments := (end+SegmentSize-1)/SegmentSize - segment
	out := slices.Grow(dst, len(object)-int(segments*tag))
	w := st.worker()
	defer st.release(w)
	for ; len(object) > 0; segment++ {
		n := min(room, len(object))
		last := n == len(object) && end == objectSize
		var ok bool
		if out, ok = w.open(out, object[:n], st.nonce(w, uint32(segment), last)); !ok {
			clear(out[len(dst):])
			return nil, 0, fmt.Errorf("seal: open a stream segment: %w", ErrAuthentication)
		}
		object = object[n:]
		room = SegmentSize
	}
	return out, plainOff, nil
}
