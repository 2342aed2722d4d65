package format

import (
	"encoding/binary"
)

// A pack's plaintext is frames from offset 0 on, without gaps; zero padding; the footer; and the footer's
// length as the last four bytes. The footer repeats what index segments say, so that an index can be made
// again from packs alone.

// Chunk is one chunk inside a frame.
type Chunk struct {
	ID  ID
	Len uint32
}

// Frame is a run of chunks stored together: compressed as one, if at all.
type Frame struct {
	Codec  byte
	Stored uint32 // bytes in the pack
	Plain  uint32 // bytes after decoding; the sum of the chunks
	Chunks []Chunk
}

// AppendFooter encodes the footer of a pack, with its length at the end.
func AppendFooter(b []byte, frames []Frame) []byte {
	start := len(b)
	b = binary.AppendUvarint(b, uint64(len(frames)))
	for _, f := range frames {
		b = append(b, f.Codec)
		b = binary.AppendUvarint(b, uint64(f.Stored))
		b = binary.AppendUvarint(b, uint64(len(f.Chunks)))
		for _, c := range f.Chunks {
			b = append(b, c.ID[:]...)
			b = binary.AppendUvarint(b, uint64(c.Len))
		}
	}
	return binary.BigEndian.AppendUint32(b, uint32(len(b)-start))
}

// DecodeFooter decodes the footer at the end of a pack's plaintext.
func DecodeFooter(plaintext []byte) ([]Frame, error) {
	if len(plaintext) < 4 {
		return nil, malformed("a pack is too short")
	}
	end := len(plaintext) - 4
	n := binary.BigEndian.Uint32(plaintext[end:])
	if uint64(n) > uint64(end) {
		return nil, malformed("a pack's footer is out of range")
	}
	return decodeFooter(plaintext[end-int(n):end], uint64(end)-uint64(n))
}

// DecodeFooterOf decodes a footer kept apart from its pack, of which it knows the size in bytes.
func DecodeFooterOf(footer []byte, size uint32) ([]Frame, error) {
	if len(footer) < 4 {
		return nil, malformed("a pack's footer is too short")
	}
	return decodeFooter(footer[:len(footer)-4], uint64(size))
}

func decodeFooter(b []byte, room uint64) ([]Frame, error) {
	d := decoder{b: b}
	count := d.count(3)
	frames := make([]Frame, 0, count)
	for range count {
		f := Frame{Codec: d.u8()}
		stored := d.uvarint()
		chunks := d.count(33)
		if d.err != nil || stored > room {
			d.fail("a frame is out of range")
			break
		}
		room -= stored
		f.Stored = uint32(stored)
		f.Chunks = make([]Chunk, 0, chunks)
		for range chunks {
			c := Chunk{ID: d.id()}
			l := d.uvarint()
			if l == 0 || l > MaxChunk || uint64(f.Plain)+l > MaxFrame {
				d.fail("a chunk is out of range")
				break
			}
			c.Len = uint32(l)
			f.Plain += c.Len
			f.Chunks = append(f.Chunks, c)
		}
		if f.Stored == 0 || f.Stored > f.Plain {
			d.fail("a frame is longer than what it holds")
		}
		frames = append(frames, f)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return frames, nil
}

// PackRef is what an index segment says about one pack: enough to read any part of it without asking
// the store for anything but that part.
type PackRef struct {
	Type     Type // TypeData or TypeMetadata
	Session  SessionID
	Number   uint32 // the pack's number in its session; part of what the stream authenticates
	Size     uint32 // bytes of the object
	Hash     Hash   // of the object's bytes; its name
	Prologue [40]byte
}

// PackRefSize is the fixed size of an encoded PackRef.
const PackRefSize = 1 + 16 + 4 + 4 + 32 + 40

// Append encodes p in PackRefSize bytes.
func (p *PackRef) Append(b []byte) []byte {
	b = append(b, byte(p.Type))
	b = append(b, p.Session[:]...)
	b = binary.BigEndian.AppendUint32(b, p.Number)
	b = binary.BigEndian.AppendUint32(b, p.Size)
	b = append(b, p.Hash[:]...)
	return append(b, p.Prologue[:]...)
}

// Key is the pack's name in the bucket.
func (p *PackRef) Key() string { return PackKey(p.Type, p.Session, p.Hash) }

// DecodePackRef is the inverse of [PackRef.Append].
func DecodePackRef(b []byte) (p PackRef, err error) {
	d := decoder{b: b}
	p = PackRef{Type: Type(d.u8()), Session: d.short(), Number: d.u32(), Size: d.u32(), Hash: d.hash()}
	copy(p.Prologue[:], d.take(len(p.Prologue)))
	if d.err == nil && p.Type != TypeData && p.Type != TypeMetadata {
		d.fail("a pack's type is unknown")
	}
	return p, d.end()
}

// Location says where a chunk is: in which frame of which pack, and where in the decoded frame.
type Location struct {
	Pack   uint32 // number in the segment's table of packs
	Offset uint32 // of the frame in the pack's plaintext
	Stored uint32 // bytes of the frame in the pack
	Plain  uint32 // bytes of the decoded frame
	Codec  byte
	Start  uint32 // of the chunk in the decoded frame; below 1<<24
	Len    uint32 // of the chunk
}

// IndexEntrySize is the fixed size of an encoded index entry: an id and its location.
const IndexEntrySize = 32 + 6*4

// AppendIndexEntry encodes one entry of an index segment.
func AppendIndexEntry(b []byte, id ID, l Location) []byte {
	b = append(b, id[:]...)
	for _, v := range []uint32{l.Pack, l.Offset, l.Stored, l.Plain, uint32(l.Codec)<<24 | l.Start, l.Len} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// DecodeIndexEntry is the inverse of [AppendIndexEntry]; b is IndexEntrySize bytes long.
func DecodeIndexEntry(b []byte) (id ID, l Location, err error) {
	d := decoder{b: b}
	id = d.id()
	l = Location{Pack: d.u32(), Offset: d.u32(), Stored: d.u32(), Plain: d.u32()}
	cs := d.u32()
	l.Codec, l.Start = byte(cs>>24), cs&(1<<24-1)
	l.Len = d.u32()
	if err := d.end(); err != nil {
		return id, l, err
	}
	if l.Plain > MaxFrame || l.Len == 0 || l.Stored == 0 || l.Stored > l.Plain || uint64(l.Start)+uint64(l.Len) > uint64(l.Plain) || uint64(l.Offset)+uint64(l.Stored) > 1<<30 {
		return id, l, malformed("an index entry is out of range")
	}
	return id, l, nil
}
