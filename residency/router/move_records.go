package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency/evidence"
)

// Names of the records of migrations.
const (
	movePrefix = reserved + "move-"  // <number>, and the same with -<phase>
	movedDir   = reserved + "moved/" // <number>-<pass>-<chunk>
)

// The phases of a migration that are recorded. That the set of sites has changed is told by the epoch.
const (
	phaseCopied = "copied" // what was there in the beginning has been copied
	phaseFilled = "filled" // and what was written until the set of sites changed
	phaseProved = "proved" // and everything that could be deleted is
	phaseDone   = "done"   // nothing is left
	// Between these two, what the store of the leaving site does not let go is recorded as often as that changes, with
	// a number behind.
	phaseResidue = "residue-"
)

// moveRecord begins a migration. Its time of writing, by the home site's clock, parts what was there from what was
// written meanwhile.
type moveRecord struct {
	V int `json:"v"`
	N int `json:"n"`
	// ID is the beginning of the plan's digest.
	ID      string         `json:"id"`
	Plan    string         `json:"plan"`
	From    string         `json:"from"`
	To      []string       `json:"to,omitempty"`
	Promote string         `json:"promote,omitempty"`
	Home    string         `json:"home"` // in the beginning
	Person  string         `json:"person"`
	Cause   evidence.Cause `json:"cause"`
	Facts   []string       `json:"facts,omitempty"` // digests of the targets' decisions
	At      time.Time      `json:"at"`
}

func (m *moveRecord) name() string { return movePrefix + fmt.Sprintf("%08d", m.N) }

// phaseRecord says how far a migration has come.
type phaseRecord struct {
	V     int      `json:"v"`
	Phase string   `json:"phase"`
	Proof *Proof   `json:"proof,omitempty"`
	Left  *Residue `json:"left,omitempty"`
}

// movedEntry is an object whose copies were read and found equal.
type movedEntry struct {
	Key  string `json:"k"`
	Size int64  `json:"s"`
	Sum  string `json:"h"`           // SHA-256, in hexadecimal
	Time int64  `json:"t"`           // when it was written, by the home site's clock, in nanoseconds
	Good bool   `json:"g"`           // enough lawful sites have it
	Odd  bool   `json:"o,omitempty"` // the copies differ
}

// movedChunk is a run of entries in the order of their keys.
type movedChunk struct {
	V       int          `json:"v"`
	Entries []movedEntry `json:"entries"`
}

// Bounds of a chunk, well within maxRecord.
const (
	maxEntries   = 500
	maxEntryKeys = 256 << 10 // bytes
)

// moves are the migrations that any site knows of, with their phases, by number.
type moves struct {
	records map[int]*moveRecord
	phases  map[int]map[string]bool
}

// open returns the one that is under way, or nil: at most one is.
func (m *moves) open() *moveRecord {
	for _, n := range slices.Sorted(maps.Keys(m.records)) {
		if !m.phases[n][phaseProved] && !m.phases[n][phaseDone] {
			return m.records[n]
		}
	}
	return nil
}

// readMoves reads the records of migrations from the home site, which must answer, and from all others that do.
func (r *Router) readMoves(ctx context.Context) (*moves, error) {
	m := &moves{records: map[int]*moveRecord{}, phases: map[int]map[string]bool{}}
	if r.home() == nil { // its records are those that count
		return nil, fail(ErrHomeDown)
	}
	for _, s := range r.sites {
		if s.stands() == foreign || s.resting() && s != r.home() {
			continue
		}
		if err := m.read(ctx, s); err != nil && (s == r.home() || ctx.Err() != nil || errors.Is(err, errRecord)) {
			return nil, err
		}
	}
	return m, nil
}

func (m *moves) read(ctx context.Context, s *site) error {
	var fresh []int
	err := s.list(ctx, movePrefix, func(name string) bool {
		number, phase, _ := strings.Cut(name[len(movePrefix):], "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			return true
		}
		if m.phases[n] == nil {
			m.phases[n] = map[string]bool{}
		}
		if phase != "" {
			m.phases[n][phase] = true
		} else if m.records[n] == nil {
			fresh = append(fresh, n)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, n := range fresh {
		rec := &moveRecord{N: n}
		if err := s.get(ctx, rec.name(), rec); err != nil {
			return err
		}
		m.records[n] = rec
	}
	return nil
}

// chunkName names a chunk. Chunks sort as they follow each other.
func (m *mover) chunkName(pass, chunk int) string {
	return movedDir + fmt.Sprintf("%08d-%d-%08d", m.rec.N, pass, chunk)
}

// manifest writes the entries of a pass.
type manifest struct {
	m       *mover
	pass    int
	next    int    // number of the next chunk
	after   string // key of the last entry that was recorded
	entries []movedEntry
	bytes   int
}

// resume finds where a pass was left.
func (m *mover) resume(ctx context.Context, pass int) (*manifest, error) {
	w := &manifest{m: m, pass: pass}
	last := ""
	err := m.desk.list(ctx, movedDir+fmt.Sprintf("%08d-%d-", m.rec.N, pass), func(name string) bool {
		w.next, last = w.next+1, name
		return true
	})
	if err != nil || last == "" {
		return w, err
	}
	var c movedChunk
	if err := m.desk.get(ctx, last, &c); err != nil {
		return nil, err
	}
	if len(c.Entries) == 0 {
		return nil, errRecord
	}
	w.after = c.Entries[len(c.Entries)-1].Key
	return w, nil
}

// add takes the next entry.
func (w *manifest) add(ctx context.Context, e movedEntry) error {
	w.entries = append(w.entries, e)
	w.bytes += len(e.Key)
	if len(w.entries) >= w.m.chunk || w.bytes >= maxEntryKeys {
		return w.flush(ctx)
	}
	return nil
}

// errElsewhere: another process carries out the same pass and was quicker.
var errElsewhere = errors.New("router: another process carries out the same migration")

// flush records what was added.
func (w *manifest) flush(ctx context.Context) error {
	if len(w.entries) == 0 {
		return nil
	}
	if err := w.m.mayGo(ctx, w.m.desk); err != nil { // they hold keys
		return err
	}
	err := w.m.desk.put(ctx, w.m.chunkName(w.pass, w.next), &movedChunk{V: recordVersion, Entries: w.entries})
	if errors.Is(err, errOtherRecord) {
		return errElsewhere
	}
	if err != nil {
		return err
	}
	w.next, w.after = w.next+1, w.entries[len(w.entries)-1].Key
	w.entries, w.bytes = w.entries[:0], 0
	return nil
}

// manifestReader reads the entries of a pass in order, one chunk at a time.
type manifestReader struct {
	m       *mover
	pass    int
	chunk   int
	entries []movedEntry
	end     bool
}

// next returns the next entry; nil at the end.
func (w *manifestReader) next(ctx context.Context) (*movedEntry, error) {
	if len(w.entries) == 0 && !w.end {
		data, _, err := w.m.desk.fetch(ctx, w.m.chunkName(w.pass, w.chunk))
		switch {
		case isNotFound(err):
			w.end = true
			return nil, nil
		case err != nil:
			return nil, err
		}
		var c movedChunk
		if err := decode(data, &c); err != nil {
			return nil, err
		}
		w.entries, w.chunk = c.Entries, w.chunk+1
	}
	if len(w.entries) == 0 {
		return nil, nil
	}
	return &w.entries[0], nil
}

// at returns the entry of a key; nil if there is none. Keys are asked for in order.
func (w *manifestReader) at(ctx context.Context, key string) (*movedEntry, error) {
	for {
		e, err := w.next(ctx)
		if err != nil || e == nil || e.Key > key {
			return nil, err
		}
		w.entries = w.entries[1:]
		if e.Key == key {
			return e, nil
		}
	}
}

// forget removes the entries of a migration that is proved: they hold keys, and serve nobody any more.
func (m *mover) forget(ctx context.Context) error {
	var all []string
	err := m.desk.list(ctx, movedDir+fmt.Sprintf("%08d-", m.rec.N), func(name string) bool {
		all = append(all, name)
		return true
	})
	if err != nil {
		return err
	}
	// From the end, so that what is left reads as a pass that was broken off.
	for _, name := range slices.Backward(all) {
		if err := m.desk.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
