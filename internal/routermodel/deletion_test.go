package routermodel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// delRules are the rules of a deletion that a variant leaves out.
type delRules struct {
	noOwnIntent bool // who settles has no intent of its own
	noLookFirst bool // and does not look for a deletion before it copies
	noLookAfter bool // nor for the object afterwards
	noTombstone bool // who deletes does not look for writes under way
	noAgain     bool // nor whether its intent was settled
	undoInPlace bool // who takes back a deletion does not remove its intent first
	dropEarly   bool // a debt is dropped when it is paid, whoever is still at work
	fillDies    bool // a comparison may be killed between a copy and the look after it
}

// delState is the home site, a copy site, and what was left by a writer that was killed.
type delState struct {
	home, copy bool // who has the object
	write      bool // the dead writer's intent at the home site
	doubt      bool // and at the copy site
	own        [2]bool
	del        bool // the deletion's intent at the home site
	debt       bool
	r          uint8 // the step of the deletion
	q          [2]delHelper
}

// delHelper is a process that settles, pays or compares.
type delHelper struct {
	kind, pc    uint8
	seen, wrote bool // a write under way was seen; the copy is this one's
}

// The kinds of helpers, and the end of every process. A deletion that has been reported is at told.
const (
	choosing uint8 = iota
	settlingWrite
	takingBack // a deletion whose process may be dead
	paying
	comparing

	told  uint8 = 98
	ended uint8 = 99
)

// next returns all states that one request leads to, or the death of a process.
func (r *delRules) next(x delState) (out []delState) {
	add := func(f func(*delState)) {
		y := x
		f(&y)
		out = append(out, y)
	}
	if x.r < told {
		add(func(y *delState) { y.r = ended })
		add(func(y *delState) { r.deleter(y) })
	}
	for i := range x.q {
		q := x.q[i]
		switch {
		case q.kind == choosing:
			for k := settlingWrite; k <= comparing; k++ {
				add(func(y *delState) { y.q[i].kind = k })
			}
		case q.pc < ended:
			if q.kind != comparing || q.pc != 3 || r.fillDies {
				add(func(y *delState) { y.q[i].pc = ended })
			}
			add(func(y *delState) { r.helper(y, i) })
		}
	}
	return out
}

// deleter makes the deletion's next request.
func (r *delRules) deleter(y *delState) {
	switch y.r++; y.r {
	case 1:
		if !y.home {
			y.r = ended
		}
	case 2:
		y.del = true
	case 3: // looks for writes under way, and notes the deletion for all if there is one
		y.debt = y.debt || !r.noTombstone && (y.write || y.own[0] || y.own[1])
	case 4:
		y.copy = false
	case 5:
		y.home = false
	case 6: // its intent is still there: nobody has begun to take the deletion back
		if y.del || r.noAgain {
			y.r = 8
		}
	case 7:
		y.debt = true
	case 8:
		y.copy = false
	case 9:
		y.del = false
		y.r = told
	}
}

// helper makes a helper's next request.
func (r *delRules) helper(y *delState, i int) {
	q := &y.q[i]
	q.pc++
	switch q.kind {
	case settlingWrite:
		r.settleWrite(y, i, q)
	case takingBack:
		r.takeBack(y, i, q)
	case paying:
		switch q.pc {
		case 1: // lists what is under way
			q.seen = y.write || y.doubt || y.own[0] || y.own[1]
		case 2:
			if !y.debt || y.home {
				q.pc = ended
			}
		case 3:
			y.copy = false
		case 4:
			y.debt = y.debt && q.seen && !r.dropEarly
			q.pc = ended
		}
	case comparing:
		r.compare(y, q)
	}
}

func (r *delRules) settleWrite(y *delState, i int, q *delHelper) {
	switch q.pc {
	case 1:
		if !y.write || !y.home {
			q.pc = ended
		}
	case 2:
		y.own[i] = !r.noOwnIntent
	case 3:
		if y.del && !r.noLookFirst {
			q.pc = 9
		}
	case 4: // reads
		if !y.home {
			q.pc = 9
		}
	case 5:
		y.doubt = true
	case 6:
		q.wrote, y.copy = !y.copy, true
	case 7:
		if !y.home && !r.noLookAfter {
			y.copy = y.copy && !q.wrote
			q.pc = 9
		}
	case 8:
		y.doubt = false
	case 9:
		y.write = false
	case 10:
		y.own[i] = false
		q.pc = ended
	}
}

func (r *delRules) takeBack(y *delState, i int, q *delHelper) {
	switch q.pc {
	case 1:
		if !y.del {
			q.pc = ended
		}
	case 2:
		if !y.home { // it was carried out: to the others too
			y.copy = false
			q.pc = 9
		}
	case 3:
		y.own[i] = true
	case 4:
		y.del = y.del && r.undoInPlace
	case 5: // reads
		if !y.home {
			q.pc = 8
		}
	case 6:
		q.wrote, y.copy = !y.copy, true
	case 7:
		if !y.home && !r.noLookAfter {
			y.copy = y.copy && !q.wrote
		}
	case 8:
		y.del = y.del && !r.undoInPlace
	case 9:
		y.own[i] = false
		q.pc = ended
	case 10:
		y.del = false
		q.pc = ended
	}
}

func (r *delRules) compare(y *delState, q *delHelper) {
	switch q.pc {
	case 1:
		if !y.home {
			q.pc = 5
		}
	case 2:
		if y.copy {
			q.pc = ended
		}
	case 3:
		q.wrote, y.copy = !y.copy, true
	case 4:
		if (!y.home || y.del) && !r.noLookAfter {
			y.copy = y.copy && !q.wrote
		}
		q.pc = ended
	case 6:
		if !y.copy {
			q.pc = ended
		}
	case 7:
		if y.debt {
			y.copy = false
			q.pc = ended
		}
	case 8:
		y.home = y.home || y.copy
		q.pc = ended
	}
}

// over reports whether all processes have ended; what is wrong once somebody has reconciled after that is bad.
func (x delState) over() (bad string, over bool) {
	if x.r < told || x.q[0].pc < ended || x.q[1].pc < ended {
		return "", false
	}
	if x.debt && !x.home {
		x.copy = false
	}
	if x.del || x.home {
		x.copy = x.home
	}
	x.home = x.home || x.copy
	if x.r == told && x.home {
		return "what was reported to be deleted has come back", true
	}
	return "", true
}

// search visits all states and returns their number, and the shortest way to one that is bad.
func (r *delRules) search() (int, string) {
	first := delState{home: true, write: true}
	all, from, seen := []delState{first}, []int{-1}, map[delState]bool{first: true}
	for i := 0; i < len(all); i++ {
		if bad, _ := all[i].over(); bad != "" {
			trace := []string{bad}
			for j := i; j >= 0; j = from[j] {
				trace = append([]string{fmt.Sprintf("%+v", all[j])}, trace...)
			}
			return len(all), strings.Join(trace, "\n\t")
		}
		for _, y := range r.next(all[i]) {
			if !seen[y] {
				seen[y] = true
				all, from = append(all, y), append(from, i)
			}
		}
	}
	return len(all), ""
}

func TestNothingDeletedComesBack(t *testing.T) {
	n, trace := new(delRules).search()
	require.Empty(t, trace)
	t.Logf("%d states", n)
	require.Greater(t, n, 1000)
}

func TestEveryRuleOfADeletionIsNeeded(t *testing.T) {
	for name, r := range map[string]delRules{
		"who settles has no intent":           {noOwnIntent: true},
		"no look before the copy":             {noLookFirst: true},
		"no look after the copy":              {noLookAfter: true},
		"no look for writes under way":        {noTombstone: true},
		"no look for the own intent":          {noAgain: true},
		"taken back under the same intent":    {undoInPlace: true},
		"the debt is dropped when it is paid": {dropEarly: true},
		"a comparison dies":                   {fillDies: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, trace := r.search()
			t.Logf("after %d states:\n\t%s", n, trace)
			require.NotEmpty(t, trace)
		})
	}
}
