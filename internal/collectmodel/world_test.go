package collectmodel

import (
	"fmt"
	"math/bits"
	"strings"
)

// chunks is how many different chunks there are in the world: A and B. Two are enough for a pack of which a part is
// dead, for two packs that hold the same chunk, and for a run that takes one chunk from the store and uploads another.
const chunks = 2

// A chunkSet is a set of chunks, bit by chunk.
type chunkSet uint8

const (
	chunkA chunkSet = 1 << iota
	chunkB
	both = chunkA | chunkB
)

func (c chunkSet) String() string { return []string{"nothing", "A", "B", "A+B"}[c] }

// A name is the name of one object, as an index into the names of the world. An object is what its name says and never
// changes; whether it is in the store is a bit of the state.
type name uint8

// none is no name.
const none name = 63

// A set is a set of names, bit by name.
type set uint64

func (n name) set() set {
	if n == none {
		return 0
	}
	return 1 << n
}

func (s set) has(n name) bool { return s>>n&1 != 0 }

// each calls f with every name of the set.
func (s set) each(f func(name)) {
	for ; s != 0; s &= s - 1 {
		f(name(bits.TrailingZeros64(uint64(s))))
	}
}

// A names says what each name of a world is. Names are handed out before the search starts, each to one process and
// one attempt of it: so they are fresh whoever uses them, and equal states stay equal whatever the order that led there.
type names struct {
	text    []string
	session [64]name // of a pack
	packs   set
	of      [64]set   // the packs of a session
	opener  [64]uint8 // of a session: the snapshot whose run opened it
}

func (u *names) add(format string, a ...any) name {
	if len(u.text) == int(none) {
		panic("more objects than a set holds: make the configuration smaller")
	}
	u.text = append(u.text, fmt.Sprintf(format, a...))
	return name(len(u.text) - 1)
}

func (u *names) pack(session name, format string, a ...any) name {
	n := u.add(format, a...)
	u.session[n], u.packs, u.of[session] = session, u.packs|n.set(), u.of[session]|n.set()
	return n
}

// sessions is the sessions of the packs in s.
func (u *names) sessions(s set) (out set) {
	(s & u.packs).each(func(n name) { out |= u.session[n].set() })
	return out
}

func (u *names) String(s set) string {
	var out []string
	s.each(func(n name) { out = append(out, u.text[n]) })
	return "{" + strings.Join(out, " ") + "}"
}

// A places is what an index segment holds: for each chunk, the packs it is in.
type places [chunks]set

func (p places) packs() (out set) {
	for _, s := range p {
		out |= s
	}
	return out
}

func (p places) without(s set) places {
	for c := range p {
		p[c] &^= s
	}
	return p
}

func (p places) and(q places) places {
	for c := range p {
		p[c] |= q[c]
	}
	return p
}

// one keeps the newest place only of each chunk: what a merge must not do.
func (p places) one() places {
	for c, s := range p {
		if s != 0 {
			p[c] = 1 << (bits.Len64(uint64(s)) - 1)
		}
	}
	return p
}

// A segment is an index segment.
type segment struct {
	name   name
	places places
}

// A kind is a kind of log entry.
type kind uint8

const (
	snapshot   kind = iota // a run is complete: its list of references, and a segment for what it uploaded
	partial                // a run goes on: a segment for what it has uploaded so far
	forget                 // a snapshot is no longer wanted
	condemn                // objects may be deleted; segments and lists of references take the place of others
	checkpoint             // a segment takes the place of others
)

// maxSnaps is how many snapshots a world may have: two that are there at the start, and one of each writer.
const maxSnaps = 4

// An entry is an entry of the log. It holds what its objects hold as well: nobody looks into an object before an entry
// names it, but for who made it.
type entry struct {
	kind kind

	snap uint8    // snapshot, forget
	need chunkSet // snapshot: what its files are made of
	refs refs     // snapshot

	seg       segment // the new segment, if any
	replaced  set     // condemn, checkpoint: the segments in whose place it stands
	condemned set
	update    [maxSnaps]refs // condemn: the new lists of references; the name is none where the old one stays
}

// A refs is a list of references: the packs that a snapshot needs, as a difference to the list called base, if any.
type refs struct {
	name, base name
	packs      set
}

var noRefs = refs{name: none, base: none}

// A snap is a snapshot in the state.
type snap struct {
	live bool // committed, not forgotten
	need chunkSet
	refs refs
}

// A view is what the entries of a log add up to: what who has read it so far knows.
type view struct {
	id     int32
	parent *view
	entry  entry
	length uint8 // entries

	snaps [maxSnaps]snap
	segs  []segment
	base  [64]name // of every list of references ever committed

	index     places // of all segments
	known     set    // every name ever named
	condemned set    // by any entry
	live      set    // what the snapshots that are not forgotten need, and the index
	named     set    // live, and whatever else a writer that starts from this state may take up
	sane      bool   // nothing that is named is condemned, and the index places all that is needed
	children  map[entry]*view
}

// bases is the lists that the list n is, directly or not, a difference to.
func (v *view) bases(n name) (out set) {
	for n != none {
		n = v.base[n]
		out |= n.set()
	}
	return out
}

// at is the view of who has read the first n entries only.
func (v *view) at(n uint8) *view {
	for v.length > n {
		v = v.parent
	}
	return v
}

// since is what the entries after the first n condemn.
func (v *view) since(n uint8) (out set) {
	for ; v.length > n; v = v.parent {
		out |= v.entry.condemned
	}
	return out
}

// A history holds every log that any interleaving makes, as a tree: a log is its last entry and the log before.
type history struct {
	*names
	weak  weakness
	views []*view
}

func (h *history) start() *view {
	v := &view{children: map[entry]*view{}}
	for n := range v.base {
		v.base[n] = none
	}
	h.views = append(h.views[:0], v)
	return v
}

// append gives the log that has e after v.
func (h *history) append(v *view, e entry) *view {
	if w := v.children[e]; w != nil {
		return w
	}
	w := h.apply(v, e)
	w.id = int32(len(h.views))
	h.views = append(h.views, w)
	v.children[e] = w
	return w
}

// apply is the meaning of an entry: how it makes the state after it from the state before.
func (h *history) apply(v *view, e entry) *view {
	w := &view{parent: v, entry: e, length: v.length + 1, snaps: v.snaps, base: v.base, children: map[entry]*view{}}
	w.condemned = v.condemned | e.condemned
	packs := e.seg.places.packs()
	w.known = v.known | e.condemned | e.replaced | e.seg.name.set() | packs | h.sessions(packs)
	var present set
	for _, s := range v.segs {
		present |= s.name.set()
	}
	learn := func(r refs) {
		if r.name != none {
			w.base[r.name] = r.base
			w.known |= r.name.set()
		}
	}
	take := true
	switch e.kind {
	case snapshot:
		w.snaps[e.snap] = snap{live: true, need: e.need, refs: e.refs}
		learn(e.refs)
		take = !present.has(e.seg.name)
	case partial:
		take = !present.has(e.seg.name)
	case forget:
		w.snaps[e.snap].live = false
	case condemn:
		for s, r := range e.update {
			if r.name != none {
				w.snaps[s].refs = r
				learn(r)
			}
		}
	case checkpoint:
		// A merge counts only as long as everything that went into it is still there.
		take = e.replaced&^present == 0 || h.weak == mergeOfReplaced
	}
	for _, s := range v.segs {
		if !take || !e.replaced.has(s.name) {
			w.segs = append(w.segs, s)
		}
	}
	if take && e.seg.name != none {
		w.segs = append(w.segs, e.seg)
	}
	h.mark(w)
	return w
}

// mark works out what is live. It takes nothing but the log and the lists of references.
func (h *history) mark(v *view) {
	for _, s := range v.segs {
		v.index = v.index.and(s.places)
		v.live |= s.name.set()
	}
	for i, s := range v.snaps {
		if !s.live {
			continue
		}
		v.live |= s.refs.name.set() | h.follow(v, s.refs.name) | s.refs.packs
		h.sessions(s.refs.packs).each(func(n name) {
			if h.weak != shredByOpener || h.opener[n] == uint8(i) {
				v.live |= n.set()
			}
		})
	}

	packs := v.index.packs()
	for _, s := range v.snaps {
		if s.live {
			packs |= s.refs.packs
			v.named |= s.refs.name.set() | v.bases(s.refs.name)
		}
	}
	v.named |= v.live | packs | h.sessions(packs)
	v.sane = v.named&v.condemned == 0 && h.lost(v, ^set(0)) < 0
}

// follow is how a collector goes from a list of references to those it is a difference to.
func (h *history) follow(v *view, n name) set {
	if h.weak == baseNotLive {
		return 0
	}
	return v.bases(n)
}

// lost is the first live snapshot that cannot be read from a store that holds no more than have, or -1.
func (h *history) lost(v *view, have set) int {
	var index places
	for _, s := range v.segs {
		if have.has(s.name) {
			index = index.and(s.places)
		}
	}
	for i, s := range v.snaps {
		if !s.live {
			continue
		}
		if (s.refs.name.set()|v.bases(s.refs.name))&^have != 0 {
			return i
		}
		for c := range chunks {
			if s.need>>c&1 == 0 {
				continue
			}
			found := false
			(index[c] & have).each(func(p name) { found = found || have.has(h.session[p]) })
			if !found {
				return i
			}
		}
	}
	return -1
}
