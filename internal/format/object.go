package format

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Every object begins with four clear bytes: 'C', 'K', its type, and the version of the format.
const (
	HeaderSize = 4
	Version    = 1
)

// Type is the third byte of an object.
type Type byte

// The types of objects. The letters are frozen.
const (
	TypeFormat   Type = 'F'
	TypeSlot     Type = 'K'
	TypeSession  Type = 'S'
	TypeData     Type = 'P'
	TypeMetadata Type = 'M'
	TypeIndex    Type = 'I'
	TypeRefs     Type = 'R'
	TypeEntry    Type = 'L'
)

// Header returns the first four bytes of an object of type t.
func Header(t Type) []byte { return []byte{'C', 'K', byte(t), Version} }

// CheckHeader refuses an object that is not of type t and of this version. A newer version gives an error
// that wraps [ErrVersion].
func CheckHeader(object []byte, t Type) error {
	if len(object) < HeaderSize || object[0] != 'C' || object[1] != 'K' || Type(object[2]) != t {
		return malformed("it does not begin as such an object does")
	}
	if v := object[3]; v > Version {
		return fmt.Errorf("%w: version %d, this program reads up to %d: use a newer release", ErrVersion, v, Version)
	} else if v < Version {
		return malformed("its version is not a released one")
	}
	return nil
}

// Names of objects in the bucket. No name holds anything but random or hashed bytes and counters.
const (
	FormatKey     = "format"
	FormatCopyKey = "format.copy"
)

// RepoID and SessionID are random; WriterID is the first 8 bytes of SHA-256 of a signer's public key.
type (
	RepoID    [16]byte
	SessionID [16]byte
	SlotID    [16]byte
	WriterID  [8]byte
	SnapID    [16]byte
	HostID    [16]byte
)

func (s SnapID) String() string { return hex.EncodeToString(s[:]) }

// SlotKey names a key slot.
func SlotKey(s SlotID) string { return "keys/" + hex.EncodeToString(s[:]) }

// SessionKey names generation gen of a session's wrapped secret.
func SessionKey(s SessionID, gen uint32) string {
	return "sess/" + hex.EncodeToString(s[:]) + "." + strconv.FormatUint(uint64(gen), 10)
}

// PackKey names a pack by its class, its session and the digest of its bytes.
func PackKey(t Type, s SessionID, h Hash) string {
	prefix := "p/"
	if t == TypeMetadata {
		prefix = "m/"
	}
	return prefix + hex.EncodeToString(s[:]) + "/" + hex.EncodeToString(h[:])
}

// IndexKey names an index segment by the digest of its bytes.
func IndexKey(h Hash) string { return "i/" + hex.EncodeToString(h[:]) }

// RefsKey names a list of references by the digest of its bytes.
func RefsKey(h Hash) string { return "refs/" + hex.EncodeToString(h[:]) }

// EntryKey names entry seq of the commit log.
func EntryKey(seq uint64) string { return fmt.Sprintf("log/%020d", seq) }

// Format is the object that says how a repository is written. It never changes.
type Format struct {
	Suite        byte
	Repo         RepoID
	Created      int64  // milliseconds since 1970 UTC
	AdminKey     []byte // Ed25519 public key that signs this object and every administrative entry
	KDF          KDF
	ChunkMin     uint32
	ChunkAvg     uint32
	ChunkMax     uint32
	PackSize     uint32 // bytes of a full pack
	SingleWriter bool   // the store cannot create exclusively
	Host         HostID // the one host that may write; not zero if and only if SingleWriter
	FirstSlot    SlotID // the key slot that the repository was created with
	Residency    string // free tag of the place the data must rest in, at most 64 bytes; not patient data
}

// KDF is how a password is stretched; package seal gives the numbers their meaning.
type KDF struct {
	Algorithm byte
	Salt      [32]byte
	Time      uint32
	MemoryKiB uint32
	Threads   uint8
}

// Append encodes f without its signature.
func (f *Format) Append(b []byte) []byte {
	b = append(b, Header(TypeFormat)...)
	b = append(b, f.Suite)
	b = append(b, f.Repo[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Created))
	b = appendBytes(b, f.AdminKey)
	b = append(b, f.KDF.Algorithm)
	b = append(b, f.KDF.Salt[:]...)
	b = binary.BigEndian.AppendUint32(b, f.KDF.Time)
	b = binary.BigEndian.AppendUint32(b, f.KDF.MemoryKiB)
	b = append(b, f.KDF.Threads)
	for _, v := range []uint32{f.ChunkMin, f.ChunkAvg, f.ChunkMax, f.PackSize} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	single := byte(0)
	if f.SingleWriter {
		single = 1
	}
	b = append(b, single)
	b = append(b, f.FirstSlot[:]...)
	b = appendString(b, f.Residency)
	if f.SingleWriter {
		b = append(b, f.Host[:]...)
	}
	return b
}

// SignatureSize is the length of every signature, which is the last field of every signed object.
const SignatureSize = 64

func splitSignature(object []byte) (signed, signature []byte, err error) {
	if len(object) < HeaderSize+SignatureSize {
		return nil, nil, malformed("it is too short to be signed")
	}
	n := len(object) - SignatureSize
	return object[:n], object[n:], nil
}

// DecodeFormat decodes a format object and returns the bytes that its signature covers.
func DecodeFormat(object []byte) (f *Format, signed, signature []byte, err error) {
	if err := CheckHeader(object, TypeFormat); err != nil {
		return nil, nil, nil, err
	}
	if signed, signature, err = splitSignature(object); err != nil {
		return nil, nil, nil, err
	}
	d := decoder{b: signed}
	d.take(HeaderSize)
	f = &Format{Suite: d.u8(), Repo: d.short(), Created: int64(d.u64()), AdminKey: d.bytes()}
	f.KDF = KDF{Algorithm: d.u8(), Salt: d.hash(), Time: d.u32(), MemoryKiB: d.u32(), Threads: d.u8()}
	f.ChunkMin, f.ChunkAvg, f.ChunkMax, f.PackSize = d.u32(), d.u32(), d.u32(), d.u32()
	single := d.u8()
	f.SingleWriter = single == 1
	f.FirstSlot = d.short()
	f.Residency = d.str()
	if f.SingleWriter {
		f.Host = d.short()
	}
	if single > 1 || f.SingleWriter != (f.Host != HostID{}) || len(f.Residency) > 64 || f.ChunkMax > MaxChunk || f.PackSize > 64<<20 || len(f.AdminKey) != 32 {
		d.fail("a parameter is out of range")
	}
	return f, signed, signature, d.end()
}

// SlotKind says what opens a slot.
type SlotKind byte

// The kinds of slots. Numbers 3 (recipient) and 4 (break-glass) are taken for later releases.
const (
	SlotPassword SlotKind = 1
	SlotKMS      SlotKind = 2
)

// Slot is one way in: a sealed keyset.
type Slot struct {
	Kind       SlotKind
	Repo       RepoID
	Commitment [32]byte // of the key that opens Sealed, checked before it is tried
	Wrapped    []byte   // KMS: the slot's root secret, encrypted by the key service; else empty
	Sealed     []byte   // the keyset
}

// AppendHead encodes what the keyset is sealed to: all but Sealed.
func (s *Slot) AppendHead(b []byte) []byte {
	b = append(b, Header(TypeSlot)...)
	b = append(b, byte(s.Kind))
	b = append(b, s.Repo[:]...)
	b = append(b, s.Commitment[:]...)
	return appendBytes(b, s.Wrapped)
}

// Append encodes s.
func (s *Slot) Append(b []byte) []byte { return appendBytes(s.AppendHead(b), s.Sealed) }

// DecodeSlot is the inverse of [Slot.Append].
func DecodeSlot(object []byte) (*Slot, error) {
	if err := CheckHeader(object, TypeSlot); err != nil {
		return nil, err
	}
	d := decoder{b: object[HeaderSize:]}
	s := &Slot{Kind: SlotKind(d.u8()), Repo: d.short(), Commitment: d.hash(), Wrapped: d.bytes(), Sealed: d.bytes()}
	return s, d.end()
}

// Keyset is the secrets of the roles. A field is empty where its holder lacks the role.
type Keyset struct {
	Suite      byte
	Repo       RepoID
	AdminKey   []byte // public
	FormatHash Hash   // SHA-256 of the format object
	Dataset    []byte // 32 bytes: ids, chunker and index; writers and readers
	Writer     []byte // Ed25519 seed
	Reader     []byte // HPKE private key
	ReaderKey  []byte // HPKE public key; writers wrap to it
	Admin      []byte // Ed25519 seed
}

// Append encodes k.
func (k *Keyset) Append(b []byte) []byte {
	b = append(b, Version, k.Suite)
	b = append(b, k.Repo[:]...)
	b = append(b, k.FormatHash[:]...)
	for _, v := range [][]byte{k.AdminKey, k.Dataset, k.Writer, k.Reader, k.ReaderKey, k.Admin} {
		b = appendBytes(b, v)
	}
	return b
}

// DecodeKeyset is the inverse of [Keyset.Append].
func DecodeKeyset(b []byte) (*Keyset, error) {
	d := decoder{b: b}
	if v := d.u8(); d.err == nil && v != Version {
		return nil, fmt.Errorf("%w: keyset version %d: use a newer release", ErrVersion, v)
	}
	k := &Keyset{Suite: d.u8(), Repo: d.short(), FormatHash: d.hash()}
	for _, f := range []*[]byte{&k.AdminKey, &k.Dataset, &k.Writer, &k.Reader, &k.ReaderKey, &k.Admin} {
		*f = append([]byte(nil), d.bytes()...)
	}
	return k, d.end()
}

// Wrap is a secret encrypted to one recipient.
type Wrap struct {
	Recipient [8]byte // first 8 bytes of SHA-256 of the recipient's public key
	Sealed    []byte  // HPKE: encapsulated key, then ciphertext
}

func appendWraps(b []byte, ws []Wrap) []byte {
	b = binary.AppendUvarint(b, uint64(len(ws)))
	for _, w := range ws {
		b = append(b, w.Recipient[:]...)
		b = appendBytes(b, w.Sealed)
	}
	return b
}

func (d *decoder) wraps() (ws []Wrap) {
	n := d.count(9)
	for range n {
		var w Wrap
		copy(w.Recipient[:], d.take(8))
		w.Sealed = d.bytes()
		ws = append(ws, w)
	}
	return ws
}

// Session is a session's secret, wrapped to everyone who may read what it wrote.
type Session struct {
	Repo       RepoID
	ID         SessionID
	Generation uint32 // raised when the secret is wrapped anew
	Writer     WriterID
	Created    int64 // milliseconds since 1970 UTC
	Commitment [32]byte
	Wraps      []Wrap
}

// Append encodes s without its signature.
func (s *Session) Append(b []byte) []byte {
	b = append(b, Header(TypeSession)...)
	b = append(b, s.Repo[:]...)
	b = append(b, s.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, s.Generation)
	b = append(b, s.Writer[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Created))
	b = append(b, s.Commitment[:]...)
	return appendWraps(b, s.Wraps)
}

// DecodeSession decodes a session object and returns the bytes that its signature covers.
func DecodeSession(object []byte) (s *Session, signed, signature []byte, err error) {
	if err := CheckHeader(object, TypeSession); err != nil {
		return nil, nil, nil, err
	}
	if signed, signature, err = splitSignature(object); err != nil {
		return nil, nil, nil, err
	}
	d := decoder{b: signed[HeaderSize:]}
	s = &Session{Repo: d.short(), ID: d.short(), Generation: d.u32()}
	copy(s.Writer[:], d.take(8))
	s.Created = int64(d.u64())
	s.Commitment = d.hash()
	s.Wraps = d.wraps()
	return s, signed, signature, d.end()
}
