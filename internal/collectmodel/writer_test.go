package collectmodel

// refers is every object that what the writer is about to commit counts on.
func (m *model) refers(w writer, i int, head *view) set {
	u := &m.writers[i]
	var packs, own set
	for c := range chunks {
		packs |= w.from[c].set()
		own |= w.own[c].set()
	}
	if m.weak == journalUnchecked && w.crashed > 0 {
		packs &^= own
		own = 0
	}
	if m.weak != segmentUnchecked && m.weak != locatedUnchecked {
		packs |= own // its segment places them, whether the plan takes them or not
	}
	out := packs
	if m.weak != sessionUnchecked {
		out |= m.sessions(packs)
	}
	switch w.phase {
	case commitPartial:
		if m.weak != segmentUnchecked {
			out |= u.partial[w.attempt].set()
		}
	case commit:
		out |= m.refsName(w, i).set()
		if m.weak != segmentUnchecked {
			out |= w.segment.set()
		}
		if m.weak != baseUnchecked {
			out |= w.base.set() | head.bases(w.base)
		}
	}
	return out
}

func (m *model) refsName(w writer, i int) name {
	if m.weak == sameRefsName {
		return m.writers[i].refs[0]
	}
	return m.writers[i].refs[w.attempt]
}

// packName is the name of the pack that the attempt uploads.
func (m *model) packName(w writer, i int) name {
	u := &m.writers[i]
	if m.weak == samePackName {
		return u.pack[0][0]
	}
	for a, s := range u.session {
		if s == w.session {
			return u.pack[a][w.attempt]
		}
	}
	return u.pack[w.attempt][w.attempt] // in a session of its own
}

func (m *model) stepWriter(s *state, head *view, i int) {
	u, c := &m.writers[i], &m.config.writers[i]
	w := s.writers[i]
	set := func(w writer, what string, n set) *state {
		t := m.to(s, u.who, what, n)
		t.writers[i] = w
		return t
	}

	if w.phase != idle && w.phase != done && w.crashed < c.crashes && w.attempt+1 < c.attempts {
		r := writer{phase: idle, read: w.read, attempt: w.attempt + 1, crashed: w.crashed + 1, session: w.session, own: w.own,
			from: nowhere, base: none, segment: none}
		set(r, "crashes and keeps its journal", 0)
		r.session, r.own = none, nowhere
		set(r, "crashes and loses its journal", 0)
	}

	switch w.phase {
	case idle:
		gone := head.since(w.read)
		if m.weak == journalUnchecked || m.weak == journalFromNow {
			gone = 0
		}
		m.plan(s, head, i, w, gone)

	case uploadSession:
		w.session = u.session[w.attempt]
		w.phase = uploadPack
		set(w, "uploads", w.session.set()).store |= w.session.set()

	case uploadPack:
		p := m.packName(w, i)
		for c := range chunks {
			if w.from[c] == p {
				w.own[c] = p
			}
		}
		w.phase = uploadSegment
		set(w, "uploads", p.set()).store |= p.set()
		if c.partial {
			w.phase = uploadPartial
			set(w, "uploads, and means to commit a partial entry,", p.set()).store |= p.set()
		}

	case uploadPartial:
		w.phase = commitPartial
		n := u.partial[w.attempt]
		set(w, "uploads", n.set()).store |= n.set()

	case commitPartial:
		if w.read < head.length {
			m.catchUp(s, head, i)
			return
		}
		seg := segment{u.partial[w.attempt], located(w)}
		v := m.append(head, entry{kind: partial, refs: noRefs, seg: seg})
		w.phase, w.read, w.segment = uploadSegment, v.length, seg.name
		set(w, "commits a partial entry with", seg.name.set()).log = v.id

	case uploadSegment:
		w.phase = uploadRefs
		if w.segment != none {
			set(w, "will name its partial segment again:", w.segment.set())
			w.segment = none
			set(w, "will rely on its partial entry", 0)
			return
		}
		w.segment = u.segment[w.attempt]
		set(w, "uploads", w.segment.set()).store |= w.segment.set()

	case uploadRefs:
		w.phase = commit
		n := m.refsName(w, i)
		set(w, "uploads", n.set()).store |= n.set()

	case commit:
		if w.read < head.length && m.weak != noOrder {
			m.catchUp(s, head, i)
			return
		}
		e := entry{kind: snapshot, snap: uint8(2 + i), need: c.need, seg: segment{name: none},
			refs: refs{name: m.refsName(w, i), base: w.base}}
		for c := range chunks {
			e.refs.packs |= w.from[c].set()
		}
		if w.segment != none {
			e.seg = segment{w.segment, located(w)}
		}
		w = writer{phase: done, session: none, own: nowhere, from: nowhere, base: none, segment: none}
		set(w, "commits a snapshot, which needs", e.refs.packs).log = m.append(head, e).id
	}
}

// located is what the writer's segment holds: all that it has uploaded and knows of.
func located(w writer) (p places) {
	for c := range chunks {
		p[c] = w.own[c].set()
	}
	return p
}

// catchUp is what follows a lost race: read the new entries, and go on unless they condemn what one refers to.
func (m *model) catchUp(s *state, head *view, i int) {
	w := s.writers[i]
	gone := head.since(w.read)
	bad := m.refers(w, i, head) & gone
	if m.weak == noCheck || m.weak == partialUnchecked && w.phase == commitPartial {
		bad = 0
	}
	if bad == 0 {
		w.read = head.length
		m.to(s, m.writers[i].who, "reads the log up to its head and goes on", 0).writers[i] = w
		return
	}
	w.attempt++
	w.segment = none
	if w.attempt == m.config.writers[i].attempts {
		w = writer{phase: done, session: none, own: nowhere, from: nowhere, base: none, segment: none}
		m.to(s, m.writers[i].who, "fails, for the log condemns", bad).writers[i] = w
		return
	}
	m.plan(s, head, i, w, gone)
}

// plan adds every plan that a writer may make who has read the log to its head: for each chunk, a place of the index,
// an upload of its own that is not gone, or a new upload; and a list to write the list of references against.
func (m *model) plan(s *state, head *view, i int, w writer, gone set) {
	u, c := &m.writers[i], &m.config.writers[i]
	w.read = head.length
	if gone.has(w.session) {
		w.session = none
	}
	var own set
	for c := range chunks {
		if p := w.own[c]; p != none && (gone.has(p) || gone.has(m.session[p])) {
			w.own[c] = none
		}
		own |= w.own[c].set()
	}
	fresh := m.packName(w, i)
	var choice [chunks]set
	for n := range chunks {
		choice[n] = none.set()
		if c.need>>n&1 != 0 {
			choice[n] = head.index[n] | w.own[n].set() | fresh.set()
		}
	}
	choose := func(a, b, base name) {
		w := w
		w.from, w.base = [chunks]name{a, b}, base
		switch packs := a.set() | b.set(); {
		case packs.has(fresh) && w.session == none:
			w.phase = uploadSession
		case packs.has(fresh):
			w.phase = uploadPack
		case own != 0:
			w.phase = uploadSegment
		default:
			w.phase = uploadRefs
		}
		m.to(s, u.who, "reads the log up to its head and plans to refer to", a.set()|b.set()|base.set()).writers[i] = w
	}
	each := func(s set, f func(name)) {
		if s == 0 {
			f(none)
		}
		s.each(f)
	}
	each(choice[0], func(a name) {
		each(choice[1], func(b name) {
			choose(a, b, none)
			if c.base {
				for _, b2 := range head.snaps {
					if b2.live {
						choose(a, b, b2.refs.name)
					}
				}
			}
		})
	})
}
