package index

import (
	"sync"

	"github.com/carekeep/carekeep/internal/seal"
)

// pageCache keeps decrypted pages, least recently used out first, split by key into shards with a lock
// each. A page is looked at under its shard's lock, for well under a microsecond; so nobody ever holds a
// page that leaves, and its memory serves the next one: the collector sees no garbage.
type pageCache struct{ shards []shard }

const (
	pageBytes  = seal.SegmentSize
	maxShards  = 16
	shardPages = 4 // a shard is never smaller
)

type shard struct {
	mu    sync.Mutex
	pages map[uint64]*page
	limit int
	head  page // of the ring of pages: head.next was used last, head.prev goes first
	_     [40]byte
}

type page struct {
	key        uint64
	prev, next *page
	buf        []byte
}

// newPageCache returns a cache of that many bytes that may be resized to no less than a quarter of them.
func newPageCache(bytes int64) *pageCache {
	n := maxShards
	for n > 1 && bytes/4 < int64(n)*shardPages*pageBytes {
		n /= 2
	}
	c := &pageCache{shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.pages = make(map[uint64]*page)
		s.head.prev, s.head.next = &s.head, &s.head
	}
	c.resize(bytes)
	return c
}

// resize sets how many bytes of pages may stay, and drops what is over.
func (c *pageCache) resize(bytes int64) {
	limit := max(shardPages, int(bytes/pageBytes)/len(c.shards))
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.limit = limit
		for len(s.pages) > limit {
			s.evict()
		}
		s.mu.Unlock()
	}
}

func (c *pageCache) bytes() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += int64(len(s.pages)) * pageBytes
		s.mu.Unlock()
	}
	return n
}

func (c *pageCache) shard(key uint64) *shard {
	h := key * 0x9e3779b97f4a7c15
	return &c.shards[h>>32%uint64(len(c.shards))]
}

// get returns the page of a key, or nil. The shard must be locked, and the page is good until it is not.
func (s *shard) get(key uint64) []byte {
	p := s.pages[key]
	if p == nil {
		return nil
	}
	if s.head.next != p {
		p.prev.next, p.next.prev = p.next, p.prev
		s.push(p)
	}
	return p.buf
}

func (s *shard) push(p *page) {
	p.prev, p.next = &s.head, s.head.next
	p.prev.next, p.next.prev = p, p
}

func (s *shard) evict() *page {
	p := s.head.prev
	p.prev.next, p.next.prev = p.next, p.prev
	delete(s.pages, p.key)
	return p
}

// take returns an empty page to fill outside the lock: that of the oldest page if the shard is full.
func (s *shard) take() *page {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pages) < s.limit {
		return &page{buf: make([]byte, 0, pageBytes)}
	}
	return s.evict()
}

// put adds a filled page and leaves the shard locked, so that the caller may look at what it returns.
func (s *shard) put(key uint64, p *page) []byte {
	s.mu.Lock()
	if b := s.get(key); b != nil {
		return b // another goroutine was as quick
	}
	for len(s.pages) >= s.limit {
		s.evict()
	}
	p.key = key
	s.pages[key] = p
	s.push(p)
	return p.buf
}
