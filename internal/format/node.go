package format

import "encoding/binary"

// A snapshot's entries are kept as the leaves of a tree of nodes; a long file's references likewise. A
// node's plaintext is one metadata chunk. Its first byte says what it is.
const (
	nodeEntries = 0x00 // + level: 0 is a leaf of entries, above it nodes of Child
	nodeRefs    = 0x40 // + level: 0 is a leaf of references, above it nodes of Child
)

// Child points at a node one level down.
type Child struct {
	First   string // path of the first entry below; "" in a list of references
	ID      ID
	Len     uint32 // plaintext bytes of the node
	Entries uint64 // entries below; 0 in a list of references
	Bytes   uint64 // bytes of file content below
}

// AppendLeafHeader begins a leaf of entries; [AppendEntry] adds to it.
func AppendLeafHeader(b []byte) []byte { return append(b, nodeEntries) }

// EntryReader reads the entries of one leaf in their order.
type EntryReader struct {
	d    decoder
	prev string
}

// ReadLeaf starts reading a leaf of entries.
func ReadLeaf(node []byte) (*EntryReader, error) {
	d := decoder{b: node}
	if d.u8() != nodeEntries || d.err != nil {
		return nil, malformed("not a leaf of entries")
	}
	return &EntryReader{d: d}, nil
}

// Next decodes the next entry into e. It reports false at the end of the node. It refuses entries that
// are out of order.
func (r *EntryReader) Next(e *Entry) (bool, error) {
	if r.d.err != nil || len(r.d.b) == 0 {
		return false, r.d.err
	}
	first := r.prev == ""
	r.d.entry(r.prev, e)
	if r.d.err == nil && !first && ComparePaths(r.prev, e.Path) >= 0 {
		r.d.fail("entries are out of order")
	}
	if r.d.err != nil {
		return false, r.d.err
	}
	r.prev = e.Path
	return true, nil
}

// AppendChildren encodes a node above entries. level is at least 1.
func AppendChildren(b []byte, level int, children []Child) []byte {
	b = append(b, nodeEntries+byte(level))
	prev := ""
	for _, c := range children {
		shared := 0
		for shared < len(prev) && shared < len(c.First) && prev[shared] == c.First[shared] {
			shared++
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendString(b, c.First[shared:])
		b = append(b, c.ID[:]...)
		b = binary.AppendUvarint(b, uint64(c.Len))
		b = binary.AppendUvarint(b, c.Entries)
		b = binary.AppendUvarint(b, c.Bytes)
		prev = c.First
	}
	return b
}

// NodeLevel tells the level of a node above or of entries: 0 is a leaf.
func NodeLevel(node []byte) (int, error) {
	if len(node) == 0 || node[0] > MaxLevel {
		return 0, malformed("not a node of entries")
	}
	return int(node[0]), nil
}

// DecodeChildren is the inverse of [AppendChildren].
func DecodeChildren(node []byte) ([]Child, error) {
	d := decoder{b: node}
	if l := d.u8(); l == 0 || l > MaxLevel {
		return nil, malformed("not an inner node of entries")
	}
	var out []Child
	prev := ""
	for d.err == nil && len(d.b) > 0 {
		shared := d.uvarint()
		rest := d.bytes()
		if d.err != nil || shared > uint64(len(prev)) || shared+uint64(len(rest)) > MaxPath {
			d.fail("a path is out of range")
			break
		}
		c := Child{First: prev[:shared] + string(rest), ID: d.id(), Len: d.nodeLen(), Entries: d.uvarint(), Bytes: d.uvarint()}
		longer := int(shared) < len(prev) && len(rest) > 0 && prev[shared] == rest[0]
		if d.err == nil && (longer || !ValidPath(c.First) || (len(out) > 0 && ComparePaths(prev, c.First) >= 0)) {
			d.fail("children are out of order")
		}
		if out = append(out, c); len(out) > MaxFanout {
			d.fail("too many children of a node")
		}
		prev = c.First
	}
	if d.err == nil && len(out) == 0 {
		d.fail("an inner node is empty")
	}
	return out, d.err
}

func (d *decoder) nodeLen() uint32 {
	n := d.uvarint()
	if n == 0 || n > MaxChunk {
		d.fail("a node's length is out of range")
	}
	return uint32(n)
}

// AppendRefs encodes a leaf of references.
func AppendRefs(b []byte, refs []Ref) []byte {
	b = append(b, nodeRefs)
	for _, r := range refs {
		b = appendRef(b, r)
	}
	return b
}

// DecodeRefs is the inverse of [AppendRefs].
func DecodeRefs(node []byte) ([]Ref, error) {
	d := decoder{b: node}
	if d.u8() != nodeRefs {
		return nil, malformed("not a leaf of references")
	}
	var out []Ref
	var sum int64
	for d.err == nil && len(d.b) > 0 {
		r := d.ref()
		if sum += r.Len; sum < 0 {
			d.fail("references are out of range")
		}
		if out = append(out, r); len(out) > MaxRefs {
			d.fail("too many references in a node")
		}
	}
	return out, d.err
}

// AppendRefChildren encodes a node above references. level is at least 1.
func AppendRefChildren(b []byte, level int, children []Child) []byte {
	b = append(b, nodeRefs+byte(level))
	for _, c := range children {
		b = append(b, c.ID[:]...)
		b = binary.AppendUvarint(b, uint64(c.Len))
		b = binary.AppendUvarint(b, c.Bytes)
	}
	return b
}

// DecodeRefChildren is the inverse of [AppendRefChildren]; it refuses a node of another level.
func DecodeRefChildren(node []byte, level int) ([]Child, error) {
	d := decoder{b: node}
	if l := d.u8(); level < 1 || level > MaxLevel || l != nodeRefs+byte(level) {
		return nil, malformed("not an inner node of references")
	}
	var out []Child
	var sum uint64
	for d.err == nil && len(d.b) > 0 {
		c := Child{ID: d.id(), Len: d.nodeLen(), Bytes: d.uvarint()}
		if sum += c.Bytes; sum > 1<<62 || c.Bytes > 1<<62 || c.Bytes == 0 {
			d.fail("references are out of range")
		}
		if out = append(out, c); len(out) > MaxFanout {
			d.fail("too many children of a node")
		}
	}
	return out, d.err
}

// Problem is something that a backup could not keep.
type Problem struct {
	Path   string
	Reason byte   // one of the reasons of package backup; frozen numbers
	Detail string // the system's words, without the path
}

// AppendProblems encodes the list of what a snapshot lacks; the list is kept as the content of a file is.
func AppendProblem(b []byte, p Problem) []byte {
	b = appendString(b, p.Path)
	b = append(b, p.Reason)
	return appendString(b, p.Detail)
}

// DecodeProblem decodes one problem and returns what follows it.
func DecodeProblem(b []byte) (Problem, []byte, error) {
	d := decoder{b: b}
	p := Problem{Path: d.str(), Reason: d.u8(), Detail: d.str()}
	if d.err == nil && len(p.Path) > MaxPath {
		d.fail("a path is out of range")
	}
	return p, d.b, d.err
}
