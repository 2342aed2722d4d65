package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

const domainKMS = "carekeep/v1 kms slot"

func (k Key) slotKind() format.SlotKind {
	if k.Password != nil {
		return format.SlotPassword
	}
	return format.SlotKMS
}

// kmsAAD binds what a key service encrypts to the repository, the slot and the service's name.
func kmsAAD(repo format.RepoID, id format.SlotID, name string) []byte {
	b := append([]byte(domainKMS), repo[:]...)
	b = append(b, id[:]...)
	return append(b, name...)
}

// sealSlot makes a slot that the key opens and that holds ks.
func sealSlot(ctx context.Context, f *format.Format, id format.SlotID, key Key, ks *format.Keyset) (*format.Slot, error) {
	slot := &format.Slot{Kind: key.slotKind(), Repo: f.Repo}
	var root []byte
	var err error
	if slot.Kind == format.SlotPassword {
		root, err = seal.KDF(f.KDF).Stretch(ctx, key.Password)
	} else {
		root = make([]byte, 64)
		seal.Random(root)
		if slot.Wrapped, err = key.KMS.Encrypt(root, kmsAAD(f.Repo, id, key.KMSName)); err != nil {
			err = fmt.Errorf("key service: encrypt: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	sk, err := seal.DeriveSlot(root, f.Repo)
	if err != nil {
		return nil, err
	}
	slot.Commitment = sk.Commitment
	slot.Sealed, err = seal.Suite(f.Suite).Seal(sk.KEK[:], slot.AppendHead(nil), ks.Append(nil))
	return slot, err
}

// unlock opens the slot that the key belongs to. Every slot of the key's kind is fetched, and which one
// fits is found out here: the store learns nothing that depends on the password.
func unlock(ctx context.Context, s *store.Store, f *format.Format, object []byte, slots []format.SlotInfo, key Key) (*format.Keyset, format.SlotInfo, error) {
	var root []byte
	if key.Password != nil {
		var err error
		if root, err = seal.KDF(f.KDF).Stretch(ctx, key.Password); err != nil {
			return nil, format.SlotInfo{}, err
		}
	}
	result := ErrWrongKey
	for _, info := range slots {
		if info.Kind != key.slotKind() {
			continue
		}
		ks, err := trySlot(ctx, s, f, object, info.ID, root, key)
		if err == nil {
			return ks, info, nil
		}
		if ctx.Err() != nil {
			return nil, info, ctx.Err()
		}
		// Another slot may still fit. If none does, the most telling error is given: whether a key service
		// refused or did not answer, only its own words say.
		if !errors.Is(err, ErrWrongKey) || errors.Is(result, ErrWrongKey) && err != ErrWrongKey {
			result = err
		}
	}
	return nil, format.SlotInfo{}, result
}

// trySlot opens one slot. The error is ErrWrongKey if it is sound and belongs to another key.
func trySlot(ctx context.Context, s *store.Store, f *format.Format, object []byte, id format.SlotID, root []byte, key Key) (*format.Keyset, error) {
	b, err := s.Get(ctx, format.SlotKey(id), maxSmallObject)
	if err != nil {
		return nil, fmt.Errorf("key slot: %w", err)
	}
	slot, err := format.DecodeSlot(b)
	if err != nil {
		return nil, fmt.Errorf("key slot: %w", err)
	}
	if slot.Repo != f.Repo || slot.Kind != key.slotKind() {
		return nil, fmt.Errorf("key slot: %w: it belongs elsewhere", ErrDamaged)
	}
	if root == nil {
		if root, err = key.KMS.Decrypt(slot.Wrapped, kmsAAD(f.Repo, id, key.KMSName)); err != nil {
			return nil, fmt.Errorf("%w: key service: decrypt: %w", ErrWrongKey, err)
		}
	}
	sk, err := seal.DeriveSlot(root, f.Repo)
	if err != nil {
		return nil, err
	}
	if !seal.Equal(sk.Commitment[:], slot.Commitment[:]) {
		return nil, ErrWrongKey
	}
	plain, err := seal.Suite(f.Suite).Open(sk.KEK[:], slot.AppendHead(nil), slot.Sealed)
	if err != nil {
		return nil, fmt.Errorf("key slot: %w: %w", ErrDamaged, err)
	}
	ks, err := format.DecodeKeyset(plain)
	if err != nil {
		return nil, fmt.Errorf("key slot: %w", err)
	}
	return ks, checkKeyset(ks, f, object)
}

// Slots lists the ways in.
func (r *Repo) Slots() []format.SlotInfo { return r.ledger.State().Slots }

// AddSlot adds a way in. Nothing else of the repository changes.
func (r *Repo) AddSlot(ctx context.Context, key Key) (format.SlotInfo, error) {
	var info format.SlotInfo
	if !r.IsAdmin() || key.isCredential() {
		return info, fmt.Errorf("%w: adding a key needs a password or key service that is in already", ErrRole)
	}
	end, err := r.beginWrite(ctx)
	if err != nil {
		return info, err
	}
	defer end()
	_, have, err := unlock(ctx, r.store, r.format, r.formatObject, r.Slots(), key)
	if err == nil {
		return have, fmt.Errorf("%w, which this key opens already", ErrExists)
	}
	if !errors.Is(err, ErrWrongKey) {
		return info, err
	}
	info = format.SlotInfo{Kind: key.slotKind(), Added: r.now().UnixMilli()}
	seal.Random(info.ID[:])
	slot, err := sealSlot(ctx, r.format, info.ID, key, r.keys)
	if err != nil {
		return info, err
	}
	if err := r.store.Put(ctx, format.SlotKey(info.ID), slot.Append(nil)); err != nil {
		return info, err
	}
	return info, r.logSlot(ctx, format.SlotChange{Slot: info})
}

// RemoveSlot removes a way in. The last one cannot be removed. Whoever copied the slot and knows its key
// can still open what they copied.
func (r *Repo) RemoveSlot(ctx context.Context, id format.SlotID) error {
	if !r.IsAdmin() {
		return fmt.Errorf("%w: removing a key needs a password or key service", ErrRole)
	}
	end, err := r.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	slots := r.Slots()
	var info format.SlotInfo
	for _, s := range slots {
		if s.ID == id {
			info = s
		}
	}
	if info == (format.SlotInfo{}) {
		// A removal that was cut off after the log had it leaves the slot's object.
		there, err := r.store.Exists(ctx, format.SlotKey(id))
		switch {
		case err != nil:
			return err
		case there:
			return r.store.Delete(ctx, format.SlotKey(id))
		}
		return fmt.Errorf("%w: there is no such key slot", ErrWrongKey)
	}
	if len(slots) == 1 {
		return fmt.Errorf("%w: the last key slot cannot be removed: add another first", ErrRole)
	}
	if err := r.logSlot(ctx, format.SlotChange{Removed: true, Slot: info}); err != nil {
		return err
	}
	return r.store.Delete(ctx, format.SlotKey(id))
}

func (r *Repo) logSlot(ctx context.Context, c format.SlotChange) error {
	admin, err := seal.NewSigner(r.keys.Admin)
	if err != nil {
		return err
	}
	_, err = r.ledger.Append(ctx, ledger.Proposal{
		Kind: format.KindSlots, Signer: admin,
		Build: func(*format.State) ([]byte, []byte, error) { return c.Append(nil), nil, nil },
	})
	r.remember()
	return err
}
