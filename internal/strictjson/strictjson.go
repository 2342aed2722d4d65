// Package strictjson decodes JSON that people write and that must not be misread: what is unknown, given twice or
// written in other case is an error with its place.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Line returns the line, from 1, of an offset in data.
func Line(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(offset, len(data))], []byte("\n"))
}

// Decode decodes exactly one JSON value, and returns the offset of an error.
func Decode(data []byte, to any) (int, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		offset := 0
		if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
			offset = int(e.Offset)
		} else if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
			offset = int(e.Offset)
		} else if parts := strings.Split(err.Error(), `"`); len(parts) > 2 {
			// Other errors know no offset, but quote the value or the name that they are about.
			offset = max(0, bytes.Index(data, []byte(`"`+parts[1]+`"`)))
		}
		return offset, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return int(dec.InputOffset()), errors.New("expected nothing after the closing brace")
	}
	return 0, nil
}

// Fields refuses names in objects that are not among fields, a text of names each between spaces, or that occur
// twice in an object, and returns the offset where. It is needed beside [Decode] because encoding/json would
// take "ID" for "id".
func Fields(data []byte, fields string) (int, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // the names seen in each open object; nil for an array
	name := false              // whether the next string is a name
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			if len(open) > 0 {
				return len(data), errors.New("the file ends too early")
			}
			return 0, nil
		}
		if err != nil {
			return int(dec.InputOffset()), err
		}
		switch v := tok.(type) {
		case json.Delim:
			switch v {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			name = len(open) > 0 && open[len(open)-1] != nil
			continue
		case string:
			if name {
				seen := open[len(open)-1]
				if strings.Contains(v, " ") || !strings.Contains(fields, " "+v+" ") {
					return int(dec.InputOffset()), fmt.Errorf("unknown field %q", Clip(v))
				}
				if seen[v] {
					return int(dec.InputOffset()), fmt.Errorf("field %q occurs twice", v)
				}
				seen[v] = true
				name = false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// Slug reports whether s is made of words of lower case letters and digits, with the separators between them.
func Slug(s, separators string) bool {
	after := true // a separator, or the beginning
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			after = false
		case !after && strings.IndexByte(separators, c) >= 0:
			after = true
		default:
			return false
		}
	}
	return !after
}

// Clip shortens text from outside before an error quotes it.
func Clip(s string) string {
	const limit = 60
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
