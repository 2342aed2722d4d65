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
// because a failed conditional write panics in the Close of azureblob's writer. What is written is
// not kept: the pipe hands the writer's bytes on.
type feed struct {
	s      *site
	cancel context.CancelFunc
	pw     *io.PipeWriter
	done   chan struct{}
	err    error // of the upload, once done is closed
}

var (
	errAborted = errors.New("the write was given up")
	errEnded   = errors.New("the upload ended before the object")
)

// leastRate is how many bytes in a second a site must at least take in the background, beside its timeout.
const leastRate = 64 << 10

// newFeed begins an upload. It ends when the feed is closed or dropped.
func newFeed(ctx context.Context, s *site, key string, o blob.WriterOptions) *feed {
	c, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	f := &feed{s: s, cancel: cancel, pw: pw, done: make(chan struct{})}
	w := &watch{r: pr, timeout: s.Timeout}
	w.timer = time.AfterFunc(s.Timeout, func() {
		w.mu.Lock()
		w.stalled = true
		w.mu.Unlock()
		cancel()
		// An upload that is stuck in the provider's code holds the pipe, but nobody waits for its readers any more.
		pr.CloseWithError(ErrStalled)
	})
	go func() {
		defer close(f.done)
		err := s.Bucket.Upload(c, key, w, &o)
		w.timer.Stop()
		w.mu.Lock()
		if w.stalled && err != nil {
			err = ErrStalled
		}
		w.mu.Unlock()
		f.err = s.outcome(ctx, "write", err)
		pr.CloseWithError(errEnded)
	}()
	return f
}

// watch reads a pipe and ends the upload when the site lets time pass between two reads, or after the last.
type watch struct {
	r       io.Reader
	timeout time.Duration
	timer   *time.Timer
	mu      sync.Mutex
	stalled bool
	pending int64 // bytes that the site may still have to send on
}

// Read implements io.Reader. While it waits for the writer, the site's time does not run.
func (w *watch) Read(p []byte) (int, error) {
	w.timer.Stop()
	n, err := w.r.Read(p)
	w.pending += int64(n)
	w.timer.Reset(w.timeout + time.Duration(w.pending/leastRate)*time.Second)
	return n, err
}

// write hands bytes on and returns when the site has taken them or is lost.
func (f *feed) write(p []byte) { _, _ = f.pw.Write(p) }

// lost reports whether the upload has ended before it was closed.
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
	// An upload that has ended by itself, as a conditional one may, has not seen the end of the object.
	early := f.lost()
	_ = f.pw.Close()
	<-f.done
	if early && f.err == nil {
		f.err = &SiteError{Site: f.s.Name, Op: "write", err: errEnded}
	}
	return f.err
}

// drop gives the write to this site up, so that nothing is written there, and waits for that.
func (f *feed) drop() {
	f.cancel()
	_ = f.pw.CloseWithError(errAborted)
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
