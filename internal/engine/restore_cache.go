package engine

import (
	"container/list"
	"slices"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/pack"
)

// leftovers keeps decoded frames of which only a part was wanted: what comes next in the tree often wants
// another part. It is safe for concurrent use.
type leftovers struct {
	max int

	mu     sync.Mutex
	bytes  int
	frames map[leftoverKey]*list.Element // of *leftover, newest in front
	recent *list.List
}

type leftoverKey struct {
	pack format.Hash
	at   pack.FrameAt
}

type leftover struct {
	key   leftoverKey
	plain []byte
}

func newLeftovers(max int64) *leftovers {
	return &leftovers{max: int(max), frames: map[leftoverKey]*list.Element{}, recent: list.New()}
}

func keyOfFrame(f *wantedFrame) leftoverKey { return leftoverKey{f.pack.ref.Hash, f.at} }

// get returns the bytes of a frame, only to be read, or nil.
func (l *leftovers) get(f *wantedFrame) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	el := l.frames[keyOfFrame(f)]
	if el == nil {
		return nil
	}
	l.recent.MoveToFront(el)
	return el.Value.(*leftover).plain
}

// keep keeps a copy of a frame that was wanted in part.
func (l *leftovers) keep(f *wantedFrame, plain []byte) {
	if f.bytes >= int64(len(plain)) || len(plain) > l.max {
		return
	}
	key := keyOfFrame(f)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frames[key] != nil {
		return
	}
	l.frames[key] = l.recent.PushFront(&leftover{key, slices.Clone(plain)})
	l.bytes += len(plain)
	for l.bytes > l.max {
		old := l.recent.Remove(l.recent.Back()).(*leftover)
		delete(l.frames, old.key)
		l.bytes -= len(old.plain)
	}
}
