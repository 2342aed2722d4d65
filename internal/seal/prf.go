package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// PRF is a keyed pseudorandom function, HMAC-SHA256: without the key its results look random and cannot
// be tied to the data. It equals Tink's HMAC PRF. A PRF is not safe for concurrent use; give every
// goroutine its own [PRF.Clone].
type PRF struct {
	key [KeySize]byte
	mac hash.Hash
	sum [sha256.Size]byte // kept here so that a caller's result need not move to the heap
}

// NewPRF returns the function for a 32-byte key, of which it keeps a copy.
func NewPRF(key []byte) (*PRF, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	p := &PRF{key: [KeySize]byte(key)}
	p.mac = hmac.New(sha256.New, p.key[:])
	return p, nil
}

// Clone returns an independent PRF with the same key. It may be called from several goroutines at once,
// also while p is in use.
func (p *PRF) Clone() *PRF {
	c := &PRF{key: p.key}
	c.mac = hmac.New(sha256.New, c.key[:])
	return c
}

// Sum sets *dst to the value for data, without allocating. Data may be empty.
func (p *PRF) Sum(dst *[sha256.Size]byte, data []byte) {
	p.mac.Reset()
	p.mac.Write(data)
	p.mac.Sum(p.sum[:0])
	*dst = p.sum
}

// Format keeps the key out of every fmt verb.
func (PRF) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }
