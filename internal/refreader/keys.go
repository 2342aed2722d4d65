package refreader

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/crypto/argon2"
)

const (
	suiteT1 = 1
	suiteF1 = 2
)

// ErrWrongPassword means that no slot of the repository opens with the password, or with the key service.
var ErrWrongPassword = errors.New("no slot opens with this password or key")

// A Repository is an opened repository.
type Repository struct {
	fsys    fs.FS
	format  format
	reader  hpke.PrivateKey
	dataID  []byte
	metaID  []byte
	index   []byte
	mu      sync.Mutex // guards what follows
	head    uint64     // of the log
	first   uint64     // the entry that it was opened from
	at      uint64     // the slot that state, chain and damage are of
	state   state
	before  state // without the entry at that slot
	undo    bool  // that entry is valid, and can be undone
	chain   [32]byte
	damage  []Damage
	tables  map[[32]byte]*table
	secrets map[[16]byte][]byte
	frames  map[frameKey][]byte
}

// Open opens the repository in a folder tree whose files are its objects, with a password.
func Open(fsys fs.FS, password string) (*Repository, error) {
	return open(fsys, 1, false, func(f *format, _ [16]byte, _ []byte) ([]byte, error) { return f.stretch(password) })
}

// OpenService opens a repository with a key service: decrypt is given the encrypted slot root and the associated
// data, which depends on the name of the key.
func OpenService(fsys fs.FS, name string, decrypt func(ciphertext, aad []byte) ([]byte, error)) (*Repository, error) {
	return open(fsys, 2, false, func(f *format, slot [16]byte, wrapped []byte) ([]byte, error) {
		return decrypt(wrapped, join("carekeep/v1 kms slot", f.repo[:], slot[:], []byte(name)))
	})
}

// A rootFunc gives the slot root for a slot.
type rootFunc func(f *format, slot [16]byte, wrapped []byte) ([]byte, error)

// open does sections 16.1 to 16.3. With full it takes the log from entry 0.
func open(fsys fs.FS, kind byte, full bool, root rootFunc) (*Repository, error) {
	r := &Repository{
		fsys: fsys, tables: map[[32]byte]*table{}, secrets: map[[16]byte][]byte{}, frames: map[frameKey][]byte{},
	}
	err := r.readFormat("format")
	if err != nil && r.readFormat("format.copy") != nil {
		return nil, fmt.Errorf("format object: %w", err)
	}
	if err := r.openLog(full); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if err := r.openSlots(kind, root); err != nil {
		return nil, err
	}
	return r, nil
}

// A format is what the format object says.
type format struct {
	suite              byte
	repo               [16]byte
	admin              []byte
	sum                [32]byte
	kdf, lanes         byte
	salt               [32]byte
	passes, memory     uint32
	minC, avgC, maxC   uint32
	packSize           uint32
	stretched, forPass []byte
}

func (r *Repository) readFormat(name string) error {
	b, err := readObject(r.fsys, name, mib)
	if err != nil {
		return err
	}
	d, err := object(b, 'F')
	if err != nil {
		return err
	}
	f := format{sum: sha256.Sum256(b)}
	f.suite, f.repo = d.u8(), d.id16()
	d.u64() // created
	f.admin = d.bytes()
	f.kdf, f.salt = d.u8(), d.id32()
	f.passes, f.memory, f.lanes = d.u32(), d.u32(), d.u8()
	f.minC, f.avgC, f.maxC, f.packSize = d.u32(), d.u32(), d.u32(), d.u32()
	single := d.u8()
	d.id16() // first slot
	tag := d.bytes()
	host := [16]byte{1}
	if single == 1 {
		host = d.id16()
	}
	d.take(64)
	if err := d.end(); err != nil {
		return err
	}
	switch {
	case !verify(f.admin, "carekeep/v1 format", b):
		return errors.New("bad signature")
	case f.suite != suiteT1 && f.suite != suiteF1:
		return errors.New("unknown suite")
	case f.kdf != f.suite: // 1 is T1 and Argon2id, 2 is F1 and PBKDF2
		return errors.New("not the suite's own password derivation")
	case single > 1, len(tag) > 64, host == [16]byte{}:
		return errMalformed
	case f.minC < 64 || f.minC >= f.avgC || f.avgC >= f.maxC || f.maxC > 4*mib || f.avgC < 1024 ||
		f.avgC&(f.avgC-1) != 0:
		return errors.New("sizes of chunks out of range")
	case f.packSize > 64*mib || f.packSize < 65536+max(mib/2, f.maxC):
		return errors.New("pack size out of range")
	}
	r.format = f
	return nil
}

// stretch is section 5.4.
func (f *format) stretch(password string) ([]byte, error) {
	if f.stretched != nil && string(f.forPass) == password {
		return f.stretched, nil
	}
	var raw []byte
	switch {
	case password == "":
		return nil, errors.New("empty password")
	case f.salt == [32]byte{}:
		return nil, errors.New("password salt is zero")
	case f.kdf == 1 && f.passes >= 1 && f.passes <= 16 && f.memory >= 8192 && f.memory <= mib && f.lanes >= 1 &&
		f.lanes <= 16:
		raw = argon2.IDKey([]byte(password), f.salt[:], f.passes, f.memory, f.lanes, 32)
	case f.kdf == 2 && f.passes >= 1000 && f.passes <= 10_000_000 && f.memory == 0 && f.lanes == 0:
		var err error
		if raw, err = pbkdf2.Key(sha256.New, password, f.salt[:], int(f.passes), 32); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("password parameters out of range")
	}
	f.stretched, f.forPass = derive(raw, f.salt[:], "carekeep/v1 password", 64), []byte(password)
	return f.stretched, nil
}

func derive(secret, salt []byte, info string, n int) []byte {
	k, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		panic(err) // n is a constant within the limits of HKDF
	}
	return k
}

// openSlots finds the slot that the root fits (section 8).
func (r *Repository) openSlots(kind byte, root rootFunc) error {
	var damaged error
	for _, s := range r.state.slots {
		if s.kind != kind {
			continue
		}
		fits, err := r.openSlot(s, root)
		if fits && err == nil {
			return nil
		}
		if err != nil {
			damaged = errors.Join(damaged, fmt.Errorf("slot: %w", err))
		}
	}
	return errors.Join(ErrWrongPassword, damaged)
}

// openSlot reports whether the slot's commitment fits the root, and if so takes the keys.
func (r *Repository) openSlot(s slotRef, root rootFunc) (bool, error) {
	b, err := readObject(r.fsys, "keys/"+hex.EncodeToString(s.id[:]), mib)
	if err != nil {
		return false, err
	}
	d, err := object(b, 'K')
	if err != nil {
		return false, err
	}
	kind, repo, commitment, wrapped := d.u8(), d.id16(), d.id32(), d.bytes()
	aad := b[:len(b)-len(d.b)]
	sealed := d.bytes()
	if err := d.end(); err != nil {
		return false, err
	}
	if kind != s.kind || repo != r.format.repo || kind == 1 && len(wrapped) > 0 {
		return false, errors.New("not the slot that the log names")
	}
	k, err := root(&r.format, s.id, wrapped)
	if err != nil {
		return false, err
	}
	own := derive(k, repo[:], "carekeep/v1 slot commitment", 32)
	if subtle.ConstantTimeCompare(own, commitment[:]) != 1 {
		return false, nil
	}
	ks, err := r.unseal(derive(k, repo[:], "carekeep/v1 slot key", 32), aad, sealed)
	if err != nil {
		return true, err
	}
	return true, r.useKeyset(ks)
}

func (r *Repository) useKeyset(b []byte) error {
	d := &dec{b: b}
	if v := d.u8(); v > 1 {
		return errNewer
	} else if v == 0 {
		return errMalformed
	}
	suite, repo, sum := d.u8(), d.id16(), d.id32()
	admin, dataset := d.bytes(), d.bytes()
	d.bytes() // writer's seed
	private, public := d.bytes(), d.bytes()
	d.bytes() // administrator's seed
	if err := d.end(); err != nil {
		return err
	}
	f := &r.format
	if suite != f.suite || repo != f.repo || sum != f.sum || !bytes.Equal(admin, f.admin) {
		return errors.New("the keyset belongs to another format object")
	}
	if len(dataset) != 32 {
		return errMalformed
	}
	kem := hpke.MLKEM768X25519()
	if suite == suiteF1 {
		kem = hpke.MLKEM768P256()
	}
	var err error
	if r.reader, err = kem.NewPrivateKey(private); err != nil {
		return err
	}
	if !bytes.Equal(r.reader.PublicKey().Bytes(), public) {
		return errors.New("the reader's keys do not belong together")
	}
	r.dataID = derive(dataset, repo[:], "carekeep/v1 data id", 32)
	r.metaID = derive(dataset, repo[:], "carekeep/v1 metadata id", 32)
	r.index = derive(dataset, repo[:], "carekeep/v1 index", 32)
	return nil
}

// unseal is the reverse of Seal (section 5.2).
func (r *Repository) unseal(key, aad, b []byte) ([]byte, error) {
	if r.format.suite == suiteT1 {
		if len(b) < 12 {
			return nil, errAuth
		}
		return openGCM(key, b[:12], b[12:], aad)
	}
	if len(b) < 16+32 {
		return nil, errAuth
	}
	km := derive(key, nil, "carekeep/v1 secret aes-ctr hmac", 64)
	body, tag := b[:len(b)-32], b[len(b)-32:]
	if !hmac.Equal(mac(km[32:], aad, body, be64(uint64(len(aad))*8)), tag) {
		return nil, errAuth
	}
	return ctr(km[:32], body[:16], body[16:]), nil
}

func openGCM(key, nonce, b, aad []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	p, err := gcm.Open(nil, nonce, b, aad)
	if err != nil {
		return nil, errAuth
	}
	return p, nil
}

func ctr(key, iv, b []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys are 32 bytes
	}
	out := make([]byte, len(b))
	cipher.NewCTR(block, iv).XORKeyStream(out, b)
	return out
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// unwrap takes a list of wraps from d and opens the reader's own (section 5.3).
func (r *Repository) unwrap(d *dec, info []byte) ([]byte, error) {
	own := shortID(r.reader.PublicKey().Bytes())
	var mine []byte
	for n := d.count(9); n > 0; n-- {
		to, b := d.short(), d.bytes()
		if to == own && mine == nil {
			mine = b
		}
	}
	switch {
	case d.err != nil:
		return nil, d.err
	case mine == nil:
		return nil, errors.New("not wrapped to this reader")
	}
	p, err := hpke.Open(r.reader, hpke.HKDFSHA256(), hpke.AES256GCM(), info, mine)
	if err != nil {
		return nil, errAuth
	}
	if len(p) != 32 {
		return nil, errMalformed
	}
	return p, nil
}

// scope is suite ‖ repository id, the part that most info strings share.
func (r *Repository) scope() []byte {
	return append([]byte{r.format.suite}, r.format.repo[:]...)
}
