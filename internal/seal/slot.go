package seal

import (
	"fmt"
	"io"
)

// Info strings of [DeriveSlot].
const (
	slotKeyInfo        = "carekeep/v1 slot key"
	slotCommitmentInfo = "carekeep/v1 slot commitment"
)

// SlotKeys are what one way into a repository (a password, a recovery code, ...) derives: the key that
// opens its slot, and a commitment to that key. The commitment stands in the slot in clear and is compared
// with [Equal] before anything is decrypted, since AES-GCM does not commit to a key. Nothing here says where
// the slot lies: to ask a store for a place that a password derives would let it guess the password.
type SlotKeys struct {
	KEK        [KeySize]byte // secret
	Commitment [32]byte
}

// DeriveSlot derives a slot's keys from root, at least 32 secret bytes such as a stretched password. Each
// field is HKDF-SHA256(root, salt = repoID, info), with info "carekeep/v1 slot key" and
// "carekeep/v1 slot commitment".
func DeriveSlot(root []byte, repoID [16]byte) (SlotKeys, error) {
	var k SlotKeys
	if len(root) < KeySize {
		return k, fmt.Errorf("seal: slot root is shorter than %d bytes", KeySize)
	}
	for _, f := range []struct {
		dst  []byte
		info string
	}{{k.KEK[:], slotKeyInfo}, {k.Commitment[:], slotCommitmentInfo}} {
		b, err := Derive(root, repoID[:], f.info, len(f.dst))
		if err != nil {
			return SlotKeys{}, err
		}
		copy(f.dst, b)
		clear(b)
	}
	return k, nil
}

// Format keeps the key out of every fmt verb.
func (SlotKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText keeps the key out of JSON and of log handlers.
func (SlotKeys) MarshalText() ([]byte, error) { return []byte(hidden), nil }
