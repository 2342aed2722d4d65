package dirblob

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxName is the longest file name that all common file systems take, in bytes.
const maxName = 255

const hexDigits = "0123456789abcdef"

// location is where the object of a key lives, relative to the root.
type location struct {
	folder string // "" is the root
	name   string
}

func (l location) path() string { return filepath.Join(l.folder, l.name) }

// locate maps a key to its place.
func locate(key string) (location, error) {
	if key == "" {
		return location{}, invalid("use a key: it is empty")
	}
	if !utf8.ValidString(key) {
		return location{}, invalid("use a key: it is not valid UTF-8")
	}
	cut := strings.LastIndexByte(key, '/')
	name := escape(key[cut+1:])
	if len(name) > maxName {
		return location{}, invalid("use a key: a segment is longer than 255 bytes once escaped; shorten it")
	}
	if cut < 0 {
		return location{name: name}, nil
	}
	folder, ok := escapeFolder(key[:cut])
	if !ok {
		return location{}, invalid("use a key: a segment is longer than 255 bytes once escaped; shorten it")
	}
	return location{folder: folder, name: name}, nil
}

// escapeFolder maps the part of a key before a slash to the path of a folder.
// It is false where a segment is too long to exist.
func escapeFolder(key string) (string, bool) {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		if segments[i] = escape(s); len(segments[i]) > maxName {
			return "", false
		}
	}
	return strings.Join(segments, string(filepath.Separator)), true
}

// escape maps a segment of a key to a file name.
func escape(segment string) string {
	if segment == "" {
		return "%"
	}
	bare := true
	for i := range len(segment) {
		if !literal(segment, i) {
			bare = false
			break
		}
	}
	device := reservedName(segment)
	if bare && !device {
		return segment
	}
	var out strings.Builder
	for i := range len(segment) {
		if c := segment[i]; literal(segment, i) && !(i == 0 && device) {
			out.WriteByte(c)
		} else {
			out.WriteByte('%')
			out.WriteByte(hexDigits[c>>4])
			out.WriteByte(hexDigits[c&15])
		}
	}
	return out.String()
}

// literal is whether byte i of the segment stands for itself. A leading dot
// hides a file and a trailing one is dropped by Windows, so neither does.
func literal(segment string, i int) bool {
	switch c := segment[i]; {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
		return true
	case c == '.':
		return i > 0 && i < len(segment)-1
	}
	return false
}

// reservedName is whether Windows takes the name for a device, whatever its
// extension. Upper-case forms are escaped anyway.
func reservedName(segment string) bool {
	base, _, _ := strings.Cut(segment, ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(base) == 4 && (base[:3] == "com" || base[:3] == "lpt") && '0' <= base[3] && base[3] <= '9'
}

// unescape is the inverse of escape. It is false for every name that escape
// never returns: those are not ours.
func unescape(name string) (string, bool) {
	if name == "%" {
		return "", true
	}
	segment := name
	if strings.IndexByte(name, '%') >= 0 {
		out := make([]byte, 0, len(name))
		for i := 0; i < len(name); i++ {
			if name[i] != '%' {
				out = append(out, name[i])
				continue
			}
			if i+2 >= len(name) {
				return "", false
			}
			hi, lo := strings.IndexByte(hexDigits, name[i+1]), strings.IndexByte(hexDigits, name[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			out = append(out, byte(hi<<4|lo))
			i += 2
		}
		segment = string(out)
	}
	if segment == "" || strings.IndexByte(segment, '/') >= 0 || !utf8.ValidString(segment) || escape(segment) != name {
		return "", false
	}
	return segment, true
}
