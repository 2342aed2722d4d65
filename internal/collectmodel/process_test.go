package collectmodel

import "fmt"

// A weakness is a rule left out. The tests show that each of them loses data.
type weakness uint8

const (
	sound              weakness = iota
	noOrder                     // no log: snapshots and lists of the condemned are written whatever others have written
	noCheck                     // a writer that lost the race tries the next slot without a look at what was condemned
	samePackName                // packs are uploaded again under the name that they had
	sameRefsName                // lists of references are uploaded again under the name that they had
	staleMark                   // a collector that lost the race publishes what it marked before
	staleRepack                 // the same of a collector that repacks: a snapshot in between gets no new list
	mergeOnePlace               // a merge of segments keeps one place of each chunk
	mergeOfReplaced             // a merge counts even if what went into it was replaced
	shredByOpener               // a session is condemned once the snapshot whose run opened it is forgotten
	shredKeepsPlaces            // a session is condemned, and the index goes on placing chunks in its packs
	sweepEarly                  // a sweep begins before the entry is committed
	journalUnchecked            // a resumed run trusts its journal
	journalFromNow              // a resumed run checks its journal, but from the head at which it opens the log again
	partialUnchecked            // a partial entry is committed without the check
	segmentUnchecked            // the check leaves out the segments that the entry names
	baseUnchecked               // the check leaves out the lists that the list of references is a difference to
	sessionUnchecked            // the check leaves out the sessions of the packs
	collectorUnchecked          // a collector that lost the race does not check its own uploads
	mergeUnchecked              // a checkpoint is committed without the check
	locatedUnchecked            // the check leaves out packs that the segment places and the snapshot does not need
	baseNotLive                 // the mark does not follow a list of references to its bases
	weaknesses                  // how many there are, and none
)

// A config says which processes run in a world, and for how long.
type config struct {
	weak       weakness
	writers    []writerConfig
	collectors []collectorConfig
	merge      bool    // a process merges two segments and publishes a checkpoint
	forget     []uint8 // the snapshots that the administrator may forget
	second     bool    // snapshot 1 has a pack of its own, with chunk A, in a session and a segment of its own
	without    bool    // nothing at the start has B: both snapshots need A alone
	partly     bool    // snapshot 1 needs A alone, also where it shares the pack of snapshot 0
	unswept    bool    // nothing is ever deleted: see "Sweeps" in the documentation of the package
}

type writerConfig struct {
	need     chunkSet // what there is to back up
	attempts uint8    // fresh names are used up after so many
	crashes  uint8    // how often it may crash and be started again
	partial  bool     // it may commit a partial entry
	base     bool     // its list of references may be a difference to one in the state
}

type collectorConfig struct {
	marks  uint8 // how many marks may lead to uploads
	cycles uint8 // how many entries it may publish
	list   bool  // it may list the store
	drop   bool  // it condemns what is dead
	repack bool  // it copies what is live in a pack that is partly dead
	keep   bool  // after a lost race it may go on with what it has uploaded, if its plan stays the same
	one    bool  // it condemns all that is dead or any one object of it, else always all
	any    bool  // it condemns any part of what is dead
}

const (
	maxWriters    = 2
	maxCollectors = 2
)

// A state is the whole world at one moment. Whatever a process knows besides is in the log, up to the entry that it has
// read. States are compared with ==.
type state struct {
	store      set   // the objects that are there
	log        int32 // the log, in history.views
	writers    [maxWriters]writer
	collectors [maxCollectors]collector
	merger     merger
}

// A phase is what a process does next.
type phase uint8

const (
	idle phase = iota
	uploadSession
	uploadPack
	uploadPartial
	commitPartial
	uploadSegment
	uploadRefs
	commit
	done
)

type writer struct {
	phase   phase
	read    uint8 // entries read; the journal keeps it
	attempt uint8
	crashed uint8
	session name         // of its uploads, none before the first; the journal keeps it
	own     [chunks]name // its uploads: the pack that a chunk is in; the journal keeps it
	from    [chunks]name // the plan: the pack that a chunk is taken from, or is going to be
	base    name
	segment name // that the snapshot entry names; none if a partial entry has named all
}

type collector struct {
	phase     phase
	read      uint8
	mark      uint8    // marks that led to uploads: it counts fresh names off
	cycles    uint8    // entries published
	lists     uint8    // the snapshots below have their new lists uploaded
	copied    chunkSet // what own holds
	target    name     // the pack to repack, or none
	own       name     // the pack that it has copied into, or none
	seen      set      // what a listing showed and the log did not know
	condemned set      // the plan
}

type merger struct {
	phase  phase
	read   uint8
	made   uint8 // what it had read when it merged
	inputs [2]name
}

// An action is a step of one process, for the trace.
type action struct {
	who, what string
	set       set
}

// The names that are a process's own.
type (
	writerNames struct {
		who                             string
		session, segment, partial, refs []name   // by attempt
		pack                            [][]name // by session and attempt
	}
	collectorNames struct {
		who                    string
		session, pack, segment []name           // by mark
		refs                   [][maxSnaps]name // by mark and snapshot
	}
)

// A model is the processes of a configuration, and all that they may do.
type model struct {
	*history
	config     config
	initial    state
	writers    []writerNames
	collectors []collectorNames
	merged     name // by the merger

	next    []state
	actions []action // how each of next comes about
}

func newModel(c config) *model {
	u := &names{}
	m := &model{history: &history{names: u, weak: c.weak}, config: c, merged: none}

	// The world at the start: snapshot 0 has A and B in one pack, snapshot 1 shares it or has A in a pack of its own.
	s0 := u.add("S0")
	p0, i0 := u.pack(s0, "P0"), u.add("I0")
	r0, r1 := u.add("R0"), u.add("R1")
	v := m.start()
	old := entry{kind: snapshot, snap: 0, need: both, refs: refs{name: r0, base: none, packs: p0.set()},
		seg: segment{i0, places{p0.set(), p0.set()}}}
	if c.without {
		old.need, old.seg.places[1] = chunkA, 0
	}
	v = m.append(v, old)
	store := s0.set() | p0.set() | i0.set() | r0.set() | r1.set()
	second := entry{kind: snapshot, snap: 1, need: both, refs: refs{name: r1, base: r0, packs: p0.set()},
		seg: segment{name: none}}
	if c.partly || c.second || c.without {
		second.need = chunkA
	}
	if c.second {
		s1 := u.add("S1")
		u.opener[s1] = 1
		p1, i1 := u.pack(s1, "P1"), u.add("I1")
		second.refs = refs{name: r1, base: none, packs: p1.set()}
		second.seg = segment{i1, places{p1.set()}}
		store |= s1.set() | p1.set() | i1.set()
	}
	v = m.append(v, second)
	m.initial = state{store: store, log: v.id}
	for i := range m.initial.writers {
		m.initial.writers[i] = writer{phase: done, session: none, own: nowhere, from: nowhere, base: none, segment: none}
		m.initial.collectors[i] = collector{phase: done, target: none, own: none}
	}
	m.initial.merger.phase = done

	for i, c := range c.writers {
		m.initial.writers[i].phase = idle
		w := writerNames{who: fmt.Sprintf("writer %d", i)}
		for a := range c.attempts {
			at := fmt.Sprintf("w%d.%d", i, a)
			s := u.add("S-%s", at)
			u.opener[s] = uint8(2 + i)
			w.session = append(w.session, s)
			w.segment, w.refs = append(w.segment, u.add("I-%s", at)), append(w.refs, u.add("R-%s", at))
			if c.partial {
				w.partial = append(w.partial, u.add("J-%s", at))
			}
			var packs []name
			for b := range c.attempts {
				if b < a {
					packs = append(packs, none)
				} else {
					packs = append(packs, u.pack(s, "P-w%d.%d.%d", i, a, b))
				}
			}
			w.pack = append(w.pack, packs)
		}
		m.writers = append(m.writers, w)
	}
	for i, c := range c.collectors {
		m.initial.collectors[i].phase = idle
		k := collectorNames{who: fmt.Sprintf("collector %d", i)}
		for a := range c.marks {
			at := fmt.Sprintf("c%d.%d", i, a)
			k.segment = append(k.segment, u.add("I-%s", at))
			if !c.repack {
				continue
			}
			s := u.add("S-%s", at)
			u.opener[s] = 0
			k.session = append(k.session, s)
			k.pack = append(k.pack, u.pack(s, "P-%s", at))
			var lists [maxSnaps]name
			for s := range lists {
				lists[s] = none
				if s < 2+len(m.config.writers) {
					lists[s] = u.add("R-%s.%d", at, s)
				}
			}
			k.refs = append(k.refs, lists)
		}
		m.collectors = append(m.collectors, k)
	}
	if c.merge {
		m.initial.merger.phase, m.merged = idle, u.add("I-merged")
	}
	return m
}

var nowhere = [chunks]name{none, none}

// step fills next and actions with all that may happen in s.
func (m *model) step(s *state) {
	m.next, m.actions = m.next[:0], m.actions[:0]
	head := m.views[s.log]
	for i := range m.writers {
		m.stepWriter(s, head, i)
	}
	for i := range m.collectors {
		m.stepCollector(s, head, i)
	}
	if m.config.merge {
		m.stepMerger(s, head)
	}
	for _, n := range m.config.forget {
		if head.snaps[n].live {
			e := entry{kind: forget, snap: n, refs: noRefs, seg: segment{name: none}}
			m.to(s, "the administrator", "forgets a snapshot, which needs", head.snaps[n].refs.packs).log = m.append(head, e).id
		}
	}
	// A sweeper knows nothing but the log, so any number of them, begun and stopped at any time, is just this: any
	// object of any condemn entry may be deleted at any time.
	if m.config.unswept {
		return
	}
	(head.condemned & s.store).each(func(n name) {
		m.to(s, "a sweeper", "deletes", n.set()).store &^= n.set()
	})
}

// to adds a copy of s to next and returns it to be changed.
func (m *model) to(s *state, who, what string, set set) *state {
	m.next = append(m.next, *s)
	m.actions = append(m.actions, action{who, what, set})
	return &m.next[len(m.next)-1]
}
