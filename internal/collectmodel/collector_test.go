package collectmodel

// dead is what a collector may condemn: all names that it knows of and that are not live.
func (m *model) dead(k collector, v *view) set {
	return (v.known | k.seen) &^ v.live &^ v.condemned
}

// closed adds to what is to be condemned the packs in condemned sessions that the index places chunks in.
func (m *model) closed(s set, v *view) set {
	if m.weak == shredKeepsPlaces {
		return s
	}
	out := s
	s.each(func(n name) { out |= m.of[n] & v.index.packs() })
	return out
}

// worth is the chunks in pack p, and those of them that live snapshots take from it.
func worth(v *view, p name) (all, alive chunkSet) {
	for c := range chunks {
		if v.index[c].has(p) {
			all |= 1 << c
		}
	}
	for _, s := range v.snaps {
		if s.live && s.refs.packs.has(p) {
			alive |= s.need & all
		}
	}
	return all, alive
}

// condemnEntry is what the collector means to publish: its plan, carried out against the state v.
func (m *model) condemnEntry(k collector, i int, v *view) entry {
	u := &m.collectors[i]
	e := entry{kind: condemn, refs: noRefs, seg: segment{name: none}, condemned: k.condemned}
	for s := range e.update {
		e.update[s] = noRefs
	}
	for _, s := range v.segs {
		if s.places.packs()&k.condemned != 0 {
			e.replaced |= s.name.set()
			e.seg.places = e.seg.places.and(s.places.without(k.condemned))
		}
	}
	if k.target != none {
		to := k.own
		if to == none {
			to = u.pack[k.mark]
		}
		_, alive := worth(v, k.target)
		for c := range chunks {
			if alive>>c&1 != 0 {
				e.seg.places[c] |= to.set()
			}
		}
		var old, lists set
		for i, s := range v.snaps {
			switch {
			case !s.live:
			case s.refs.packs.has(k.target):
				old |= s.refs.name.set()
				e.update[i] = refs{name: u.refs[k.mark][i], base: none, packs: s.refs.packs&^k.target.set() | to.set()}
			default:
				lists |= s.refs.name.set() | m.follow(v, s.refs.name)
			}
		}
		e.condemned |= old &^ lists
	}
	if e.seg.places != (places{}) {
		e.seg.name = u.segment[k.mark]
	}
	e.condemned |= e.replaced
	return e
}

// uploads is what an entry counts on that the collector has uploaded itself.
func (m *model) uploads(e entry, k collector) set {
	out := e.seg.name.set()
	if k.target != none {
		out |= k.own.set() | m.sessions(k.own.set())
	}
	for _, r := range e.update {
		out |= r.name.set()
	}
	return out
}

func (m *model) stepCollector(s *state, head *view, i int) {
	u, c := &m.collectors[i], &m.config.collectors[i]
	k := s.collectors[i]
	set := func(k collector, what string, n set) *state {
		t := m.to(s, u.who, what, n)
		t.collectors[i] = k
		return t
	}

	switch k.phase {
	case idle:
		if seen := s.store &^ head.known; c.list && k.seen == 0 && seen != 0 {
			l := k
			l.seen = seen
			set(l, "lists the store and sees", seen)
		}
		m.mark(s, head, i, k)

	case uploadSession:
		n := u.session[k.mark]
		k.phase = uploadPack
		set(k, "uploads", n.set()).store |= n.set()

	case uploadPack:
		if s.store.has(k.target) && s.store.has(m.session[k.target]) {
			_, k.copied = worth(head.at(k.read), k.target)
			k.own = u.pack[k.mark]
			k.phase = uploadSegment
			set(k, "copies what is live into", k.own.set()).store |= k.own.set()
		}

	case uploadSegment:
		n := u.segment[k.mark]
		k.phase = commit
		if k.target != none {
			k.phase, k.lists = uploadRefs, 0
		}
		set(k, "uploads", n.set()).store |= n.set()

	case uploadRefs:
		e := m.condemnEntry(k, i, head.at(k.read))
		for e.update[k.lists].name == none {
			k.lists++
		}
		n := e.update[k.lists].name
		k.lists++
		rest := false
		for _, r := range e.update[k.lists:] {
			rest = rest || r.name != none
		}
		if !rest {
			k.phase, k.lists = commit, 0
		}
		set(k, "uploads", n.set()).store |= n.set()

	case commit:
		e := m.condemnEntry(k, i, head.at(k.read))
		if m.weak == sweepEarly {
			(e.condemned & s.store).each(func(n name) { set(k, "sweeps, too early,", n.set()).store &^= n.set() })
		}
		stale := m.weak == noOrder || m.weak == staleMark && k.target == none || m.weak == staleRepack && k.target != none
		if k.read == head.length || stale {
			what := k.condemned
			r := collector{phase: idle, cycles: k.cycles + 1, mark: k.mark, target: none, own: none}
			if e.seg.name != none {
				r.mark++
			}
			if r.cycles == c.cycles {
				r.phase, r.mark = done, 0
			}
			set(r, "publishes an entry that condemns", what).log = m.append(head, e).id
			return
		}
		gone := head.since(k.read)
		if m.weak == collectorUnchecked {
			gone = 0
		}
		if c.keep && m.goes(k, head) && (m.needsSegment(k, head) == (e.seg.name != none)) {
			f := m.condemnEntry(k, i, head)
			if e.seg == f.seg && e.replaced == f.replaced && e.update == f.update && m.uploads(f, k)&gone == 0 {
				l := k
				l.read = head.length
				set(l, "reads the log up to its head, marks again and finds its plan unchanged", 0)
			}
		}
		if e.seg.name != none {
			k.mark++
		}
		m.mark(s, head, i, k)
	}
}

// goes says whether the plan of k is one that it could make in v.
func (m *model) goes(k collector, v *view) bool {
	if k.target == none {
		return k.condemned&^m.dead(k, v) == 0 && m.closed(k.condemned, v) == k.condemned
	}
	all, alive := worth(v, k.target)
	return alive != 0 && alive != all && alive&^k.copied == 0
}

// mark adds every plan that a collector may make who has read the log to its head.
func (m *model) mark(s *state, head *view, i int, k collector) {
	u, c := &m.collectors[i], &m.config.collectors[i]
	gone := head.since(k.read)
	if m.weak == collectorUnchecked {
		gone = 0
	}
	if k.own != none && gone&(k.own.set()|m.session[k.own].set()) != 0 {
		k.own, k.copied = none, 0
	}
	k.read, k.target, k.condemned, k.lists = head.length, none, 0, 0

	if c.drop {
		plan := func(what set) {
			k := k
			k.own, k.copied = none, 0
			k.condemned = m.closed(what, head)
			k.phase = commit
			if m.needsSegment(k, head) {
				if k.mark == c.marks {
					return
				}
				k.phase = uploadSegment
			}
			m.to(s, u.who, "reads the log up to its head, marks and plans to condemn", k.condemned).collectors[i] = k
		}
		dead := m.dead(k, head)
		if c.any {
			for sub := dead; sub != 0; sub = (sub - 1) & dead {
				plan(sub)
			}
		} else if dead != 0 {
			plan(dead)
			if c.one && dead&(dead-1) != 0 {
				dead.each(func(n name) { plan(n.set()) })
			}
		}
	}

	if c.repack && k.mark < c.marks {
		head.index.packs().each(func(p name) {
			all, alive := worth(head, p)
			if alive == 0 || alive == all {
				return
			}
			k := k
			k.target, k.condemned = p, p.set()
			k.phase = uploadSegment
			if k.own == none || alive&^k.copied != 0 {
				k.own, k.copied = none, 0
				k.phase = uploadSession
			}
			m.to(s, u.who, "reads the log up to its head, marks and plans to repack", p.set()).collectors[i] = k
		})
	}
}

// needsSegment says whether the index, without what the plan condemns, has places that need a new segment.
func (m *model) needsSegment(k collector, v *view) bool {
	if k.target != none {
		return true
	}
	for _, s := range v.segs {
		if s.places.packs()&k.condemned != 0 && s.places.without(k.condemned) != (places{}) {
			return true
		}
	}
	return false
}

func (m *model) stepMerger(s *state, head *view) {
	g := s.merger
	switch g.phase {
	case idle:
		for a, x := range head.segs {
			for _, y := range head.segs[a+1:] {
				m.to(s, "the merger", "reads the log up to its head and merges", x.name.set()|y.name.set()).merger =
					merger{phase: uploadSegment, read: head.length, made: head.length, inputs: [2]name{x.name, y.name}}
			}
		}
	case uploadSegment:
		g.phase = commit
		t := m.to(s, "the merger", "uploads", m.merged.set())
		t.merger, t.store = g, t.store|m.merged.set()
	case commit:
		if g.read < head.length {
			g.read = head.length
			if head.since(s.merger.read).has(m.merged) && m.weak != mergeUnchecked {
				m.to(s, "the merger", "fails, for the log condemns", m.merged.set()).merger = merger{phase: done}
				return
			}
			m.to(s, "the merger", "reads the log up to its head and goes on", 0).merger = g
			return
		}
		e := entry{kind: checkpoint, refs: noRefs, seg: segment{name: m.merged},
			replaced: g.inputs[0].set() | g.inputs[1].set()}
		for _, x := range head.at(g.made).segs {
			if e.replaced.has(x.name) {
				e.seg.places = e.seg.places.and(x.places)
			}
		}
		if m.weak == mergeOnePlace {
			e.seg.places = e.seg.places.one()
		}
		t := m.to(s, "the merger", "publishes a checkpoint with", m.merged.set())
		t.merger, t.log = merger{phase: done}, m.append(head, e).id
	}
}
