package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// decode reads the JSON of one value strictly: a field mistyped must not change when backups run, or where they go. A
// field that is not known, that is given twice or that is written in other case is an error with its line. Types
// that read themselves, as those of package rotation do, are as strict as they are.
func decode(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := (&reader{d}).value(reflect.TypeOf(to).Elem()); err != nil {
		return at(data, d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return at(data, d.InputOffset(), errors.New("there is more after its end"))
	}
	d = json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(to); err != nil {
		return at(data, offset(data, err, d), err)
	}
	return nil
}

// at says in which line an error is.
func at(data []byte, offset int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is empty or breaks off")
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n")), err)
}

// offset is where an error of the decoder is. Those of types that read themselves tell no place but quote what they are
// about.
func offset(data []byte, err error, d *json.Decoder) int64 {
	if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
		return e.Offset
	}
	if parts := strings.Split(err.Error(), `"`); len(parts) > 2 {
		return int64(max(0, bytes.Index(data, []byte(`"`+parts[1]+`"`))))
	}
	return d.InputOffset()
}

// reader goes through JSON beside the type that it is for.
type reader struct{ *json.Decoder }

// value reads the next value, which t is for; nil where anything may stand.
func (r *reader) value(t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && (reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())) {
		t = nil
	}
	if t == nil {
		var skipped json.RawMessage
		return r.Decode(&skipped)
	}
	token, err := r.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return r.object(t)
	case json.Delim('['):
		for r.More() {
			if err := r.value(member(t)); err != nil {
				return err
			}
		}
		_, err = r.Token()
	}
	return err
}

// object reads the rest of an object.
func (r *reader) object(t reflect.Type) error {
	var seen []string
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return err
		}
		name := fmt.Sprint(token)
		// Names that differ only in their case are one field to encoding/json.
		if slices.ContainsFunc(seen, func(s string) bool { return strings.EqualFold(s, name) }) {
			return fmt.Errorf("the field %q is given twice", name)
		}
		seen = append(seen, name)
		of, ok := field(t, name)
		if !ok {
			return fmt.Errorf("unknown field %q", name)
		}
		if err := r.value(of); err != nil {
			return err
		}
	}
	_, err := r.Token()
	return err
}

// member is the type of the members of a list; nil if t is none, which the decoder finds out.
func member(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return nil
}

// field is the type of a field.
func field(t reflect.Type, name string) (reflect.Type, bool) {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && name != "" {
				return f.Type, true
			}
		}
		return nil, false
	}
	return nil, true
}
