package media

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/rotation"
)

// Nonce makes a label unique: the caller draws it from a cryptographic random source when a medium is
// initialised. Its text is hexadecimal.
type Nonce [16]byte

// String returns the nonce in hexadecimal.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (n Nonce) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Nonce) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(n) {
		return fmt.Errorf("nonce: expected %d hexadecimal digits", 2*len(n))
	}
	copy(n[:], b)
	return nil
}

// Identity is what a medium is, whatever its drive letter and its sticker say: three drives may share a
// volume name, and letters go round.
type Identity struct {
	Serial string // the hardware's serial number
	Volume string // the file system's or tape's id
	Nonce  Nonce  // of its newest label
}

// Label is written to a medium when it is initialised, and signed by the repository's key.
type Label struct {
	Repository string // the repository's id
	Name       string // on the sticker
	Serial     string
	Volume     string
	Nonce      Nonce
	Day        rotation.Day // when it was initialised
	Signature  []byte
}

// labelDomain separates signatures of labels from all others.
const labelDomain = "carekeep/v1 medium label"

// SigningBytes is what a label's signature covers: every field but the signature, each preceded by its
// length, so that no two labels have the same bytes.
func (l Label) SigningBytes() []byte {
	var b bytes.Buffer
	for _, s := range []string{labelDomain, l.Repository, l.Name, l.Serial, l.Volume, string(l.Nonce[:]), l.Day.String()} {
		_ = binary.Write(&b, binary.BigEndian, uint64(len(s))) // a buffer takes everything
		b.WriteString(s)
	}
	return b.Bytes()
}

// Sign returns the label with its signature, an Ed25519 signature of [Label.SigningBytes] (RFC 8032) made
// by sign: a private key's method, or a call to a key store. It refuses a label that identifies nothing.
func (l Label) Sign(sign func(message []byte) ([]byte, error)) (Label, error) {
	if err := l.check(); err != nil {
		return Label{}, err
	}
	sig, err := sign(l.SigningBytes())
	if err != nil {
		return Label{}, fmt.Errorf("sign label: %w", err)
	}
	if len(sig) != ed25519.SignatureSize {
		return Label{}, fmt.Errorf("sign label: a signature of %d bytes is not an Ed25519 signature, which has %d",
			len(sig), ed25519.SignatureSize)
	}
	l.Signature = sig
	return l, nil
}

func (l Label) check() error {
	switch {
	case l.Repository == "" || l.Name == "":
		return errors.New("label: it needs a repository and a name")
	case l.Serial == "" && l.Volume == "":
		return errors.New("label: it needs the hardware's serial number or the volume's id, otherwise any drive could carry it")
	case l.Nonce == Nonce{}:
		return errors.New("label: it needs a random nonce")
	}
	return nil
}

// ErrForged is returned by [Label.Verify] for a label that the key did not sign.
var ErrForged = errors.New("the label's signature is not by this repository")

// Verify checks the signature with the repository's public key.
func (l Label) Verify(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("verify label: a public key has %d bytes, not %d", ed25519.PublicKeySize, len(pub))
	}
	if !ed25519.Verify(pub, l.SigningBytes(), l.Signature) {
		return ErrForged
	}
	return nil
}

// Sighting is what a host saw when a medium was plugged in.
type Sighting struct {
	Serial, Volume string
	Label          *Label // nil: none could be read
}

// Finding says what a sighting means.
type Finding string

// Findings.
const (
	Known      Finding = "known"      // the medium of the register, label, hardware and all
	Unlabelled Finding = "unlabelled" // no label, and not in the register: new, or not ours
	Wiped      Finding = "wiped"      // a medium of the register whose label is gone
	Forged     Finding = "forged"     // the signature is wrong
	Foreign    Finding = "foreign"    // a good label of another repository, or of no medium in the register
	Cloned     Finding = "cloned"     // the label of one of our media on other hardware, or on another volume
	Swapped    Finding = "swapped"    // our hardware with the label of another of our media
	Stale      Finding = "stale"      // an older label of this medium, which was initialised again since
)

// Identify finds the medium of a sighting in the register. The name is that of the medium that the label
// or else the hardware points to, empty where neither does. Only [Known] may ever be written.
func Identify(s Sighting, repository string, register []Medium, pub ed25519.PublicKey) (name string, f Finding) {
	hardware := func() *Medium {
		for i, m := range register {
			if s.Serial != "" && m.Identity.Serial == s.Serial || s.Serial == "" && s.Volume != "" && m.Identity.Volume == s.Volume {
				return &register[i]
			}
		}
		return nil
	}()
	if s.Label == nil {
		if hardware != nil {
			return hardware.Name, Wiped
		}
		return "", Unlabelled
	}
	l := *s.Label
	if l.Verify(pub) != nil {
		if hardware != nil {
			return hardware.Name, Forged
		}
		return "", Forged
	}
	var named *Medium
	for i, m := range register {
		if m.Name == l.Name {
			named = &register[i]
		}
	}
	if l.Repository != repository || named == nil {
		return "", Foreign
	}
	switch {
	case hardware != nil && hardware.Name != named.Name:
		return named.Name, Swapped
	case s.Serial != l.Serial || s.Volume != l.Volume:
		return named.Name, Cloned
	case l.Nonce != named.Identity.Nonce:
		return named.Name, Stale
	case s.Serial != named.Identity.Serial || s.Volume != named.Identity.Volume:
		return named.Name, Cloned
	}
	return named.Name, Known
}
