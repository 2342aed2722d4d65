package seal

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Values of [KDF.Algorithm]; part of the repository format.
const (
	Argon2id byte = 1 // RFC 9106, version 0x13
	PBKDF2   byte = 2 // RFC 8018, HMAC-SHA256
)

// Bounds that [KDF.Check] sets. The upper ones keep a hostile repository from costing more than a GiB
// and some seconds; the lower ones keep it from being feeble.
const (
	minArgonKiB   = 8 << 10
	maxArgonKiB   = 1 << 20
	maxArgonTime  = 16
	maxThreads    = 16
	minIterations = 1_000
	maxIterations = 10_000_000
)

const stretchInfo = "carekeep/v1 password"

// KDF turns a password into a key slowly. It is stored in clear beside what it protects.
type KDF struct {
	Algorithm byte
	Salt      [32]byte
	Time      uint32 // passes (Argon2id) or iterations (PBKDF2)
	MemoryKiB uint32 // Argon2id; 0 for PBKDF2
	Threads   uint8  // lanes (Argon2id); 0 for PBKDF2
}

// DefaultKDF returns today's parameters for a suite with a fresh salt. T1: Argon2id with 64 MiB, 3 passes
// and 4 lanes, the second recommendation of RFC 9106. F1: PBKDF2 with 600,000 iterations.
func DefaultKDF(s Suite) (KDF, error) {
	var k KDF
	switch s {
	case T1:
		k = KDF{Algorithm: Argon2id, Time: 3, MemoryKiB: 64 << 10, Threads: 4}
	case F1:
		k = KDF{Algorithm: PBKDF2, Time: 600_000}
	default:
		return KDF{}, errSuite
	}
	Random(k.Salt[:])
	return k, nil
}

// Check refuses parameters that are too dear to run or too cheap to protect anything. Argon2id: 8 MiB to
// 1 GiB, 1 to 16 passes, 1 to 16 lanes. PBKDF2: 1,000 to 10,000,000 iterations. The lowest values are for
// tests; new repositories use [DefaultKDF].
func (k KDF) Check() error {
	if k.Salt == [32]byte{} {
		return errors.New("seal: password derivation has no salt")
	}
	var ok bool
	switch k.Algorithm {
	case Argon2id:
		ok = k.Time >= 1 && k.Time <= maxArgonTime && k.MemoryKiB >= minArgonKiB && k.MemoryKiB <= maxArgonKiB &&
			k.Threads >= 1 && k.Threads <= maxThreads
	case PBKDF2:
		ok = k.Time >= minIterations && k.Time <= maxIterations && k.MemoryKiB == 0 && k.Threads == 0
	default:
		return errors.New("seal: unknown password derivation: written by a newer version, or damaged")
	}
	if !ok {
		return errors.New("seal: password derivation parameters are out of bounds")
	}
	return nil
}

// Stretch returns 64 bytes: HKDF-SHA256(D, salt, "carekeep/v1 password"), where D is 32 bytes of Argon2id
// or PBKDF2 over password and salt. The second step spares PBKDF2 a second full run that an attacker
// would skip.
//
// It refuses what [KDF.Check] refuses, and an empty password. The context is looked at before and after
// the derivation, which cannot be broken off: about 0.3 s at the defaults, and seconds at the bounds.
func (k KDF) Stretch(ctx context.Context, password []byte) ([]byte, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	if len(password) == 0 {
		return nil, errors.New("seal: the password is empty")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := k.slow(password)
	if err != nil {
		return nil, err
	}
	defer clear(d)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return Derive(d, k.Salt[:], stretchInfo, 64)
}

func (k KDF) slow(password []byte) ([]byte, error) {
	if k.Algorithm == Argon2id {
		return argon2.IDKey(password, k.Salt[:], k.Time, k.MemoryKiB, k.Threads, KeySize), nil
	}
	d, err := pbkdf2.Key(sha256.New, string(password), k.Salt[:], int(k.Time), KeySize)
	if err != nil {
		return nil, fmt.Errorf("seal: derive from a password: %w", err)
	}
	return d, nil
}
