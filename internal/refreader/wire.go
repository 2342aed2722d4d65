// Package refreader is an independent reader of Carekeep repositories. It was written from the specification
// (backup/FORMAT.md) alone and shares no code with the rest of the module, which its tests enforce. That it reads
// the test vectors proves the specification complete; it is written to be read next to it, not to be fast.
package refreader

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

const mib = 1 << 20

var (
	errMalformed = errors.New("malformed")
	errMissing   = errors.New("an object is missing")
	errNewer     = errors.New("written by a newer release")
	errAuth      = errors.New("does not authenticate")
)

// A dec decodes fields from the front of b. After the first error all fields are zero.
type dec struct {
	b   []byte
	err error
}

func (d *dec) fail() {
	if d.err == nil {
		d.err = errMalformed
	}
	d.b = nil
}

// check makes the decoder fail if a rule is broken.
func (d *dec) check(ok bool) {
	if !ok {
		d.fail()
	}
}

func (d *dec) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *dec) fill(p []byte) { copy(p, d.take(uint64(len(p)))) }
func (d *dec) id16() (v [16]byte) {
	d.fill(v[:])
	return v
}

func (d *dec) id32() (v [32]byte) {
	d.fill(v[:])
	return v
}

func (d *dec) short() (v [8]byte) {
	d.fill(v[:])
	return v
}

func (d *dec) u8() byte {
	var v [1]byte
	d.fill(v[:])
	return v[0]
}

func (d *dec) u32() uint32 {
	var v [4]byte
	d.fill(v[:])
	return binary.BigEndian.Uint32(v[:])
}

func (d *dec) u64() uint64 {
	var v [8]byte
	d.fill(v[:])
	return binary.BigEndian.Uint64(v[:])
}

func (d *dec) uv() uint64 {
	var v uint64
	for i := 0; d.err == nil; i++ {
		c := d.u8()
		if i == 9 && c > 1 || i > 0 && c == 0 {
			d.fail() // over 64 bits, or not minimal
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			break
		}
	}
	if d.err != nil {
		return 0
	}
	return v
}

func (d *dec) sv() int64 {
	u := d.uv()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *dec) bytes() []byte { return d.take(d.uv()) }

// count is a count of things of at least min bytes each.
func (d *dec) count(min int) int {
	n := d.uv()
	if n > uint64(len(d.b)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

// end fails if anything is left over.
func (d *dec) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

// object starts to decode an object of a type.
func object(b []byte, typ byte) (*dec, error) {
	switch {
	case len(b) < 4 || b[0] != 'C' || b[1] != 'K' || b[2] != typ || b[3] == 0:
		return nil, errMalformed
	case b[3] > 1:
		return nil, errNewer
	}
	return &dec{b: b[4:]}, nil
}

// verify checks Signed(domain) of a whole object.
func verify(key []byte, domain string, b []byte) bool {
	if len(key) != ed25519.PublicKeySize || len(b) < ed25519.SignatureSize {
		return false
	}
	body, sig := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	return ed25519.Verify(key, join(domain, []byte{0}, body), sig)
}

// join is domain ‖ parts.
func join(domain string, parts ...[]byte) []byte {
	b := []byte(domain)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func shortID(key []byte) [8]byte {
	h := sha256.Sum256(key)
	return [8]byte(h[:8])
}

// plain takes the name of the object out of an error.
func plain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return fmt.Errorf("read object: %w", pe.Err)
	}
	return err
}

// readObject reads a whole object of at most limit bytes.
func readObject(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, plain(err)
	}
	if int64(len(b)) > limit {
		return nil, errors.New("an object is larger than the format allows")
	}
	return b, nil
}

// readRange reads n bytes of an object from offset off.
func readRange(fsys fs.FS, name string, off, n int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if ra, ok := f.(io.ReaderAt); ok {
		_, err = io.ReadFull(io.NewSectionReader(ra, off, n), b)
	} else if _, err = io.CopyN(io.Discard, f, off); err == nil {
		_, err = io.ReadFull(f, b)
	}
	return b, plain(err)
}
