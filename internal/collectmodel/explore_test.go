package collectmodel

import (
	"fmt"
	"strings"
)

// A search visits every state that can be reached, nearest first, and keeps each once, whole: nothing rests on hashes
// being different.
type search struct {
	model  *model
	blocks [][]state // in the order in which they were found
	from   [][]int32 // the state that each was found from
	count  int
	acts   map[string]int // how often each kind of action was possible
	table  []int32        // open addressing; 1 + number of the state
}

const blockSize = 1 << 14

func newSearch(c config) *search {
	return &search{model: newModel(c), table: make([]int32, 1<<16), acts: map[string]int{}}
}

func (x *search) state(i int32) *state { return &x.blocks[i/blockSize][i%blockSize] }

func (x *search) slot(s *state) int {
	mask := len(x.table) - 1
	i := int(s.hash()) & mask
	for x.table[i] != 0 && *x.state(x.table[i] - 1) != *s {
		i = (i + 1) & mask
	}
	return i
}

// add keeps s unless it is there.
func (x *search) add(s *state, from int32) {
	i := x.slot(s)
	if x.table[i] != 0 {
		return
	}
	if x.count%blockSize == 0 {
		x.blocks = append(x.blocks, make([]state, blockSize))
		x.from = append(x.from, make([]int32, blockSize))
	}
	*x.state(int32(x.count)) = *s
	x.from[x.count/blockSize][x.count%blockSize] = from
	x.count++
	x.table[i] = int32(x.count)
	if x.count*2 > len(x.table) {
		x.table = make([]int32, 2*len(x.table))
		for n := range int32(x.count) {
			x.table[x.slot(x.state(n))] = n + 1
		}
	}
}

// A verdict is what is wrong with a state.
type verdict uint8

const (
	fine     verdict = iota
	promise          // the state of the log names an object that is condemned, or is not there
	dataLoss         // a snapshot that is committed and not forgotten cannot be read
)

func (m *model) judge(s *state) verdict {
	v := m.views[s.log]
	have := m.have(s)
	if v.sane && v.named&^have == 0 {
		return fine
	}
	if m.lost(v, have) >= 0 {
		return dataLoss
	}
	return promise
}

// have is what is in the store, or what is left there if all sweeps are done, in a world that does without sweepers.
func (m *model) have(s *state) set {
	if m.config.unswept {
		return s.store &^ m.views[s.log].condemned
	}
	return s.store
}

// run searches until a state is found that is at least as bad as stop, and returns its number; or -1 if there is none.
func (x *search) run(stop verdict) int32 {
	m := x.model
	x.add(&m.initial, -1)
	for i := int32(0); int(i) < x.count; i++ {
		if m.judge(x.state(i)) >= stop {
			return i
		}
		m.step(x.state(i))
		for n := range m.next {
			x.add(&m.next[n], i)
			x.acts[m.actions[n].what]++
		}
	}
	return -1
}

// trace is how state i comes about: one of the shortest ways.
func (x *search) trace(i int32) string {
	m := x.model
	var path []int32
	for n := i; n >= 0; n = x.from[n/blockSize][n%blockSize] {
		path = append(path, n)
	}
	var b strings.Builder
	for p := len(path) - 1; p > 0; p-- {
		to := *x.state(path[p-1])
		m.step(x.state(path[p]))
		for n, s := range m.next {
			if s == to {
				a := m.actions[n]
				fmt.Fprintf(&b, "  %2d. %s %s", len(path)-p, a.who, a.what)
				if a.set != 0 {
					fmt.Fprintf(&b, " %v", m.names.String(a.set))
				}
				b.WriteByte('\n')
				break
			}
		}
	}
	s := x.state(i)
	v := m.views[s.log]
	if n := m.lost(v, m.have(s)); n >= 0 {
		fmt.Fprintf(&b, "  => snapshot %d is lost: list %s, packs %v\n", n, m.text[v.snaps[n].refs.name],
			m.names.String(v.snaps[n].refs.packs))
	} else {
		fmt.Fprintf(&b, "  => the log names %v, condemned or not there\n",
			m.names.String(v.named&v.condemned|v.named&^s.store))
	}
	return b.String()
}

// hash mixes all fields of a state. States are told apart by ==, so it need not be perfect.
func (s *state) hash() uint64 {
	h := uint64(s.store)
	mix := func(v uint64) {
		h = (h ^ v) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	mix(uint64(uint32(s.log)) | uint64(s.merger.phase)<<32 | uint64(s.merger.read)<<40)
	mix(uint64(s.merger.made) | uint64(s.merger.inputs[0])<<8 | uint64(s.merger.inputs[1])<<16)
	for i := range s.writers {
		w := &s.writers[i]
		mix(uint64(w.phase) | uint64(w.read)<<8 | uint64(w.attempt)<<16 | uint64(w.crashed)<<24 | uint64(w.session)<<32 |
			uint64(w.own[0])<<40 | uint64(w.own[1])<<48 | uint64(w.from[0])<<56)
		mix(uint64(w.from[1]) | uint64(w.base)<<8 | uint64(w.segment)<<16)
	}
	for i := range s.collectors {
		k := &s.collectors[i]
		mix(uint64(k.phase) | uint64(k.read)<<8 | uint64(k.mark)<<16 | uint64(k.cycles)<<24 | uint64(k.lists)<<32 |
			uint64(k.copied)<<40 | uint64(k.target)<<48 | uint64(k.own)<<56)
		mix(uint64(k.seen))
		mix(uint64(k.condemned))
	}
	return h ^ h>>32
}
