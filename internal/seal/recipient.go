package seal

import (
	"crypto/hpke"
	"errors"
	"fmt"
)

// kem returns the key encapsulation of HPKE. Both are hybrids: safe as long as either the lattice or
// the curve is.
func (s Suite) kem() (hpke.KEM, error) {
	switch s {
	case T1:
		return hpke.MLKEM768X25519(), nil
	case F1:
		return hpke.MLKEM768P256(), nil
	}
	return nil, errSuite
}

// GenerateRecipient returns a fresh private key: a seed of 32 bytes.
func GenerateRecipient(s Suite) (private []byte, err error) {
	kem, err := s.kem()
	if err != nil {
		return nil, err
	}
	k, err := kem.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("seal: make a recipient key: %w", err)
	}
	return k.Bytes()
}

// RecipientPublic returns the public key of a private one: ML-KEM-768 encapsulation key (1,184 bytes)
// followed by the curve point, 1,216 bytes in all for T1 (X25519) and 1,249 for F1 (P-256, uncompressed).
func RecipientPublic(s Suite, private []byte) ([]byte, error) {
	k, err := s.recipient(private)
	if err != nil {
		return nil, err
	}
	return k.PublicKey().Bytes(), nil
}

func (s Suite) recipient(private []byte) (hpke.PrivateKey, error) {
	kem, err := s.kem()
	if err != nil {
		return nil, err
	}
	if err := checkKey(private); err != nil {
		return nil, err
	}
	k, err := kem.NewPrivateKey(private)
	if err != nil {
		return nil, errors.New("seal: the recipient's private key is malformed")
	}
	return k, nil
}

// Wrap encrypts plaintext to a recipient's public key by HPKE (RFC 9180, base mode, one message with
// empty associated data, HKDF-SHA256, AES-256-GCM), bound to info. The result is the encapsulated key,
// 1,120 bytes (T1, KEM 0x647a) or 1,153 bytes (F1, KEM 0x0050), then the ciphertext and a tag of 16 bytes.
// It does not tell who wrapped: anyone can, so what is wrapped is signed by its writer.
func Wrap(s Suite, public, info, plaintext []byte) ([]byte, error) {
	kem, err := s.kem()
	if err != nil {
		return nil, err
	}
	k, err := kem.NewPublicKey(public)
	if err != nil {
		return nil, errors.New("seal: the recipient's public key is malformed")
	}
	wrapped, err := hpke.Seal(k, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal: wrap to a recipient: %w", err)
	}
	return wrapped, nil
}

// Unwrap decrypts what [Wrap] made for the public key of private under the same info. Anything else is
// an [ErrAuthentication].
func Unwrap(s Suite, private, info, wrapped []byte) ([]byte, error) {
	k, err := s.recipient(private)
	if err != nil {
		return nil, err
	}
	plaintext, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.AES256GCM(), info, wrapped)
	if err != nil {
		return nil, fmt.Errorf("seal: unwrap for a recipient: %w", ErrAuthentication)
	}
	return plaintext, nil
}
