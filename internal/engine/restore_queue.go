package engine

import (
	"cmp"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/index"
	"github.com/carekeep/carekeep/internal/pack"
)

const (
	// readyBytes of content must be asked for before frames are read, so that those who want pieces of one
	// frame meet and it is decoded once.
	readyBytes = 24 << 20
	// fullBytes of content, or fullWants pieces, are the most that is asked for at once.
	fullBytes = 96 << 20
	fullWants = 64 << 10
	// restoreGap is how many bytes between two frames are read rather than asked around; package pack has the same.
	restoreGap = 128 << 10
)

// wantedPiece is a piece of a frame and where it belongs.
type wantedPiece struct {
	file       *restoreFile
	off        int64 // in the file
	start, len uint32
	id         format.ID
}

// wantedFrame is a frame and everything that is wanted of it.
type wantedFrame struct {
	pack  *wantedPack
	at    pack.FrameAt
	wants []wantedPiece
	bytes int64
	taken bool
}

// wantedPack is the wanted frames of a pack, sorted.
type wantedPack struct {
	ref    format.PackRef
	frames []*wantedFrame
}

// frameRun is frames of one pack that one request can read.
type frameRun struct {
	pack   format.PackRef
	frames []*wantedFrame
}

// wantQueue brings together who wants what of which frame. Frames leave it in the order in which they were first
// wanted, together with their neighbours in the pack, and as late as the bounds allow.
type wantQueue struct {
	maxRun int64 // bytes of a run in the pack

	mu         sync.Mutex
	room, work sync.Cond // for those who add, and those who take
	packs      map[format.PackRef]*wantedPack
	order      []*wantedFrame // oldest first; some taken already
	bytes      int64
	wants      int
	urged      int // how many wait for files to be finished
	closed     bool
	err        error
}

func newWantQueue(maxRun int64) *wantQueue {
	q := &wantQueue{maxRun: maxRun, packs: map[format.PackRef]*wantedPack{}}
	q.room.L, q.work.L = &q.mu, &q.mu
	return q
}

// add takes a want. It waits while too many are there. The error is that of fail.
func (q *wantQueue) add(at *index.Found, w wantedPiece) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.err == nil && (q.bytes >= fullBytes || q.wants >= fullWants) {
		q.room.Wait()
	}
	if q.err != nil {
		return q.err
	}
	f := q.frame(at)
	f.wants = append(f.wants, w)
	f.bytes += int64(w.len)
	q.bytes += int64(w.len)
	q.wants++
	if q.ready() {
		q.work.Signal()
	}
	return nil
}

// frame returns the frame of a location, new if it is not waiting yet.
func (q *wantQueue) frame(at *index.Found) *wantedFrame {
	p := q.packs[at.Pack]
	if p == nil {
		p = &wantedPack{ref: at.Pack}
		q.packs[at.Pack] = p
	}
	// Entries that contradict each other about one frame get one each: the bytes decide.
	where := pack.At(at.Location)
	i, ok := slices.BinarySearchFunc(p.frames, where, func(f *wantedFrame, w pack.FrameAt) int { return compareFrames(f.at, w) })
	if !ok {
		f := &wantedFrame{pack: p, at: where}
		p.frames = slices.Insert(p.frames, i, f)
		q.order = append(q.order, f)
	}
	return p.frames[i]
}

func compareFrames(a, b pack.FrameAt) int {
	return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Stored, b.Stored),
		cmp.Compare(a.Plain, b.Plain), cmp.Compare(a.Codec, b.Codec))
}

// ready reports whether a frame may be taken.
func (q *wantQueue) ready() bool {
	return q.wants > 0 && (q.closed || q.urged > 0 || q.bytes >= readyBytes || q.wants >= fullWants)
}

// next takes the oldest frame and its neighbours. It returns nil when there are no more to come.
func (q *wantQueue) next() (*frameRun, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.err == nil && !q.ready() {
		if q.closed {
			return nil, nil
		}
		q.work.Wait()
	}
	if q.err != nil {
		return nil, q.err
	}
	for q.order[0].taken {
		q.order = q.order[1:]
	}
	r := q.take(q.order[0])
	q.order = q.order[1:]
	if q.ready() {
		q.work.Signal()
	}
	q.room.Broadcast()
	return r, nil
}

// take removes a frame and those near it.
func (q *wantQueue) take(f *wantedFrame) *frameRun {
	p := f.pack
	all := p.frames
	i, _ := slices.BinarySearchFunc(all, f.at, func(f *wantedFrame, w pack.FrameAt) int { return compareFrames(f.at, w) })
	from, to := i, i+1
	begin, end := int64(f.at.Offset), f.end()
	for to < len(all) && int64(all[to].at.Offset) <= end+restoreGap && all[to].end()-begin <= q.maxRun {
		end = max(end, all[to].end())
		to++
	}
	for from > 0 && all[from-1].end()+restoreGap >= begin && end-int64(all[from-1].at.Offset) <= q.maxRun {
		from--
		begin = int64(all[from].at.Offset)
	}
	r := &frameRun{pack: p.ref, frames: slices.Clone(all[from:to])}
	p.frames = slices.Delete(all, from, to)
	if len(p.frames) == 0 {
		delete(q.packs, p.ref)
	}
	for _, f := range r.frames {
		f.taken = true
		q.bytes -= f.bytes
		q.wants -= len(f.wants)
	}
	return r
}

func (f *wantedFrame) end() int64 { return int64(f.at.Offset) + int64(f.at.Stored) }

// size is how many bytes of the pack hold the run.
func (r *frameRun) size() int64 {
	var end int64
	for _, f := range r.frames {
		end = max(end, f.end())
	}
	return end - int64(r.frames[0].at.Offset)
}

// urge says that somebody waits, or with -1 no more waits, for files to be finished: frames are then taken
// however few are there.
func (q *wantQueue) urge(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urged += n
	if q.ready() {
		q.work.Broadcast()
	}
}

// close says that nothing more will be added.
func (q *wantQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.work.Broadcast()
}

// fail ends everything.
func (q *wantQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.work.Broadcast()
	q.room.Broadcast()
}
