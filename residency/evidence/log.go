package evidence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/store"
)

// Options configures [Open]. Nil and the zero value work.
type Options struct {
	// Writer is the id of this writer's chain: words of lower-case letters and digits with hyphens between them,
	// at most 40 bytes, never a name of a patient. Default is a fresh random id, so that each process has a
	// chain of its own. Two processes that use one id at once share the chain.
	Writer string
	// Now gives the time of records; default time.Now.
	Now func() time.Time
}

// Log is evidence in a bucket. It is safe for concurrent use. It holds nothing that must be closed.
type Log struct {
	store  *store.Store
	prefix string
	writer string
	nonce  string
	now    func() time.Time

	// lead is held by the one call that writes, which writes for all that wait.
	lead chan struct{}
	// What follows belongs to the leader.
	tried  []attempt        // of the next block, which failed without a clear answer
	seen   []Head           // of other chains, to be named in the next block
	named  map[string]int64 // the newest block of each that was named
	looked time.Time        // when others were last looked at

	mu    sync.Mutex
	head  Head
	queue []*entry
}

// entry is a record that waits to be written.
type entry struct {
	line line
	done chan struct{} // closed when it was written, or could not be
	err  error
	over bool // nobody waits for it any more; guarded by the log's mu
}

// attempt is a block that may or may not have been written.
type attempt struct {
	digest Digest
	batch  []*entry
}

// lookEvery is how often a writer looks for new blocks of others.
const lookEvery = time.Hour

// Open opens the evidence below a prefix of a bucket, which stays the caller's to close; nothing needs to be there.
// It lists what is below the prefix, which takes a request for each thousand blocks, and reads the newest block of
// up to 32 other chains. Give evidence a bucket, or a prefix, in which the writer may create and read but not
// delete. A bucket of gocloud's fileblob is refused, because it loses writes in a crash; dirblob does not.
func Open(ctx context.Context, bucket *blob.Bucket, prefix string, opts *Options) (*Log, error) {
	if opts == nil {
		opts = &Options{}
	}
	if store.IsFileblob(bucket) {
		return nil, errors.New("evidence: the bucket is gocloud's fileblob, which does not keep writes through a crash; open the folder with backup/dirblob")
	}
	l := &Log{store: store.New(bucket, store.Options{}), prefix: prefix, writer: opts.Writer, now: opts.Now,
		lead: make(chan struct{}, 1), named: map[string]int64{}}
	random := make([]byte, 24)
	rand.Read(random)
	l.nonce = hex.EncodeToString(random[:8])
	if l.writer == "" {
		l.writer = hex.EncodeToString(random[8:])
	}
	if !isWriter(l.writer) {
		return nil, fmt.Errorf("evidence: the writer's id must be words of lower-case letters and digits with hyphens between them, at most %d bytes", maxSite)
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.head.Writer = l.writer
	chains, err := l.survey(ctx)
	if err != nil {
		return nil, err
	}
	if own := chains[l.writer]; own != nil {
		item, err := l.fetch(ctx, l.writer, own.last())
		if err != nil {
			return nil, err
		}
		l.head = Head{l.writer, own.last(), item.digest}
	}
	return l, l.look(ctx, chains)
}

// Writer is the id of this writer's chain.
func (l *Log) Writer() string { return l.writer }

// Head returns the newest block of this writer's chain, without asking the bucket. Note it elsewhere, and give it
// to [Verify] later.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Append records data of a kind about a site, which is empty if it is about all of them. Nil means that the record
// is in the bucket. Data must be a value of the kind's type, and all its texts of their forms; otherwise the error is
// a [*RefusedError], and nothing is written. After any other error the record may or may not be there, as when an
// answer was lost; it is never there in part.
//
// Calls that come while another one writes are written together in one object.
func (l *Log) Append(ctx context.Context, kind Kind, site string, data any) error {
	raw, err := encodeRecord(kind, site, data)
	if err != nil {
		return err
	}
	e := &entry{done: make(chan struct{}), line: line{Kind: kind, Site: site, Data: raw}}
	l.mu.Lock()
	e.line.Time = l.now().UTC().Truncate(time.Millisecond)
	if y := e.line.Time.Year(); y < 1 || y > 9999 {
		l.mu.Unlock()
		return errors.New("evidence: the clock shows no year from 1 to 9999")
	}
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case <-e.done:
			return e.err
		case <-ctx.Done():
		case l.lead <- struct{}{}:
			l.commit(ctx)
		}
	}
	l.settle([]*entry{e}, &storeError{"append", ctx.Err()})
	return e.err // what it was settled with first, which may be success
}

// commit writes what waits, as far as one block holds it. The caller has the lead, which it gives back.
func (l *Log) commit(ctx context.Context) {
	defer func() { <-l.lead }()
	batch := l.take()
	if len(batch) == 0 {
		return
	}
	err := l.write(ctx, batch)
	switch {
	case err != nil && ctx.Err() != nil:
		// It is the leader who gave up; the others go on waiting, and one of them takes the lead.
		l.mu.Lock()
		l.queue = slices.Concat(batch, l.queue) // not in the memory of batch, which tried may hold
		l.mu.Unlock()
	default:
		l.settle(batch, err)
	}
}

// take removes from the queue what goes into one block.
func (l *Log) take() (batch []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	for len(l.queue) > 0 && len(batch) < maxRecords {
		e := l.queue[0]
		// Beside the data a record has less than 200 bytes, and the rest of a block less than 8 KiB.
		if size += len(e.line.Data) + 200; size > maxBlock-8<<10 {
			break
		}
		l.queue = l.queue[1:]
		if !e.over {
			batch = append(batch, e)
		}
	}
	return batch
}

// settle ends the wait for entries.
func (l *Log) settle(batch []*entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range batch {
		if !e.over {
			e.over, e.err = true, err
			close(e.done)
		}
	}
	l.queue = slices.DeleteFunc(l.queue, func(e *entry) bool { return e.over })
}

// write puts a block with the batch at the end of the chain. Where somebody else's object is found there, which may
// be one of our own blocks whose answer was lost, the chain goes on behind it.
func (l *Log) write(ctx context.Context, batch []*entry) error {
	if d := l.now().Sub(l.looked); d < 0 || d >= lookEvery {
		l.lookAgain(ctx)
	}
	for {
		data, err := l.compose(batch)
		if err != nil {
			return err
		}
		digest := digestOf(data)
		next := Head{l.writer, l.Head().Seq + 1, digest}
		err = l.store.Create(ctx, l.key(l.writer, next.Seq), data)
		if err == nil {
			l.advance(next)
			for _, h := range l.seen {
				l.named[h.Writer] = h.Seq
			}
			l.seen = nil
			return nil
		}
		l.tried = append(l.tried, attempt{digest, batch})
		if !errors.Is(err, store.ErrExists) {
			return &storeError{"append", err}
		}
		there, err := l.fetch(ctx, l.writer, next.Seq)
		if err == nil && there.missing {
			err = &storeError{"append", store.ErrNotFound} // it is there and it is not: nothing to go on from
		}
		if err != nil {
			return err
		}
		for _, t := range l.tried {
			if t.digest == there.digest {
				l.settle(t.batch, nil)
			}
		}
		l.advance(Head{l.writer, next.Seq, there.digest})
		if batch = l.unsettled(batch); len(batch) == 0 {
			return nil
		}
	}
}

func (l *Log) advance(to Head) {
	l.tried = nil
	l.mu.Lock()
	l.head = to
	l.mu.Unlock()
}

func (l *Log) unsettled(batch []*entry) (rest []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range batch {
		if !e.over {
			rest = append(rest, e)
		}
	}
	return rest
}

func (l *Log) compose(batch []*entry) ([]byte, error) {
	head := l.Head()
	if head.Seq >= maxSeq {
		return nil, errors.New("evidence: the chain is full; open the log as another writer")
	}
	b := &block{V: version, Writer: l.writer, Seq: head.Seq + 1, Nonce: l.nonce, Prev: head.Digest, Seen: l.seen}
	for _, e := range batch {
		b.Records = append(b.Records, e.line)
	}
	return encodeBlock(b)
}

// lookAgain looks at the other chains. That it fails is no reason not to record anything: the next block then
// names nobody, and one after an hour will.
func (l *Log) lookAgain(ctx context.Context) {
	l.looked = l.now()
	if chains, err := l.survey(ctx); err == nil {
		_ = l.look(ctx, chains)
	}
}

// look takes down the heads of the chains that were written last and have grown. Others were named by those that
// were opened in their time.
func (l *Log) look(ctx context.Context, chains map[string]*listed) error {
	l.looked = l.now()
	var grown []*listed
	for writer, c := range chains {
		if writer != l.writer && c.last() > l.named[writer] {
			grown = append(grown, c)
		}
	}
	slices.SortFunc(grown, func(a, b *listed) int {
		return cmp.Or(b.written.Compare(a.written), strings.Compare(a.writer, b.writer))
	})
	grown = grown[:min(len(grown), maxSeen)]
	slices.SortFunc(grown, func(a, b *listed) int { return strings.Compare(a.writer, b.writer) })
	items, err := l.fetchAll(ctx, len(grown), func(i int) (string, int64) { return grown[i].writer, grown[i].last() })
	if err != nil {
		return err
	}
	l.seen = nil
	for _, it := range items {
		// What is no block is not named: nobody can say who put it there.
		if it.block != nil {
			l.seen = append(l.seen, Head{it.writer, it.seq, it.digest})
		}
	}
	return nil
}
