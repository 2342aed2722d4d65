package refreader

import (
	"bytes"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const segmentSize = 65536

// A stream reads segments of an encrypted object (section 5.1).
type stream struct {
	suite    byte
	key, mac []byte
	prefix   []byte
	size     int64 // of the object
	tag      int64
	segments int64
}

func (r *Repository) newStream(typ byte, prologue []byte, size int64, key, aad []byte) (*stream, error) {
	s := &stream{suite: r.format.suite, size: size, tag: 16, segments: (size + segmentSize - 1) / segmentSize}
	n := 32
	if s.suite == suiteF1 {
		s.tag, n = 32, 64
	}
	last := size - (s.segments-1)*segmentSize
	if len(prologue) != 40 || prologue[0] != 40 || size < 44+s.tag || s.segments > 1 && last <= s.tag {
		return nil, errMalformed
	}
	k := derive(key, prologue[1:33], string(join("CK", []byte{typ, 1}, aad)), n)
	s.key, s.mac, s.prefix = k[:32], k[32:], prologue[33:]
	return s, nil
}

// bounds gives where segment i lies in the object.
func (s *stream) bounds(i int64) (from, to int64) {
	return max(44, i*segmentSize), min((i+1)*segmentSize, s.size)
}

// open authenticates and decrypts segment i.
func (s *stream) open(i int64, b []byte) ([]byte, error) {
	last := byte(0)
	if i == s.segments-1 {
		last = 1
	}
	nonce := join(string(s.prefix), be32(uint32(i)), []byte{last})
	if s.suite == suiteT1 {
		return openGCM(s.key, nonce, b, nil)
	}
	nonce = append(nonce, 0, 0, 0, 0)
	if int64(len(b)) < s.tag {
		return nil, errAuth
	}
	b, tag := b[:int64(len(b))-s.tag], b[int64(len(b))-s.tag:]
	if !hmac.Equal(mac(s.mac, nonce, b), tag) {
		return nil, errAuth
	}
	return ctr(s.key, nonce, b), nil
}

// openStream decrypts a whole object.
func (r *Repository) openStream(b []byte, typ byte, key, aad []byte) ([]byte, error) {
	if _, err := object(b, typ); err != nil {
		return nil, err
	}
	if len(b) < 44 {
		return nil, errMalformed
	}
	s, err := r.newStream(typ, b[4:44], int64(len(b)), key, aad)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i := range s.segments {
		from, to := s.bounds(i)
		p, err := s.open(i, b[from:to])
		if err != nil {
			return nil, err
		}
		out = append(out, p...)
	}
	return out, nil
}

// A frameKey names a frame.
type frameKey struct {
	typ     byte
	session [16]byte
	pack    [32]byte
	offset  uint32
	said    string // all that the index says of frame and pack, so that a wrong entry does not spoil a good one
}

// frame reads and decodes the frame of a place.
func (r *Repository) frame(p place) ([]byte, error) {
	f, ok := r.frames[p.frame]
	if !ok {
		stored, err := r.readFrame(p)
		if err != nil {
			return nil, fmt.Errorf("pack: %w", err)
		}
		if f, err = decodeFrame(p.codec, stored, int(p.decoded)); err != nil {
			return nil, fmt.Errorf("frame: %w", err)
		}
		if len(r.frames) >= 64 {
			clear(r.frames)
		}
		r.frames[p.frame] = f
	}
	return f, nil
}

// readFrame decrypts the segments that hold the frame.
func (r *Repository) readFrame(p place) ([]byte, error) {
	secret, err := r.session(p.frame.session)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	class, dir := "carekeep/v1 session data", "p/"
	if p.frame.typ == 'M' {
		class, dir = "carekeep/v1 session metadata", "m/"
	}
	key := derive(secret, r.sessionSalt(p.frame.session), class, 32)
	aad := join("carekeep/v1 pack", r.scope(), []byte{p.frame.typ}, p.frame.session[:], be32(p.number))
	s, err := r.newStream(p.frame.typ, p.prologue, int64(p.objectBytes), key, aad)
	if err != nil {
		return nil, err
	}
	name := dir + hex.EncodeToString(p.frame.session[:]) + "/" + hex.EncodeToString(p.frame.pack[:])
	per := segmentSize - s.tag // plaintext of a segment, counting the prologue as plaintext of the first
	from, to := int64(p.frame.offset)+44, int64(p.frame.offset)+int64(p.stored)+44
	var out []byte
	for i := from / per; i*per < to; i++ {
		if i >= s.segments {
			return nil, errMalformed
		}
		a, z := s.bounds(i)
		b, err := readRange(r.fsys, name, a, z-a)
		if err != nil {
			return nil, err
		}
		if b, err = s.open(i, b); err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	skip := from - max(44, from/per*per)
	if skip < 0 || skip+int64(p.stored) > int64(len(out)) {
		return nil, errMalformed
	}
	return out[skip:][:p.stored], nil
}

func (r *Repository) sessionSalt(id [16]byte) []byte {
	return append(r.format.repo[:len(r.format.repo):len(r.format.repo)], id[:]...)
}

// session gives the secret of a session (section 9).
func (r *Repository) session(id [16]byte) ([]byte, error) {
	if s := r.secrets[id]; s != nil {
		return s, nil
	}
	b, err := readObject(r.fsys, "sess/"+hex.EncodeToString(id[:])+".0", mib)
	if err != nil {
		return nil, err
	}
	d, err := object(b, 'S')
	if err != nil {
		return nil, err
	}
	repo, session, generation := d.id16(), d.id16(), d.u32()
	d.short() // writer
	d.u64()   // created
	commitment := d.id32()
	secret, err := r.unwrap(d, join("carekeep/v1 session", r.scope(), id[:], commitment[:]))
	if err != nil {
		return nil, err
	}
	d.take(64) // the signature is for a full check
	if err := d.end(); err != nil {
		return nil, err
	}
	if repo != r.format.repo || session != id || generation != 0 {
		return nil, errors.New("not the session asked for")
	}
	own := derive(secret, r.sessionSalt(id), "carekeep/v1 session commitment", 32)
	if subtle.ConstantTimeCompare(own, commitment[:]) != 1 {
		return nil, errors.New("the secret is not the one committed to")
	}
	r.secrets[id] = secret
	return secret, nil
}

// decodeFrame gives the n bytes of a frame (section 10).
func decodeFrame(codec byte, b []byte, n int) ([]byte, error) {
	switch codec {
	case 0:
		if len(b) != n {
			return nil, errMalformed
		}
		return b, nil
	case 1:
		return decodeZstd(b, n)
	case 2:
		if len(b) < 1 || b[0] > 3 || int(b[0]&1) > n {
			return nil, errMalformed
		}
		f, err := decodeZstd(b[1:], n)
		if err != nil {
			return nil, err
		}
		return unfilter(f, int(b[0]&1), 1+int(b[0]>>1)), nil
	}
	return nil, errors.New("unknown codec")
}

// unfilter undoes codec 2: samples from offset o, at distance dist.
func unfilter(f []byte, o, dist int) []byte {
	m := (len(f) - o) / 2
	out := bytes.Clone(f) // the first o bytes and the odd last one stay
	low, high := f[o:o+m], f[o+m:o+2*m]
	x := make([]uint16, m)
	for i := range m {
		x[i] = uint16(low[i]) | uint16(high[i])<<8 - 128
		if i >= dist {
			x[i] += x[i-dist]
		}
		binary.LittleEndian.PutUint16(out[o+2*i:], x[i])
	}
	return out
}

var zstdReader, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8*mib))

// decodeZstd decodes a Zstandard frame of exactly the shape that section 10 asks for.
func decodeZstd(b []byte, n int) ([]byte, error) {
	if len(b) < 6 || binary.LittleEndian.Uint32(b) != 0xFD2FB528 || b[4]&0x3f != 0x20 {
		return nil, errMalformed
	}
	width := 1 << (b[4] >> 6)
	if len(b) < 5+width {
		return nil, errMalformed
	}
	var size [8]byte
	copy(size[:], b[5:5+width])
	content := binary.LittleEndian.Uint64(size[:])
	if width == 2 {
		content += 256
	}
	if content != uint64(n) {
		return nil, errMalformed
	}
	for rest, last := b[5+width:], false; !last; {
		if len(rest) < 3 {
			return nil, errMalformed
		}
		h := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		last = h&1 == 1
		size := h >> 3
		switch h >> 1 & 3 {
		case 1:
			size = 1 // one byte, repeated
		case 3:
			return nil, errMalformed
		}
		if len(rest) < 3+size || last && len(rest) != 3+size {
			return nil, errMalformed
		}
		rest = rest[3+size:]
	}
	out, err := zstdReader.DecodeAll(b, make([]byte, 0, n))
	if err != nil || len(out) != n {
		return nil, errMalformed
	}
	return out, nil
}
