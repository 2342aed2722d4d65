package routermodel

import (
	"fmt"
	"math/bits"
	"strings"
)

const (
	sites = 3 // 0 is the home site of the first epoch, 1 that of the second
	slots = 2
	need  = 2 // m
)

// rules are those that a variant leaves out, or changes.
type rules struct {
	noCheck         bool // 3: the claim of a later epoch is not looked for
	noIntents       bool // 1: only the home site gets an intent
	noRollForward   bool // 5: what others have begun is left
	earlyRemoval    bool // 4: the intents go before the check
	homeLast        bool // 2: the others do not wait for the home site
	claimFew        bool // 6: one claim is enough
	noUnite         bool // 6: the new home site is ready at once
	dropAllIntents  bool // 6: intents are removed if their object is there, though it may have come later
	overrule        bool // 2: an object that is in doubt yields to another
	lookBeforeWrite bool // 5: others' intents are looked for before the head of the log is read
}

type site struct {
	dead   bool
	claim  bool // of the second epoch
	ready  bool // in the second epoch
	log    [slots]uint8
	intent [slots]uint8 // bits of the writers that put one
}

// The steps of a writer.
const (
	idle uint8 = iota
	looked
	intending
	asked // the home site has taken it
	removing
	settling
	reported
	stopped
)

type writer struct {
	pc    uint8
	epoch uint8
	slot  uint8
	// Bits of sites, for its own entry and then for the one before it.
	intent, has uint8
	listed      bool  // others' intents at the home site have been looked for
	doubt       uint8 // bits of those found, at the slot before
}

// The steps of the promotion.
const (
	claiming uint8 = iota
	uniting
	dropping
	readying
	promoted
)

type promotion struct {
	pc      uint8
	claimed uint8
	slot    uint8
	at      uint8 // the next site to read or to write
	writing bool
	put     bool  // the intent is there
	val     uint8 // what is right at the slot, as read
	clear   bool  // it was found without an intent
	lacked  bool  // the new home site did not have it
	seen    [slots]uint8
	united  uint8 // bits of slots that were read and written
}

type state struct {
	s     [sites]site
	w     [2]writer
	p     promotion
	told  [slots]uint8 // what was reported
	under uint8        // what the second slot's reported entry rests on
	twice bool
	loss  uint8 // how many sites have died
	early bool  // the first of them before a promotion read anything, so that it makes the loss good
}

// step is a state that another leads to.
type step struct {
	what string
	to   state
}

func (x *state) home(e uint8) int { return int(e - 1) }

// usable is whether a writer of an epoch writes to a site.
func (x *state) usable(e uint8, i int) bool { return !x.s[i].dead && (e == 1 || x.s[i].ready) }

// next returns all steps that can follow.
func (r *rules) next(x state) []step {
	var out []step
	add := func(what string, f func(y *state)) {
		y := x
		f(&y)
		out = append(out, step{what, y})
	}
	for i := range x.s {
		if !x.s[i].dead && (x.loss == 0 || x.loss == 1 && x.p.pc == promoted && x.early) {
			add(fmt.Sprintf("site %d dies", i), func(y *state) {
				y.s[i] = site{dead: true}
				y.loss++
				y.early = x.p.pc == claiming
			})
		}
	}
	for i := range x.w {
		out = append(out, r.write(x, i)...)
	}
	return append(out, r.promote(x)...)
}

// write returns the steps of a writer.
func (r *rules) write(x state, n int) []step {
	w := x.w[n]
	var out []step
	add := func(what string, f func(y *state, w *writer)) {
		y := x
		f(&y, &y.w[n])
		out = append(out, step{fmt.Sprintf("writer %d: %s", n+1, what), y})
	}
	if w.pc == idle {
		if n == 1 && x.w[0].pc == idle {
			return nil // the writers are alike: let the first be the first
		}
		for e := uint8(1); e <= 2; e++ {
			r.open(&x, e, add)
		}
		return out
	}
	h := x.home(w.epoch)
	me := uint8(1) << n
	switch w.pc {
	case looked, intending, asked:
		r.ownSteps(x, n, add)
	case removing:
		for i := range x.s {
			if x.s[i].intent[w.slot]&me != 0 && !x.s[i].dead && w.has&(1<<i) != 0 && (i != h || bits.OnesCount8(w.has) == 1) {
				add(fmt.Sprintf("removes its intent at site %d", i), func(y *state, w *writer) {
					y.s[i].intent[w.slot] &^= me
					if w.has &^= 1 << i; w.has == 0 {
						y.removed(r, n)
					}
				})
				return out
			}
		}
		add("has no more intents", func(y *state, _ *writer) { y.removed(r, n) })
	case settling:
		r.settle(x, n, add)
	}
	return out
}

// removed goes on after the last intent.
func (x *state) removed(r *rules, n int) {
	w := &x.w[n]
	w.intent, w.has = 0, 0
	w.pc = settling
	if w.doubt == 0 || r.noRollForward {
		x.report(n)
	}
}

// open begins a writer's run: it learns the epoch, reads the log at its home site and finds the first free slot.
func (r *rules) open(x *state, e uint8, add func(string, func(*state, *writer))) {
	h := x.s[x.home(e)]
	if h.dead || e == 1 && h.claim || e == 2 && !h.ready {
		return
	}
	for k := range slots {
		if h.log[k] == 0 {
			add(fmt.Sprintf("opens in epoch %d and finds slot %d free", e, k+1), func(y *state, w *writer) {
				w.pc, w.epoch, w.slot = looked, e, uint8(k)
				w.listed = r.lookBeforeWrite || k == 0
			})
			return
		}
	}
}

// ownSteps are those of a writer's own entry.
func (r *rules) ownSteps(x state, n int, add func(string, func(*state, *writer))) {
	w, me, value := x.w[n], uint8(1)<<n, uint8(n+1)
	h := x.home(w.epoch)
	for i := range x.s {
		bit := uint8(1) << i
		if !x.usable(w.epoch, i) {
			continue
		}
		// Others get theirs while the home site is asked; that they get it as late as they may is the worst case.
		if w.intent&bit == 0 && (i == h || w.pc == asked || r.homeLast && w.intent&(1<<h) != 0) {
			add(fmt.Sprintf("puts an intent at site %d", i), func(y *state, w *writer) {
				w.intent |= bit
				w.pc = max(w.pc, intending)
				if i == h || !r.noIntents {
					y.s[i].intent[w.slot] |= me
				}
			})
		}
		if i != h && w.intent&bit != 0 && w.has&bit == 0 && (w.pc == asked || r.homeLast) {
			r.copyTo(x, i, w.slot, value, add)
		}
	}
	r.homeSteps(x, n, add)
}

// homeSteps are those at the home site.
func (r *rules) homeSteps(x state, n int, add func(string, func(*state, *writer))) {
	w, me, value := x.w[n], uint8(1)<<n, uint8(n+1)
	h := x.home(w.epoch)
	if w.pc == intending && !w.listed {
		add("looks for others' intents", func(y *state, w *writer) {
			w.listed = true
			if w.slot > 0 {
				w.doubt = y.s[h].intent[w.slot-1] &^ me
			}
		})
	}
	if w.pc == intending && w.listed && !x.s[h].dead {
		add("asks the home site", func(y *state, w *writer) {
			if y.s[h].log[w.slot] != 0 {
				y.s[h].intent[w.slot] &^= me
				w.pc = stopped
				return
			}
			y.s[h].log[w.slot] = value
			w.pc = asked
			y.arrived(r, w, h)
		})
	}
	if w.pc == asked && r.earlyRemoval {
		add("removes its intents", func(y *state, _ *writer) {
			for i := range y.s {
				y.s[i].intent[w.slot] &^= me
			}
		})
	}
	if w.pc == asked && enough(w, h) {
		add("has reached enough sites", func(_ *state, w *writer) { w.pc = removing })
	}
}

func enough(w writer, h int) bool {
	return bits.OnesCount8(w.has) >= need && w.has&(1<<h) != 0
}

// arrived is the look for a later epoch, as soon as a site has an entry. That is the worst case: whatever comes between
// the two can come after them as well, where the writer does not see it.
func (x *state) arrived(r *rules, w *writer, i int) {
	w.has |= 1 << i
	if w.epoch == 1 && x.s[i].claim && !r.noCheck {
		w.pc = stopped
	}
}

// copyTo puts an entry at another site.
func (r *rules) copyTo(x state, i int, k, value uint8, add func(string, func(*state, *writer))) {
	there := x.s[i].log[k]
	if there != 0 && there != value && !(r.overrule && x.s[i].intent[k]&^(1<<(value-1)) != 0) {
		return // a conflict: the site does not count
	}
	add(fmt.Sprintf("copies slot %d to site %d", k+1, i), func(y *state, w *writer) {
		y.s[i].log[k] = value
		y.arrived(r, w, i)
	})
}

// settle brings the entry before a writer's own to enough sites.
func (r *rules) settle(x state, n int, add func(string, func(*state, *writer))) {
	w := x.w[n]
	h, k := x.home(w.epoch), w.slot-1
	if x.s[h].dead {
		return
	}
	value := x.s[h].log[k]
	if w.has&(1<<h) == 0 {
		add("settles the slot before", func(y *state, w *writer) { y.arrived(r, w, h) })
		return
	}
	for i := range x.s {
		bit := uint8(1) << i
		if i == h || !x.usable(w.epoch, i) || w.has&bit != 0 {
			continue
		}
		if w.intent&bit == 0 {
			add(fmt.Sprintf("puts the other's intent at site %d", i), func(y *state, w *writer) {
				w.intent |= bit
				if !r.noIntents {
					y.s[i].intent[k] |= w.doubt
				}
			})
			continue
		}
		r.copyTo(x, i, k, value, add)
	}
	if enough(w, h) {
		add("has settled the slot before", func(y *state, w *writer) {
			for i := range y.s {
				if w.has&(1<<i) != 0 {
					y.s[i].intent[k] &^= w.doubt
				}
			}
			y.report(n)
		})
	}
}

// report tells the writer's user that his entry is safe.
func (x *state) report(n int) {
	w := &x.w[n]
	value := uint8(n + 1)
	x.twice = x.twice || x.told[w.slot] != 0 && x.told[w.slot] != value
	x.told[w.slot] = value
	if w.slot == 1 {
		x.under = x.s[x.home(w.epoch)].log[0]
		if x.s[x.home(w.epoch)].dead {
			x.under = 3 - value // there is but one other writer
		}
	}
	*w = writer{pc: reported, epoch: w.epoch, slot: w.slot}
}

// promote returns the steps of the promotion of site 1.
func (r *rules) promote(x state) []step {
	p := x.p
	var out []step
	add := func(what string, f func(y *state, p *promotion)) {
		y := x
		f(&y, &y.p)
		for y.goOn(r) {
			continue
		}
		out = append(out, step{"promotion: " + what, y})
	}
	switch p.pc {
	case claiming:
		for i := range x.s {
			if !x.s[i].dead && p.claimed&(1<<i) == 0 {
				add(fmt.Sprintf("claims site %d", i), func(y *state, p *promotion) {
					y.s[i].claim = true
					p.claimed |= 1 << i
				})
			}
		}
		least := sites - need + 1
		if r.claimFew {
			least = 1
		}
		if bits.OnesCount8(p.claimed) >= least && p.claimed&2 != 0 {
			add("has claimed enough", func(_ *state, p *promotion) {
				p.pc = uniting
				if r.noUnite {
					p.pc = readying
				}
			})
		}
	case uniting:
		r.unite(x, add)
	case dropping:
		r.drop(x, add)
	case readying:
		r.makeReady(x, add)
	}
	return out
}

// goOn makes the promotion pass over what it has nothing to do with, and reports whether it did.
func (x *state) goOn(r *rules) bool {
	p := &x.p
	i := int(p.at)
	switch {
	case p.pc == claiming || p.pc == promoted:
		return false
	case p.pc == readying && i == sites:
		p.pc, p.at, p.claimed = promoted, 0, 0
	case i == sites && p.pc == uniting && !p.writing && p.val != 0:
		p.writing, p.at = true, 0
	case i == sites:
		if p.pc == uniting && p.writing {
			p.united |= 1 << p.slot
		}
		p.writing, p.val, p.clear, p.lacked, p.at = false, 0, false, false, 0
		if p.slot++; p.slot == slots {
			p.slot = 0
			if p.pc++; p.pc == readying {
				p.seen, p.united = [slots]uint8{}, 0
			}
		}
	case x.idle(r):
		p.at++
	default:
		return false
	}
	return true
}

// idle reports whether the promotion has nothing to do at a site.
func (x *state) idle(r *rules) bool {
	p := &x.p
	if p.claimed&(1<<p.site()) == 0 {
		return true
	}
	switch p.pc {
	case uniting:
		return p.writing && x.s[p.at].log[p.slot] == p.val
	case dropping:
		united := p.united&(1<<p.slot) != 0
		if r.dropAllIntents {
			united = x.s[1].log[p.slot] != 0
		}
		return !united || x.s[p.at].intent[p.slot]&r.droppable(p) == 0
	}
	return false
}

// site is the one that the promotion has to do with next: the new home site is made ready last.
func (p *promotion) site() int {
	if p.pc == readying {
		return [sites]int{0, 2, 1}[p.at]
	}
	return int(p.at)
}

// droppable are the intents that are removed from a slot.
func (r *rules) droppable(p *promotion) uint8 {
	return p.seen[p.slot] | 4
}

// unite reads a slot at all claimed sites, and then brings what is right to those that lack it.
func (r *rules) unite(x state, add func(string, func(*state, *promotion))) {
	p, i, k := x.p, int(x.p.at), x.p.slot
	switch {
	case x.s[i].dead: // it fails, and has to be begun again
	case !p.writing:
		add(fmt.Sprintf("reads slot %d at site %d", k+1, i), func(y *state, p *promotion) {
			there, clear := y.s[i].log[k], y.s[i].intent[k] == 0
			p.seen[k] |= y.s[i].intent[k]
			if i == 1 && there == 0 {
				p.lacked = true
			}
			if there != 0 && (p.val == 0 || clear && !p.clear || i == 1 && clear == p.clear) {
				p.val, p.clear = there, clear
			}
			p.at++
		})
	case !p.put && (p.seen[k] != 0 || p.lacked):
		add(fmt.Sprintf("puts an intent at site %d", i), func(y *state, p *promotion) {
			y.s[i].intent[k] |= 4
			p.put = true
		})
	default:
		add(fmt.Sprintf("copies slot %d to site %d", k+1, i), func(y *state, p *promotion) {
			y.s[i].log[k] = p.val
			p.at++
			p.put = false
		})
	}
}

// drop removes the intents of what has been united.
func (r *rules) drop(x state, add func(string, func(*state, *promotion))) {
	i := int(x.p.at)
	if x.s[i].dead {
		return
	}
	add(fmt.Sprintf("removes the intents at site %d", i), func(y *state, p *promotion) {
		y.s[i].intent[p.slot] &^= r.droppable(p)
		p.at++
	})
}

// makeReady lets the claimed sites take part.
func (r *rules) makeReady(x state, add func(string, func(*state, *promotion))) {
	i := x.p.site()
	if x.s[i].dead {
		return
	}
	add(fmt.Sprintf("makes site %d ready", i), func(y *state, p *promotion) {
		y.s[i].ready = true
		p.at++
	})
}

// broken says which promise a state breaks.
func (x *state) broken() string {
	if x.twice {
		return "a slot was reported twice"
	}
	lost := func(k int, v uint8) bool {
		for i := range x.s {
			if x.s[i].log[k] == v {
				return false
			}
		}
		return v != 0
	}
	switch {
	case lost(0, x.told[0]), lost(1, x.told[1]):
		return "a reported entry is lost"
	case x.told[1] != 0 && lost(0, x.under):
		return "what a reported entry rests on is lost"
	}
	for k := range slots {
		found := uint8(0)
		for i := range x.s {
			if s := &x.s[i]; s.ready && s.log[k] != 0 && s.intent[k] == 0 {
				if found != 0 && found != s.log[k] {
					return "two sites hold different entries, and neither is in doubt"
				}
				found = s.log[k]
			}
		}
	}
	return ""
}

// search visits all states, nearest first, and returns how many there are, and the shortest way to one that breaks a
// promise.
func (r *rules) search() (int, string) {
	all, from := []state{{}}, []int32{-1}
	seen := map[state]struct{}{{}: {}}
	for i := 0; i < len(all); i++ {
		if bad := all[i].broken(); bad != "" {
			trace := []string{bad}
			for j := int32(i); from[j] >= 0; j = from[j] {
				for _, n := range r.next(all[from[j]]) {
					if n.to == all[j] {
						trace = append([]string{n.what}, trace...)
						break
					}
				}
			}
			return len(all), strings.Join(trace, "\n\t")
		}
		for _, n := range r.next(all[i]) {
			if _, ok := seen[n.to]; !ok {
				seen[n.to] = struct{}{}
				all = append(all, n.to)
				from = append(from, int32(i))
			}
		}
	}
	return len(all), ""
}
