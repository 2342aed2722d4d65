package seal

import (
	"errors"
	"fmt"

	aead "github.com/tink-crypto/tink-go/v2/aead/subtle"
	mac "github.com/tink-crypto/tink-go/v2/mac/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// secretInfo derives the two keys of F1's small AEAD from one.
const secretInfo = "carekeep/v1 secret aes-ctr hmac"

// secret returns the AEAD for small secrets.
func (s Suite) secret(key []byte) (tink.AEAD, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	switch s {
	case T1:
		gcm, err := aead.NewAESGCM(key)
		if err != nil {
			return nil, fmt.Errorf("seal: prepare AES-GCM: %w", err)
		}
		return gcm, nil
	case F1:
		keys, err := Derive(key, nil, secretInfo, 2*KeySize)
		if err != nil {
			return nil, err
		}
		ctr, err := aead.NewAESCTR(keys[:KeySize], 16)
		if err != nil {
			return nil, fmt.Errorf("seal: prepare AES-CTR: %w", err)
		}
		hmac, err := mac.NewHMAC("SHA256", keys[KeySize:], 32)
		if err != nil {
			return nil, fmt.Errorf("seal: prepare HMAC: %w", err)
		}
		return aead.NewEncryptThenAuthenticate(ctr, hmac, 32)
	}
	return nil, errSuite
}

// Seal encrypts a small secret, such as a keyset, under a 32-byte key; aad is authenticated and not
// stored. The layout:
//
//	T1  nonce(12, random) ‖ ciphertext ‖ tag(16)       AES-256-GCM
//	F1  counter block(16, random) ‖ ciphertext ‖ tag(32)   AES-256-CTR, then
//	    HMAC-SHA256(aad ‖ counter block ‖ ciphertext ‖ length of aad in bits(8, big-endian))
//	    AES key(32) ‖ HMAC key(32) = HKDF-SHA256(key, no salt, "carekeep/v1 secret aes-ctr hmac")
//
// A T1 key may seal 2^32 secrets. Use [Suite.SealStream] for anything large: Seal copies.
func (s Suite) Seal(key, aad, plaintext []byte) ([]byte, error) {
	c, err := s.secret(key)
	if err != nil {
		return nil, err
	}
	sealed, err := c.Encrypt(plaintext, aad)
	if err != nil {
		return nil, errors.New("seal: encryption failed: the plaintext is too long")
	}
	return sealed, nil
}

// Open decrypts what [Suite.Seal] made. Anything else is an [ErrAuthentication].
func (s Suite) Open(key, aad, sealed []byte) ([]byte, error) {
	c, err := s.secret(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := c.Decrypt(sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("seal: open a secret: %w", ErrAuthentication)
	}
	return plaintext, nil
}
