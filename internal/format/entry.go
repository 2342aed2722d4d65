package format

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ID names a chunk: the keyed PRF of its plaintext.
type ID [32]byte

// Hash is a SHA-256 digest of an object's bytes.
type Hash [32]byte

func (h Hash) String() string { return fmt.Sprintf("%x", h[:]) }

// Limits that a decoder enforces, so that a hostile repository cannot exhaust the reader.
const (
	MaxChunk  = 4 << 20  // plaintext bytes of one chunk
	MaxFrame  = 4 << 20  // plaintext bytes of one frame
	MaxPath   = 64 << 10 // bytes of one path
	MaxInline = 64       // references that an entry holds itself
	MaxLevel  = 12       // levels of any tree of nodes
	MaxRefs   = 4096     // references in one node
	MaxFanout = 2048     // children of one node
	MaxXattrs = 4096     // extended attributes of an entry
)

// Kind says what an entry is.
type Kind byte

// The kinds of entries. The numbers are frozen.
const (
	Dir         Kind = 1
	File        Kind = 2
	Symlink     Kind = 3
	FIFO        Kind = 4
	Socket      Kind = 5
	CharDevice  Kind = 6
	BlockDevice Kind = 7
)

// Time is a moment with nanoseconds, as file systems keep them. The zero Time means "not recorded".
type Time struct {
	Sec  int64  // seconds since 1970-01-01 UTC, may be negative
	Nsec uint32 // 0 to 999,999,999
}

// Xattr is one extended attribute. POSIX ACLs are the raw values of system.posix_acl_access and _default.
type Xattr struct {
	Name  string
	Value []byte
}

// Ref is one run of a file's bytes: a chunk, or a hole of Len zero bytes that is stored nowhere.
type Ref struct {
	ID   ID // zero for a hole
	Len  int64
	Hole bool
}

// Content is the bytes of a file: the references themselves while they are few, else the root of a tree
// of list nodes.
type Content struct {
	Refs  []Ref // at most MaxInline
	Root  ID    // root of the list, when Level > 0
	Level uint8 // 0: Refs hold the content; else the level of the node Root, plus one
	// RootLen is the plaintext size of the node Root, in bytes.
	RootLen uint32
}

// Entry is one name in a snapshot.
type Entry struct {
	Path  string // slash-separated, relative, raw bytes as the file system has them; "." is the root
	Kind  Kind
	Mode  uint32 // permission bits and setuid, setgid, sticky as in Unix (0o7777)
	Owner *Owner // nil where the source has no owners

	ModTime    Time
	ChangeTime Time // ctime; zero where the source has none
	BirthTime  Time // creation time, recorded where the system tells, never used for decisions
	Inode      uint64
	// LinkGroup is not zero for a file with several names: entries with one LinkGroup are one file.
	LinkGroup uint64

	Size       int64
	Target     string // of a symlink
	Device     uint64 // major<<32 | minor of a device
	Attributes uint32 // FILE_ATTRIBUTE_* of Windows, zero elsewhere
	Xattrs     []Xattr
	Content    Content
	// More is what a later release adds; this one keeps it and does not look at it.
	More []byte
}

// Owner is who owns an entry, by number and, where known, by name.
type Owner struct {
	UID, GID    uint32
	User, Group string
}

// Presence flags of an encoded entry.
const (
	hasOwner = 1 << iota
	hasChangeTime
	hasBirthTime
	hasInode
	hasLinkGroup
	hasAttributes
	hasXattrs
	hasMore // fields of a later release follow, as one byte string
)

// ComparePaths orders paths as a walk meets them: a folder, then everything below it, then its next
// sibling. It is bytewise order with the slash sorting before every other byte; the root "." is first.
// Both must be valid paths.
func ComparePaths(a, b string) int {
	if a == "." || b == "." {
		switch {
		case a == b:
			return 0
		case a == ".":
			return -1
		}
		return 1
	}
	n := min(len(a), len(b))
	for i := 0; i < n; i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x == '/' {
			return -1
		}
		if y == '/' {
			return 1
		}
		if x < y {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// ValidPath reports whether path can stand in a snapshot: "." or slash-separated elements, none of them
// empty, "." or "..", none holding a NUL.
func ValidPath(path string) bool {
	if path == "." {
		return true
	}
	if path == "" || len(path) > MaxPath || strings.IndexByte(path, 0) >= 0 {
		return false
	}
	for {
		elem, rest, more := strings.Cut(path, "/")
		if elem == "" || elem == "." || elem == ".." {
			return false
		}
		if !more {
			return true
		}
		path = rest
	}
}

// AppendEntry appends the encoding of e. The path is coded as the length it shares with prev (the path of
// the entry before it in the same node, or "") and the rest.
func AppendEntry(b []byte, prev string, e *Entry) []byte {
	shared := 0
	for shared < len(prev) && shared < len(e.Path) && prev[shared] == e.Path[shared] {
		shared++
	}
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendString(b, e.Path[shared:])
	return AppendEntryBody(b, e)
}

// AppendEntryBody appends all of e but its path.
func AppendEntryBody(b []byte, e *Entry) []byte {
	b = append(b, byte(e.Kind), e.flags())
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = appendTime(b, e.ModTime)
	if e.Owner != nil {
		b = binary.AppendUvarint(b, uint64(e.Owner.UID))
		b = binary.AppendUvarint(b, uint64(e.Owner.GID))
		b = appendString(b, e.Owner.User)
		b = appendString(b, e.Owner.Group)
	}
	if e.ChangeTime != (Time{}) {
		b = appendTime(b, e.ChangeTime)
	}
	if e.BirthTime != (Time{}) {
		b = appendTime(b, e.BirthTime)
	}
	if e.Inode != 0 {
		b = binary.AppendUvarint(b, e.Inode)
	}
	if e.LinkGroup != 0 {
		b = binary.AppendUvarint(b, e.LinkGroup)
	}
	if e.Attributes != 0 {
		b = binary.AppendUvarint(b, uint64(e.Attributes))
	}
	if len(e.Xattrs) > 0 {
		b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
		for _, x := range e.Xattrs {
			b = appendString(b, x.Name)
			b = appendBytes(b, x.Value)
		}
	}
	switch e.Kind {
	case File:
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = appendContent(b, e.Content)
	case Symlink:
		b = appendString(b, e.Target)
	case CharDevice, BlockDevice:
		b = binary.BigEndian.AppendUint64(b, e.Device)
	}
	if len(e.More) > 0 {
		b = appendBytes(b, e.More)
	}
	return b
}

func (e *Entry) flags() (f byte) {
	set := func(on bool, bit byte) {
		if on {
			f |= bit
		}
	}
	set(e.Owner != nil, hasOwner)
	set(e.ChangeTime != Time{}, hasChangeTime)
	set(e.BirthTime != Time{}, hasBirthTime)
	set(e.Inode != 0, hasInode)
	set(e.LinkGroup != 0, hasLinkGroup)
	set(e.Attributes != 0, hasAttributes)
	set(len(e.Xattrs) > 0, hasXattrs)
	set(len(e.More) > 0, hasMore)
	return f
}

func appendTime(b []byte, t Time) []byte {
	b = appendVarint(b, t.Sec)
	return binary.AppendUvarint(b, uint64(t.Nsec))
}

// A reference's length is coded with the hole flag as its lowest bit; a hole has no id.
func appendRef(b []byte, r Ref) []byte {
	if r.Hole {
		return binary.AppendUvarint(b, uint64(r.Len)<<1|1)
	}
	b = binary.AppendUvarint(b, uint64(r.Len)<<1)
	return append(b, r.ID[:]...)
}

func appendContent(b []byte, c Content) []byte {
	b = append(b, c.Level)
	if c.Level > 0 {
		b = binary.AppendUvarint(b, uint64(c.RootLen))
		return append(b, c.Root[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Refs)))
	for _, r := range c.Refs {
		b = appendRef(b, r)
	}
	return b
}

func (d *decoder) time() Time {
	t := Time{Sec: d.varint()}
	n := d.uvarint()
	if n > 999_999_999 {
		d.fail("a time's nanoseconds are out of range")
		return Time{}
	}
	t.Nsec = uint32(n)
	return t
}

func (d *decoder) ref() Ref {
	v := d.uvarint()
	r := Ref{Len: int64(v >> 1), Hole: v&1 != 0}
	if !r.Hole {
		r.ID = d.id()
	}
	if r.Len == 0 || (!r.Hole && r.Len > MaxChunk) {
		d.fail("a reference's length is out of range")
	}
	return r
}

func (d *decoder) content(size int64) (c Content) {
	if c.Level = d.u8(); c.Level > 0 {
		n := d.uvarint()
		c.Root = d.id()
		if c.Level > MaxLevel || n == 0 || n > MaxChunk {
			d.fail("a content list is out of range")
		}
		c.RootLen = uint32(n)
		return c
	}
	n := d.count(1)
	if n > MaxInline {
		d.fail("too many references in an entry")
		return c
	}
	if n > 0 {
		c.Refs = make([]Ref, 0, n)
	}
	var sum int64
	for range n {
		r := d.ref()
		c.Refs = append(c.Refs, r)
		sum += r.Len
		if sum < 0 || sum > size {
			d.fail("a file's references do not add up to its size")
			return c
		}
	}
	if sum != size {
		d.fail("a file's references do not add up to its size")
	}
	return c
}

func (d *decoder) u32v(what string) uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail(what + " is out of range")
	}
	return uint32(v)
}

// ownerOf decodes an owner, and returns the one before if it is the same.
func (d *decoder) ownerOf() *Owner {
	uid, gid := d.u32v("an owner"), d.u32v("an owner")
	user, group := d.bytes(), d.bytes()
	if o := d.owner; o != nil && o.UID == uid && o.GID == gid && o.User == string(user) && o.Group == string(group) {
		return o
	}
	d.owner = &Owner{UID: uid, GID: gid, User: string(user), Group: string(group)}
	return d.owner
}

// entry decodes one entry whose predecessor in the node has the path prev.
func (d *decoder) entry(prev string, e *Entry) {
	shared := d.uvarint()
	rest := d.bytes()
	if d.err != nil || shared > uint64(len(prev)) || shared+uint64(len(rest)) > MaxPath {
		d.fail("a path is out of range")
		return
	}
	path := prev[:shared] + string(rest)
	longer := int(shared) < len(prev) && len(rest) > 0 && prev[shared] == rest[0]
	if longer || !ValidPath(path) {
		d.fail("a path is not allowed")
		return
	}
	*e = Entry{Path: path}
	d.entryBody(e)
}

func (d *decoder) entryBody(e *Entry) {
	e.Kind = Kind(d.u8())
	flags := d.u8()
	if d.err == nil && (e.Kind < Dir || e.Kind > BlockDevice) {
		d.fail("an entry's kind is unknown")
		return
	}
	e.Mode = d.u32v("a mode")
	if e.Mode&^0o7777 != 0 {
		d.fail("a mode is out of range")
	}
	e.ModTime = d.time()
	if flags&hasOwner != 0 {
		e.Owner = d.ownerOf()
	}
	if flags&hasChangeTime != 0 {
		e.ChangeTime = d.time()
	}
	if flags&hasBirthTime != 0 {
		e.BirthTime = d.time()
	}
	if flags&hasInode != 0 {
		e.Inode = d.uvarint()
	}
	if flags&hasLinkGroup != 0 {
		e.LinkGroup = d.uvarint()
	}
	if flags&hasAttributes != 0 {
		e.Attributes = d.u32v("attributes")
	}
	if flags&hasXattrs != 0 {
		n := d.count(2)
		if n > MaxXattrs {
			d.fail("too many extended attributes")
			return
		}
		for range n {
			e.Xattrs = append(e.Xattrs, Xattr{Name: d.str(), Value: append([]byte(nil), d.bytes()...)})
		}
	}
	switch e.Kind {
	case File:
		size := d.uvarint()
		if size > 1<<62 {
			d.fail("a size is out of range")
			return
		}
		e.Size = int64(size)
		e.Content = d.content(e.Size)
	case Symlink:
		e.Target = d.str()
		if strings.IndexByte(e.Target, 0) >= 0 || len(e.Target) > MaxPath {
			d.fail("a link's target is not allowed")
		}
	case CharDevice, BlockDevice:
		e.Device = d.u64()
	}
	if flags&hasMore != 0 {
		e.More = append([]byte(nil), d.bytes()...)
	}
	if d.err == nil && e.flags() != flags {
		d.fail("a field is marked as present and holds nothing")
	}
}

// DecodeEntryBody is the inverse of [AppendEntryBody]; it returns what follows the entry in b. The path is
// the caller's.
func DecodeEntryBody(b []byte, path string) (*Entry, []byte, error) {
	d := decoder{b: b}
	e := &Entry{Path: path}
	d.entryBody(e)
	return e, d.b, d.err
}

// DecodeEntry is the inverse of [AppendEntry]; it returns what follows the entry in b.
func DecodeEntry(b []byte, prev string, e *Entry) ([]byte, error) {
	d := decoder{b: b}
	d.entry(prev, e)
	return d.b, d.err
}
