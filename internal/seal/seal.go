// Package seal is the one door to cryptography: every key derivation, encryption, key wrap, signature
// and password derivation of the module passes through here, and nothing else imports a cipher.
//
// It is built from Tink (github.com/tink-crypto/tink-go/v2), the Go standard library and, for Argon2id,
// golang.org/x/crypto. Keys come in as raw bytes and the layouts are frozen; each is stated where it is
// made. Two pieces are written out here because Tink has no form of them that fits, and tests hold both
// to Tink byte for byte in both directions: random access to a stream, and encrypting a stream straight
// into the caller's buffer.
//
// A [Suite] fixes the algorithms of a repository:
//
//	              T1 (default)                    F1 (works under GODEBUG=fips140=only)
//	stream        AES-256-GCM-HKDF, 64 KiB        AES-256-CTR-HMAC-SHA256, 64 KiB
//	small secret  AES-256-GCM, random nonce       AES-256-CTR-HMAC-SHA256
//	key wrap      HPKE ML-KEM-768 + X25519        HPKE ML-KEM-768 + P-256
//	              (X-Wing)
//	password      Argon2id                        PBKDF2-HMAC-SHA256
//	both          HMAC-SHA256, HKDF-SHA256, Ed25519
//
// AES-GCM does not commit to its key: a ciphertext can be made that opens under two keys. Whoever lets a
// stranger choose the ciphertext therefore compares a commitment derived from the key ([SlotKeys])
// before opening anything.
//
// No error carries key material, plaintext or ciphertext.
package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// ErrAuthentication is wrapped by every error that means the bytes are not what was sealed under this
// key: ciphertext, associated data or length differ, a signature does not match, or the key is another.
// Which of these it was cannot be told apart.
var ErrAuthentication = errors.New("ciphertext was altered or the key is wrong")

// errSuite reports a suite that this version does not know.
var errSuite = errors.New("seal: unknown cipher suite: written by a newer version, or damaged")

// Suite names a fixed set of algorithms. The zero value is no suite and every method refuses it.
type Suite byte

// The suites; the numbers are part of the repository format.
const (
	// T1 is the default: the fastest on common processors.
	T1 Suite = 1
	// F1 uses only what Go's FIPS 140-3 module approves, and works under GODEBUG=fips140=only.
	F1 Suite = 2
)

// KeySize is the length in bytes of every symmetric key and of an Ed25519 seed.
const KeySize = 32

// Valid reports whether s is a suite of this version.
func (s Suite) Valid() bool { return s == T1 || s == F1 }

// String returns "T1", "F1" or "unknown suite".
func (s Suite) String() string {
	switch s {
	case T1:
		return "T1"
	case F1:
		return "F1"
	}
	return "unknown suite"
}

// Derive returns n bytes of HKDF-SHA256 (RFC 5869) over secret, which must be uniformly random and hold
// at least 16 bytes. Every purpose has its own info string. n is between 1 and 8,160.
func Derive(secret, salt []byte, info string, n int) ([]byte, error) {
	if len(secret) < 16 {
		return nil, errors.New("seal: secret is shorter than 16 bytes")
	}
	if n < 1 || n > 255*sha256.Size {
		return nil, errors.New("seal: derived length is out of range")
	}
	key, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		return nil, fmt.Errorf("seal: derive a key: %w", err)
	}
	return key, nil
}

// Random fills b from the system's random generator. It never fails: the Go runtime ends the process
// when the system has no randomness.
func Random(b []byte) {
	_, _ = rand.Read(b)
}

// Equal compares two secrets or commitments in time that depends on their lengths only.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// hidden stands for a value that holds keys wherever one is printed.
const hidden = "(hidden)"

func checkKey(key []byte) error {
	if len(key) != KeySize {
		return errors.New("seal: key is not 32 bytes")
	}
	return nil
}
