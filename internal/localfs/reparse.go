package localfs

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// Reparse tags of Windows, and the bit that says that a tag stands for another place rather than for
// another way to store the same file.
const (
	tagSymlink   = 0xA000000C
	tagJunction  = 0xA0000003
	tagSocket    = 0x80000023
	tagSurrogate = 0x20000000
)

// FILE_ATTRIBUTE_ bits of Windows.
const (
	attrReadOnly  = 0x1
	attrHidden    = 0x2
	attrSystem    = 0x4
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrTemporary = 0x100
	attrSparse    = 0x200
	attrReparse   = 0x400
	attrCompress  = 0x800
	attrOffline   = 0x1000
	attrNoIndex   = 0x2000
	attrEncrypted = 0x4000
	attrRecall    = 0x40000 | 0x400000 // on open, on data access

	//lint:ignore U1000 used on Windows
	attrSettable = attrReadOnly | attrHidden | attrSystem | attrArchive | attrTemporary | attrNoIndex
)

// relativeLink is the flag of a symbolic link whose target is not an absolute path.
const relativeLink = 1

// linkTarget decodes the target from the data of a symbolic link or junction as the system stores it: what
// was meant for people if there is such a text, else the real one without its prefix.
func linkTarget(b []byte) (string, bool) {
	if len(b) < 16 {
		return "", false
	}
	le := binary.LittleEndian
	names := b[16:]
	switch le.Uint32(b) {
	case tagJunction:
	case tagSymlink:
		if len(b) < 20 {
			return "", false
		}
		names = b[20:]
	default:
		return "", false
	}
	text := func(off, n uint16) (string, bool) {
		if int(off)+int(n) > len(names) || off%2 != 0 || n%2 != 0 {
			return "", false
		}
		return decodeUTF16(names[off : off+n]), true
	}
	if print, ok := text(le.Uint16(b[12:]), le.Uint16(b[14:])); ok && print != "" {
		return print, true
	}
	real, ok := text(le.Uint16(b[8:]), le.Uint16(b[10:]))
	if !ok || real == "" {
		return "", false
	}
	if unc, ok := strings.CutPrefix(real, `\??\UNC\`); ok {
		return `\\` + unc, true
	}
	return strings.TrimPrefix(real, `\??\`), true
}

// linkData is the inverse for a symbolic link. Slashes become backslashes.
func linkData(target string) ([]byte, bool) {
	target = strings.ReplaceAll(target, "/", `\`)
	real, flags := target, uint32(relativeLink)
	switch {
	case strings.HasPrefix(target, `\\?\`), strings.HasPrefix(target, `\??\`):
		real, flags = `\??\`+target[4:], 0
	case strings.HasPrefix(target, `\\`):
		real, flags = `\??\UNC\`+target[2:], 0
	case len(target) >= 3 && target[1:3] == `:\`:
		real, flags = `\??\`+target, 0
	}
	r, p := encodeUTF16(real), encodeUTF16(target)
	if len(r)+len(p) > 16<<10-20 { // the most that Windows takes
		return nil, false
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, tagSymlink)
	b = le.AppendUint16(b, uint16(12+len(r)+len(p)))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, uint16(len(r)))
	b = le.AppendUint16(b, uint16(len(r)))
	b = le.AppendUint16(b, uint16(len(p)))
	b = le.AppendUint32(b, flags)
	return append(append(b, r...), p...), true
}

// decodeUTF16 keeps halves of surrogate pairs that stand alone, as three bytes each, as Go does for names
// on Windows.
func decodeUTF16(b []byte) string {
	var s []byte
	for i := 0; i+1 < len(b); i += 2 {
		r := rune(binary.LittleEndian.Uint16(b[i:]))
		if i+3 < len(b) {
			if pair := utf16.DecodeRune(r, rune(binary.LittleEndian.Uint16(b[i+2:]))); pair != '\uFFFD' {
				s = append(s, string(pair)...)
				i += 2
				continue
			}
		}
		if utf16.IsSurrogate(r) {
			s = append(s, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
			continue
		}
		s = append(s, string(r)...)
	}
	return string(s)
}

func encodeUTF16(s string) []byte {
	var b []byte
	for len(s) > 0 {
		if len(s) >= 3 && s[0] == 0xED && s[1] >= 0xA0 && s[1] <= 0xBF && s[2]&0xC0 == 0x80 { // half a pair
			b = binary.LittleEndian.AppendUint16(b, 0xD000|uint16(s[1]&0x3F)<<6|uint16(s[2]&0x3F))
			s = s[3:]
			continue
		}
		n := len(s)
		for i := range s {
			if i > 0 {
				n = i
				break
			}
		}
		for _, u := range utf16.Encode([]rune(s[:n])) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		s = s[n:]
	}
	return b
}
