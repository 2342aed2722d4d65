package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/source"
)

// Key is one way into a repository.
type Key struct {
	key engine.Key
}

// Password is a key that a person remembers. It holds every role: writer, reader and administrator. The
// bytes are used as they are, so normalise what people type.
func Password(password string) Key {
	return Key{engine.Key{Password: []byte(password)}}
}

// KMS is a key held by a key service, such as those of Tink's integrations for AWS, Google Cloud and
// Vault. It holds every role. The name tells key services of one repository apart, usually by the URI of
// the service's key; only a digest of it is stored. The service is asked once when the slot is made, and
// once at every opening for each slot of a key service. Its error is wrapped beside [ErrWrongKey], because a
// service that refuses and one that does not answer look the same.
func KMS(name string, service tink.AEAD) Key {
	if service == nil { // which would otherwise be the host's credential
		service = noService{}
	}
	return Key{engine.Key{KMSName: name, KMS: steadyService{service}}}
}

// steadyService makes a panic of a key service its error.
type steadyService struct{ tink.AEAD }

func (s steadyService) Encrypt(plaintext, associated []byte) (_ []byte, err error) {
	defer source.Recover(&err)
	return s.AEAD.Encrypt(plaintext, associated)
}

func (s steadyService) Decrypt(ciphertext, associated []byte) (_ []byte, err error) {
	defer source.Recover(&err)
	return s.AEAD.Decrypt(ciphertext, associated)
}

// noService is the key service that a caller has not made.
type noService struct{}

var errNoService = errors.New("there is no key service: it is nil")

func (noService) Encrypt(_, _ []byte) ([]byte, error) { return nil, errNoService }
func (noService) Decrypt(_, _ []byte) ([]byte, error) { return nil, errNoService }

// Credential is the key that this host holds after it has opened the repository once with another one. It
// holds the writer's role alone: it can add snapshots, and neither read nor remove what was committed.
func Credential() Key { return Key{} }

// KeySlot is one of the ways into a repository.
type KeySlot struct {
	ID    string // hexadecimal
	Kind  string // "password" or "kms"
	Added time.Time
}

func slotOf(s format.SlotInfo) KeySlot {
	kind := "unknown"
	switch s.Kind {
	case format.SlotPassword:
		kind = "password"
	case format.SlotKMS:
		kind = "kms"
	}
	return KeySlot{ID: hex.EncodeToString(s.ID[:]), Kind: kind, Added: time.UnixMilli(s.Added)}
}

// Keys lists the ways into the repository.
func (r *Repository) Keys() []KeySlot {
	var out []KeySlot
	for _, s := range r.e.Slots() {
		out = append(out, slotOf(s))
	}
	return out
}

// AddKey adds a way in. No data is moved. It needs the administrator's role.
func (r *Repository) AddKey(ctx context.Context, k Key) (KeySlot, error) {
	s, err := r.e.AddSlot(ctx, k.key)
	if err != nil {
		return KeySlot{}, fmt.Errorf("backup: add key: %w", err)
	}
	return slotOf(s), nil
}

// RemoveKey removes a way in by its id. No data is moved. The last one cannot be removed. It does not
// help against someone who has copied both the slot and the key: they hold the repository's secrets. It
// needs the administrator's role.
func (r *Repository) RemoveKey(ctx context.Context, id string) error {
	var slot format.SlotID
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != len(slot) {
		return fmt.Errorf("backup: remove key: %w: an id has 32 hexadecimal digits", ErrWrongKey)
	}
	copy(slot[:], b)
	if err := r.e.RemoveSlot(ctx, slot); err != nil {
		return fmt.Errorf("backup: remove key: %w", err)
	}
	return nil
}
