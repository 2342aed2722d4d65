package seal

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"
)

// SignatureSize is the length in bytes of a signature, PublicSize that of a signer's public key.
const (
	SignatureSize = ed25519.SignatureSize
	PublicSize    = ed25519.PublicKeySize
)

// Signer signs with Ed25519 (RFC 8032), in both suites. It is safe for concurrent use.
type Signer struct {
	key ed25519.PrivateKey
}

// GenerateSigner returns the 32-byte seed of a fresh signing key.
func GenerateSigner() (seed []byte, err error) {
	seed = make([]byte, KeySize)
	Random(seed)
	return seed, nil
}

// NewSigner returns the signer of a 32-byte seed, of which it keeps a copy.
func NewSigner(seed []byte) (*Signer, error) {
	if err := checkKey(seed); err != nil {
		return nil, err
	}
	return &Signer{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// SignerPublic returns the 32-byte public key of a seed.
func SignerPublic(seed []byte) ([]byte, error) {
	s, err := NewSigner(seed)
	if err != nil {
		return nil, err
	}
	return s.Public(), nil
}

// Public returns the 32-byte public key.
func (s *Signer) Public() []byte { return bytes.Clone(s.key[KeySize:]) }

// Sign returns the 64-byte signature of domain ‖ 0x00 ‖ msg. The domain is a constant that names the kind
// of message, so that no signature can pass for one of another kind; it holds no zero byte, or [Verify]
// refuses the signature.
func (s *Signer) Sign(domain string, msg []byte) []byte {
	return ed25519.Sign(s.key, signed(domain, msg))
}

// Verify checks a signature made by [Signer.Sign]. It returns an [ErrAuthentication] unless sig is valid
// for exactly this public key, domain and message.
func Verify(public []byte, domain string, msg, sig []byte) error {
	if len(public) != PublicSize {
		return errors.New("seal: the signer's public key is not 32 bytes")
	}
	if strings.IndexByte(domain, 0) >= 0 || !ed25519.Verify(public, signed(domain, msg), sig) {
		return fmt.Errorf("seal: signature does not match: %w", ErrAuthentication)
	}
	return nil
}

func signed(domain string, msg []byte) []byte {
	b := make([]byte, 0, len(domain)+1+len(msg))
	b = append(b, domain...)
	b = append(b, 0)
	return append(b, msg...)
}

// Format keeps the key out of every fmt verb.
func (Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }
