package compress

import "encoding/binary"

const (
	zstdMagic     = 0xfd2fb528
	singleSegment = 0x20
	maxBlock      = 128 << 10
)

// oneFrame says whether src is exactly one Zstandard frame of the kind that
// the format allows, announcing size bytes. It walks over the blocks without
// decoding them, so that appended frames and rubbish are found.
func oneFrame(src []byte, size int) bool {
	n, body, ok := frameHeader(src)
	if !ok || n != uint64(size) {
		return false
	}
	for len(body) >= 3 {
		head := uint32(body[0]) | uint32(body[1])<<8 | uint32(body[2])<<16
		last, kind, length := head&1 != 0, head>>1&3, int(head>>3)
		if kind == 3 || length > maxBlock {
			return false
		}
		if kind == 1 { // one byte, repeated
			length = 1
		}
		if length > len(body)-3 {
			return false
		}
		body = body[3+length:]
		if last {
			return len(body) == 0
		}
	}
	return false
}

// frameHeader reads a frame header: the content size and what follows it.
func frameHeader(src []byte) (size uint64, body []byte, ok bool) {
	if len(src) < 6 || binary.LittleEndian.Uint32(src) != zstdMagic {
		return 0, nil, false
	}
	descriptor := src[4]
	if descriptor&0x3f != singleSegment {
		return 0, nil, false
	}
	field := src[5:]
	width := 1 << (descriptor >> 6)
	if len(field) < width {
		return 0, nil, false
	}
	switch width {
	case 1:
		size = uint64(field[0])
	case 2:
		size = uint64(binary.LittleEndian.Uint16(field)) + 256
	case 4:
		size = uint64(binary.LittleEndian.Uint32(field))
	default:
		size = binary.LittleEndian.Uint64(field)
	}
	return size, field[width:], true
}
