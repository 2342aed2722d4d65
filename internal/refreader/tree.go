package refreader

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// Kinds of entries.
const (
	Folder = 1 + iota
	File
	Symlink
	FIFO
	Socket
	CharDevice
	BlockDevice
)

// Time is seconds since 1970 UTC and nanoseconds; both zero if not known.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Owner is who owns an entry.
type Owner struct {
	UID, GID    uint32
	User, Group string
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// An Entry is a name in a snapshot. Path is "." or names joined by slashes, in any encoding.
type Entry struct {
	Path                    string
	Kind                    byte
	Mode                    uint16
	Modified, Changed, Born Time
	Owner                   *Owner
	Inode, LinkGroup        uint64
	Attributes              uint32
	Xattrs                  []Xattr
	Size                    uint64
	Target                  string
	Device                  uint64
	content                 content
}

// A child is a node as its parent knows it.
type child struct {
	path           string
	id             [32]byte
	size           uint64
	entries, bytes uint64
}

// A reference is a chunk, or a hole.
type reference struct {
	hole bool
	id   [32]byte
	size uint64
}

// A content is the references of a file, or the root node of a tree of them.
type content struct {
	level byte
	refs  []reference
	root  child
}

// A Problem is something that a backup could not store as it was.
type Problem struct {
	Path   string
	Reason byte
	Detail string
}

// add adds lengths; the sum must not wrap around.
func (d *dec) add(sum *uint64, n uint64) {
	d.check(*sum+n >= n)
	*sum += n
}

func decodeReference(d *dec) (v reference) {
	n := d.uv()
	v.hole, v.size = n&1 == 1, n>>1
	if d.check(v.size > 0); !v.hole {
		d.check(v.size <= 4*mib)
		v.id = d.id32()
	}
	return v
}

func decodeContent(d *dec, size uint64) (c content) {
	if c.level = d.u8(); c.level > 12 {
		d.fail()
	} else if c.level > 0 {
		c.root = child{size: d.uv(), id: d.id32(), bytes: size}
		return c
	}
	n, sum := d.uv(), uint64(0)
	for d.check(n <= 64); n > 0 && d.err == nil; n-- {
		c.refs = append(c.refs, decodeReference(d))
		d.add(&sum, c.refs[len(c.refs)-1].size)
	}
	d.check(sum == size)
	return c
}

func decodeTime(d *dec) Time {
	s, n := d.sv(), d.uv()
	d.check(n < 1e9)
	return Time{s, uint32(n)}
}

func (d *dec) uv32() uint32 {
	n := d.uv()
	d.check(n < 1<<32)
	return uint32(n)
}

// path decodes a path that shares bytes with the one before, and checks that it shares all it can.
func (d *dec) path(before string) string {
	s, rest := d.uv(), string(d.bytes())
	if d.err != nil || s > uint64(len(before)) || s+uint64(len(rest)) > 65536 {
		d.fail()
		return ""
	}
	if int(s) < len(before) && rest != "" && before[s] == rest[0] {
		d.fail() // shorter than what they share
	}
	p := before[:s] + rest
	d.check(p == "." || goodPath(p))
	return p
}

func goodPath(p string) bool {
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
			return false
		}
	}
	return true
}

// pathLess reports whether path a comes before b: "." first, and the slash before every other byte.
func pathLess(a, b string) bool {
	if a == "." || b == "." {
		return a == "." && b != "."
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			return a[i] == '/' || b[i] != '/' && a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

func decodeEntry(d *dec, before string) (e Entry) {
	e.Path, e.Kind = d.path(before), d.u8()
	d.check(e.Kind >= Folder && e.Kind <= BlockDevice)
	flags, mode := d.u8(), d.uv()
	d.check(mode <= 0o7777)
	e.Mode, e.Modified = uint16(mode), decodeTime(d)
	if flags&1 != 0 {
		e.Owner = &Owner{d.uv32(), d.uv32(), string(d.bytes()), string(d.bytes())}
	}
	if flags&2 != 0 {
		e.Changed = decodeTime(d)
		d.check(e.Changed != Time{})
	}
	if flags&4 != 0 {
		e.Born = decodeTime(d)
		d.check(e.Born != Time{})
	}
	if flags&8 != 0 {
		e.Inode = d.uv()
		d.check(e.Inode != 0)
	}
	if flags&0x10 != 0 {
		e.LinkGroup = d.uv()
		d.check(e.LinkGroup != 0)
	}
	if flags&0x20 != 0 {
		e.Attributes = d.uv32()
		d.check(e.Attributes != 0)
	}
	if flags&0x40 != 0 {
		n := d.uv()
		for d.check(n > 0 && n <= 4096); n > 0 && d.err == nil; n-- {
			e.Xattrs = append(e.Xattrs, Xattr{string(d.bytes()), d.bytes()})
		}
	}
	switch e.Kind {
	case File:
		e.Size = d.uv()
		d.check(e.Size <= 1<<62)
		e.content = decodeContent(d, e.Size)
	case Symlink:
		e.Target = string(d.bytes())
		d.check(len(e.Target) <= 65536 && !strings.Contains(e.Target, "\x00"))
	case CharDevice, BlockDevice:
		e.Device = d.u64()
	}
	if flags&0x80 != 0 {
		d.check(len(d.bytes()) > 0)
	}
	return e
}

// node loads a node and checks its length and tag.
func (r *Repository) node(c child, tag byte, limit uint64) (*dec, error) {
	if c.size == 0 || c.size > limit {
		return nil, errMalformed
	}
	b, err := r.chunk(c.id, c.size, true)
	if err != nil {
		return nil, err
	}
	if b[0] != tag {
		return nil, errMalformed
	}
	return &dec{b: b[1:]}, nil
}

// A walk goes through the nodes of a snapshot in order.
type walk struct {
	r       *Repository
	last    string
	started bool
	folders []string // those that the last entry is in, outermost first
	give    func(Entry) error
}

// Walk gives every entry of the snapshot in order, "." first.
func (s *Snapshot) Walk(give func(Entry) error) error {
	w := &walk{r: s.r, give: give}
	return s.explain(w.node(s.root, s.level, true))
}

func (w *walk) node(c child, level byte, root bool) error {
	limit := uint64(4 * mib)
	if level > 0 {
		limit = mib
	}
	d, err := w.r.node(c, level, limit)
	if err != nil {
		return err
	}
	var entries []Entry
	var children []child
	var count, size uint64
	before := ""
	for len(d.b) > 0 && d.err == nil {
		first := before == ""
		var p string
		if level == 0 {
			e := decodeEntry(d, before)
			d.add(&count, 1)
			d.add(&size, e.Size)
			entries, p = append(entries, e), e.Path
		} else {
			k := child{path: d.path(before), id: d.id32(), size: d.uv(), entries: d.uv(), bytes: d.uv()}
			d.check(k.entries > 0)
			d.add(&count, k.entries)
			d.add(&size, k.bytes)
			children, p = append(children, k), k.path
		}
		if first {
			d.check(root || p == c.path)
		} else {
			d.check(pathLess(before, p))
		}
		before = p
	}
	d.check(before != "" || root && level == 0)
	d.check(len(children) <= 2048 && count == c.entries && size == c.bytes)
	if d.err != nil {
		return d.err
	}
	for _, k := range children {
		if err := w.node(k, level-1, false); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := w.entry(e); err != nil {
			return err
		}
	}
	return nil
}

// entry checks an entry's place in the snapshot.
func (w *walk) entry(e Entry) error {
	if !w.started {
		if e.Path != "." || e.Kind != Folder {
			return errMalformed
		}
	} else {
		parent := "."
		if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
			parent = e.Path[:i]
		}
		for len(w.folders) > 0 && w.folders[len(w.folders)-1] != parent {
			w.folders = w.folders[:len(w.folders)-1]
		}
		if len(w.folders) == 0 || !pathLess(w.last, e.Path) {
			return errMalformed
		}
	}
	if e.Kind == Folder {
		w.folders = append(w.folders, e.Path)
	}
	w.last, w.started = e.Path, true
	return w.give(e)
}

// eachRef gives the references of a content in order.
func (r *Repository) eachRef(c content, size uint64, give func(reference) error) error {
	if c.level > 0 {
		c.root.bytes = size
		return r.refNode(c.root, c.level-1, give)
	}
	for _, ref := range c.refs {
		if err := give(ref); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repository) refNode(c child, level byte, give func(reference) error) error {
	limit := uint64(147457)
	if level > 0 {
		limit = mib
	}
	d, err := r.node(c, 0x40+level, limit)
	if err != nil {
		return err
	}
	var refs []reference
	var children []child
	var size uint64
	for len(d.b) > 0 && d.err == nil {
		if level == 0 {
			refs = append(refs, decodeReference(d))
			d.add(&size, refs[len(refs)-1].size)
			continue
		}
		k := child{id: d.id32(), size: d.uv(), bytes: d.uv()}
		d.check(k.bytes > 0)
		d.add(&size, k.bytes)
		children = append(children, k)
	}
	d.check(len(refs)+len(children) > 0 && len(refs) <= 4096 && len(children) <= 2048 && size == c.bytes)
	if d.err != nil {
		return d.err
	}
	for _, k := range children {
		if err := r.refNode(k, level-1, give); err != nil {
			return err
		}
	}
	return r.eachRef(content{refs: refs}, size, give)
}

// WriteContent writes a file's content, holes as zeros.
func (s *Snapshot) WriteContent(e Entry, w io.Writer) error {
	if e.Kind != File {
		return errors.New("not a file")
	}
	var zeros [segmentSize]byte
	return s.explain(s.r.eachRef(e.content, e.Size, func(ref reference) error {
		if !ref.hole {
			b, err := s.r.chunk(ref.id, ref.size, false)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		}
		for left := ref.size; left > 0; {
			n, err := w.Write(zeros[:min(left, segmentSize)])
			if err != nil {
				return err
			}
			left -= uint64(n)
		}
		return nil
	}))
}

// Problems gives the problems that the snapshot names.
func (s *Snapshot) Problems() ([]Problem, error) {
	var out []Problem
	err := s.r.eachRef(s.problems, s.listSize, func(ref reference) error {
		if ref.hole {
			return errMalformed
		}
		b, err := s.r.chunk(ref.id, ref.size, true)
		if err != nil {
			return err
		}
		d := &dec{b: bytes.Clone(b)}
		for len(d.b) > 0 && d.err == nil {
			out = append(out, Problem{string(d.bytes()), d.u8(), string(d.bytes())})
		}
		return d.err
	})
	return out, s.explain(err)
}
