package router

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"gocloud.dev/blob"
)

// feed is the way of an object's bytes to one site: a pipe, read by an upload in a goroutine. Upload, not a writer,
// because a failed conditional write panics in the Close of azureblob's writer. Nothing is kept: the pipe hands on the
// very bytes that the writer was given.
type feed struct {
	s      *site
	cancel context.CancelFunc
	pipe   *pipe
	done   chan struct{} // closed when the upload has ended
	err    error         // of the upload, once done is closed
}

var (
	errAborted = errors.New("the write was given up")
	errEnded   = errors.New("the upload ended before the object")
)

// newFeed begins an upload. It ends when the feed is finished or dropped.
func newFeed(ctx context.Context, s *site, key string, o blob.WriterOptions) *feed {
	c, end := s.seen.Request(ctx, s.Name, "write")
	c, cancel := context.WithCancel(c)
	f := &feed{s: s, cancel: cancel, done: make(chan struct{})}
	f.pipe = &pipe{data: make(chan []byte), took: make(chan struct{}, 1), eof: make(chan struct{}), abort: make(chan struct{}), timeout: s.Timeout}
	f.pipe.most = max(mostBuffered, int64(o.BufferSize)*int64(max(o.MaxConcurrency, 1)))
	f.pipe.timer = time.AfterFunc(s.Timeout, func() {
		f.pipe.giveUp(true)
		cancel()
	})
	if s.ReadOnly {
		f.pipe.timer.Stop()
		f.err = s.unchangeable("write")
		end(f.err)
		close(f.done)
		return f
	}
	go func() {
		defer close(f.done)
		err := s.Bucket.Upload(c, key, f.pipe, &o)
		f.pipe.timer.Stop()
		switch dropped, stalled := f.pipe.givenUp(); {
		case err != nil && stalled:
			f.err = s.outcome(ctx, "write", ErrStalled)
		case err != nil && dropped && ctx.Err() == nil: // which says nothing of the site
			f.err = &SiteError{Site: s.Name, Op: "write", err: errAborted}
		default:
			f.err = s.outcome(ctx, "write", err)
		}
		end(f.err)
	}()
	return f
}

// pipe is read by an upload. It ends the upload when the site lets time pass between two reads, or after the last.
type pipe struct {
	data  chan []byte   // from the writer
	took  chan struct{} // the reader is through with them
	eof   chan struct{} // closed at the end of the object
	abort chan struct{} // closed when the write is given up

	rest    []byte // being read
	timer   *time.Timer
	timeout time.Duration
	pending int64 // bytes that the site may still have to send on
	most    int64 // and how many it can be

	mu      sync.Mutex
	ended   bool
	stalled bool
}

// leastRate is how many bytes in a second a site must at least take in the background, beside its timeout; mostBuffered how many
// drivers take before they have sent them, if they are not told otherwise (5 parts of 5 MiB on S3, 16 MiB on Google, 8 MiB on
// Azure); pieceSize how many are handed on at a time, and stepSize how many of them to the driver, which is progress.
const (
	stepSize     = 64 << 10
	leastRate    = 64 << 10
	mostBuffered = 32 << 20
	pieceSize    = 1 << 20
)

// giveUp makes the reader fail.
func (p *pipe) giveUp(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = p.stalled || stalled
	if !p.ended {
		p.ended = true
		close(p.abort)
	}
}

// givenUp reports whether the write was given up, and whether that was because the site took too long.
func (p *pipe) givenUp() (dropped, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended, p.stalled
}

// progress gives the site its time anew.
func (p *pipe) progress() {
	p.timer.Reset(p.timeout + time.Duration(p.pending/leastRate)*time.Second)
}

// next waits for bytes. While it does, the site's time does not run.
func (p *pipe) next() error {
	if len(p.rest) > 0 {
		return nil
	}
	p.timer.Stop()
	err := error(nil)
	select {
	case p.rest = <-p.data:
		p.pending = min(p.pending+int64(len(p.rest)), p.most)
	case <-p.eof:
		err = io.EOF
	case <-p.abort:
	}
	select {
	case <-p.abort:
		return errAborted
	default:
	}
	p.progress()
	return err
}

// past goes on after n bytes.
func (p *pipe) past(n int) {
	p.rest = p.rest[n:]
	if len(p.rest) == 0 {
		p.rest = nil
		p.took <- struct{}{}
	}
}

// Read implements io.Reader.
func (p *pipe) Read(to []byte) (int, error) {
	if len(to) == 0 {
		return 0, nil
	}
	if err := p.next(); err != nil {
		return 0, err
	}
	n := copy(to, p.rest)
	p.past(n)
	return n, nil
}

// WriteTo implements io.WriterTo, so that the bytes are not copied where the driver takes them as they are.
func (p *pipe) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := p.next(); err != nil {
			if isEOF(err) {
				err = nil
			}
			return total, err
		}
		n, err := w.Write(p.rest[:min(len(p.rest), stepSize)])
		total += int64(n)
		if err != nil {
			return total, err
		}
		p.progress()
		p.past(n)
	}
}

// write hands bytes on and returns when the site has taken them or is lost. The upload does not touch them afterwards.
func (f *feed) write(b []byte) {
	for len(b) > 0 {
		piece := b[:min(len(b), pieceSize)]
		select {
		case f.pipe.data <- piece:
		case <-f.done:
			return
		}
		select {
		case <-f.pipe.took:
		case <-f.done:
			return
		}
		b = b[len(piece):]
	}
}

// lost reports whether the upload has ended before it was finished.
func (f *feed) lost() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// finish ends the object, waits for the site to take it, and returns how that went.
func (f *feed) finish() error {
	// An upload that has ended by itself has not seen the end of the object.
	early := f.lost()
	close(f.pipe.eof)
	<-f.done
	if early && f.err == nil {
		f.err = &SiteError{Site: f.s.Name, Op: "write", err: errEnded}
	}
	f.cancel()
	return f.err
}

// drop gives the write to this site up, so that nothing is written there, and waits for that. It may be called after
// finish.
func (f *feed) drop() {
	f.cancel()
	f.pipe.giveUp(false)
	<-f.done
}

// writeAll hands bytes to all feeds at once.
func writeAll(feeds []*feed, p []byte) {
	if len(feeds) == 1 {
		feeds[0].write(p)
		return
	}
	var wg sync.WaitGroup
	for _, f := range feeds {
		wg.Go(func() { f.write(p) })
	}
	wg.Wait()
}
