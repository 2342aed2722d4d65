package residency

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// text returns the word for v, or something that no word is.
func text(words []string, v int) string {
	if v < 0 || v >= len(words) {
		return fmt.Sprintf("invalid %d", v)
	}
	return words[v]
}

// marshal returns the word for v. A value without a word is an error.
func marshal(what string, words []string, v int) ([]byte, error) {
	if v < 0 || v >= len(words) {
		return nil, fmt.Errorf("%s %d: expected 0 to %d", what, v, len(words)-1)
	}
	return []byte(words[v]), nil
}

// unmarshal returns the value of exactly one of the words.
func unmarshal(what string, words []string, b []byte) (int, error) {
	if i := slices.Index(words, string(b)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s %q: expected one of %s", what, strictjson.Clip(string(b)), strings.Join(words, ", "))
}

func (Verdict) words() []string { return []string{"unknown", "denied", "allowed"} }

// String returns "unknown", "denied" or "allowed".
func (v Verdict) String() string { return text(v.words(), int(v)) }

// MarshalText implements [encoding.TextMarshaler].
func (v Verdict) MarshalText() ([]byte, error) { return marshal("verdict", v.words(), int(v)) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads exactly what MarshalText writes.
func (v *Verdict) UnmarshalText(b []byte) error {
	n, err := unmarshal("verdict", v.words(), b)
	*v = Verdict(n)
	return err
}

func (Class) words() []string {
	return []string{"unclassified", "operational", "deidentified", "business", "demographic", "clinical", "identifiable"}
}

// String returns a word such as "identifiable".
func (c Class) String() string { return text(c.words(), int(c)) }

// MarshalText implements [encoding.TextMarshaler].
func (c Class) MarshalText() ([]byte, error) { return marshal("class", c.words(), int(c)) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads exactly what MarshalText writes.
func (c *Class) UnmarshalText(b []byte) error {
	n, err := unmarshal("class", c.words(), b)
	*c = Class(n)
	return err
}

// judged returns the class by which data is judged: what is not classified may be anything.
func (c Class) judged() Class {
	if c == Unclassified {
		return Identifiable
	}
	return c
}

func (Purpose) words() []string {
	return []string{"storage", "restore-test", "recovery", "migration", "exit"}
}

// String returns a word such as "storage".
func (p Purpose) String() string { return text(p.words(), int(p)) }

// MarshalText implements [encoding.TextMarshaler].
func (p Purpose) MarshalText() ([]byte, error) { return marshal("purpose", p.words(), int(p)) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads exactly what MarshalText writes.
func (p *Purpose) UnmarshalText(b []byte) error {
	n, err := unmarshal("purpose", p.words(), b)
	*p = Purpose(n)
	return err
}

func (Level) words() []string { return []string{"declared", "inferred", "observed", "attested"} }

// String returns a word such as "observed".
func (l Level) String() string { return text(l.words(), int(l)) }

// MarshalText implements [encoding.TextMarshaler].
func (l Level) MarshalText() ([]byte, error) { return marshal("level", l.words(), int(l)) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads exactly what MarshalText writes.
func (l *Level) UnmarshalText(b []byte) error {
	n, err := unmarshal("level", l.words(), b)
	*l = Level(n)
	return err
}

func (Holder) words() []string { return []string{"unknown", "customer", "third-party", "provider"} }

// String returns a word such as "customer".
func (h Holder) String() string { return text(h.words(), int(h)) }

// MarshalText implements [encoding.TextMarshaler].
func (h Holder) MarshalText() ([]byte, error) { return marshal("holder", h.words(), int(h)) }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads exactly what MarshalText writes.
func (h *Holder) UnmarshalText(b []byte) error {
	n, err := unmarshal("holder", h.words(), b)
	*h = Holder(n)
	return err
}
