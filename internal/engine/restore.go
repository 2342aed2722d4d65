package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/localfs"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/source"
)

// RestoreOptions says what is restored and how. The zero value restores everything but owners and devices.
type RestoreOptions struct {
	// Paths are the chosen entries, as the snapshot names them; a folder stands for all that is in it. The
	// folders that lead to them are restored as well, without what else is in them, and the target itself
	// keeps its attributes. Empty or "." means everything.
	Paths     []string
	Owners    localfs.Owners
	Devices   bool
	NoXattrs  bool
	Overwrite localfs.Overwrite
	// FullCompare reads existing files even where size and time say that they are those of the snapshot.
	FullCompare bool
	// Workers is how many runs of a pack are read, decoded and written at once; 0 means one for each core,
	// between 4 and 16.
	Workers int
	// Memory bounds, in bytes, what is read ahead and decoded at once; 0 means 32 MiB. What the tree, the
	// index and a few hundred open files take is beside it. Fewer workers run where it is small.
	Memory int64
}

// RestoreResult is what a restore did.
type RestoreResult struct {
	// Files, Folders and Others count what is now as in the snapshot, but perhaps for attributes.
	Files, Folders, Others int64
	Bytes                  int64 // of the content of Files
	Skipped                int64 // of Files: they were as in the snapshot already
	Written                int64 // bytes of content written
	Kept                   int64 // existing entries that Overwrite said to keep
	LeftOut                int64 // sockets, and devices that nobody asked for

	// Problems are entries that are not as in the snapshot: a file among them was removed, or, if it had been
	// there before, may hold old and new parts. Failed counts them all, Problems lists the first 1000.
	Problems []*localfs.Problem
	Failed   int64
	// Losses are attributes that an entry lacks which is there otherwise. Lost counts them all, Losses lists the
	// first 1000.
	Losses []*localfs.Problem
	Lost   int64
}

// Complete reports whether everything chosen is now as in the snapshot, attributes included.
func (r *RestoreResult) Complete() bool { return r.Failed == 0 && r.Lost == 0 }

// Why a file's content is not there; the Err of a problem whose Op is "content" wraps one of them.
const (
	// ErrContentLost: the repository does not hold what the snapshot refers to. It also is ErrDamaged.
	ErrContentLost = source.Reason("the repository holds the content no more, or not undamaged; check the repository")
	// ErrContentUnread: the store failed, which may pass.
	ErrContentUnread = source.Reason("the store did not give the content; restore again later")
)

// Errors that end a restore early. Restoring again goes on where it ended.
var (
	ErrTargetFull = errors.New("the disk that is restored to is full: make room and restore again")
	ErrStoreGone  = errors.New("the store has stopped answering: restore again later")
)

// PathsError says which chosen paths a snapshot does not hold. It is fs.ErrNotExist to errors.Is.
type PathsError struct{ Paths []string }

// Error returns a text without the paths.
func (e *PathsError) Error() string {
	return fmt.Sprintf("%d of the chosen paths are not in the snapshot: choose them as it lists them", len(e.Paths))
}

// Is makes e a case of fs.ErrNotExist.
func (e *PathsError) Is(target error) bool { return target == fs.ErrNotExist }

const (
	// restoreListed bounds each list of a result.
	restoreListed = 1000
	// restoreOpen is how many files are being restored at once. Each may keep its folder open as well.
	restoreOpen = 384
	// restoreGroups bounds the files of several names that are remembered, at about 120 bytes each. The names of
	// those met later become files of their own.
	restoreGroups = 1 << 20
	// restoreOutage is how many reads in a row may fail, after the store's own attempts, before the store counts as
	// gone. One object that cannot be read must not end a restore.
	restoreOutage = 8

	restoreMemory = 32 << 20
	// workerMemory is what a worker needs beside the run that it reads: a frame and the decoder.
	workerMemory  = 2 << 20
	minRestoreRun = 512 << 10
	maxRestoreRun = 2 << 20
	maxLeftovers  = 16 << 20
)

// restore is one run. Four parts work at once: one goroutine walks the tree; one makes folders and opens files
// in that order; some find out which chunks a file lacks and where they are; and the workers read frames and write
// every piece of them where it belongs. No content is held longer than it takes to write it, so files may be of any size.
type restore struct {
	r      *Repo
	s      *Snapshot
	o      RestoreOptions
	op     *observe.Operation
	target *localfs.Target
	queue  *wantQueue
	kept   *leftovers
	tasks  chan *restoreFile
	wrote  atomic.Int64

	outage   atomic.Int32                // reads in a row that failed
	failed   atomic.Pointer[format.Hash] // the pack of all of them; nil if there are several
	answered atomic.Bool                 // content could be read

	groups  map[uint64]*linkName // by LinkGroup; of the goroutine that opens files
	links   []*format.Entry      // later names of files that are not finished, all in one folder
	missing []string             // chosen paths that are not there

	mu       sync.Mutex
	finished sync.Cond // a file was finished, or the run is to end
	open     map[*restoreFile]struct{}
	res      RestoreResult
}

// restoreFile is a file being restored.
type restoreFile struct {
	entry   *format.Entry
	out     *localfs.Out
	link    *linkName    // if it has several names
	pending atomic.Int64 // pieces to come, and one while they are being looked for
	failed  atomic.Pointer[localfs.Problem]
	touched atomic.Bool // something was written
}

// linkName is the first name of a file of several names.
type linkName struct {
	path  string
	state linkState // guarded by restore.mu
}

type linkState byte

const (
	linkOpen linkState = iota
	linkGood
	linkBad
)

// Restore restores s, or the chosen part of it, into the folder dir, which is made if it is missing.
//
// What exists already in dir is used: a file of the snapshot's size and time is left as it is, of others only the
// chunks that differ are fetched and written. Nothing in dir that the snapshot does not hold is touched.
//
// An entry that cannot be restored does not stop the others; it is a problem in the result. Chosen paths
// that the snapshot does not hold give a [*PathsError], after the rest has been restored. Other errors end the
// restore: [ErrTargetFull], [ErrStoreGone], a damaged tree of entries, an unusable dir, ctx. Files that were
// being written are then removed if they are new. The result is never nil.
func (r *Repo) Restore(ctx context.Context, s *Snapshot, dir string, o RestoreOptions) (res *RestoreResult, err error) {
	ctx, op := r.obs.Begin(ctx, "restore")
	defer func() { err = op.End(ctx, err) }()
	o.fill()
	x := &restore{
		r: r, s: s, o: o, op: op, groups: map[uint64]*linkName{}, tasks: make(chan *restoreFile, 64),
		open: map[*restoreFile]struct{}{},
	}
	x.finished.L = &x.mu
	x.kept = newLeftovers(min(o.Memory/4, maxLeftovers))
	run := (o.Memory*3/4/int64(o.Workers) - workerMemory) / 2 // as read, and decrypted
	x.queue = newWantQueue(min(max(run, minRestoreRun), maxRestoreRun))
	if len(o.Paths) == 0 {
		op.Expect(int64(s.Description.Files), int64(min(s.Description.Bytes, 1<<62)))
	}
	x.target, err = localfs.OpenTarget(dir, localfs.TargetOptions{
		Owners: o.Owners, Devices: o.Devices, NoXattrs: o.NoXattrs, Overwrite: o.Overwrite, Report: x.lose,
	})
	if err != nil {
		return &x.res, err
	}
	err = x.run(ctx)
	x.abort()
	err = errors.Join(err, x.target.Close())
	if cerr := context.Cause(ctx); err != nil && cerr != nil {
		err = cerr
	}
	if err == nil && x.res.Failed > 0 && s.forgotten(ctx) {
		err = ErrForgotten
	}
	x.res.Written = x.wrote.Load()
	if err == nil && len(x.missing) > 0 {
		err = &PathsError{x.missing}
	}
	return &x.res, err
}

func (o *RestoreOptions) fill() {
	if o.Memory <= 0 {
		o.Memory = restoreMemory
	}
	if o.Workers <= 0 {
		o.Workers = min(max(4, runtime.GOMAXPROCS(0)), 16)
	}
	o.Workers = min(o.Workers, max(1, int(o.Memory*3/4/(workerMemory+2*minRestoreRun))))
}

// run starts the parts and waits for them.
func (x *restore) run(ctx context.Context) error {
	x.op.Phase("write")
	g, gctx := errgroup.WithContext(ctx)
	var woken sync.WaitGroup
	woken.Add(1)
	stop := context.AfterFunc(gctx, func() {
		defer woken.Done()
		x.queue.fail(context.Cause(gctx))
		x.mu.Lock()
		x.finished.Broadcast()
		x.mu.Unlock()
	})
	defer func() {
		if !stop() {
			woken.Wait()
		}
	}()
	entries := make(chan []format.Entry, 4)
	var walkErr error // ends the run, but only when what was walked before has been restored
	g.Go(func() error {
		defer close(entries)
		walkErr = x.walk(gctx, entries)
		return nil
	})
	g.Go(func() error {
		defer close(x.tasks)
		return x.make(gctx, entries)
	})
	resolvers, rctx := errgroup.WithContext(gctx)
	for range max(2, runtime.GOMAXPROCS(0)) {
		resolvers.Go(func() error { return x.resolve(rctx) })
	}
	g.Go(func() error {
		err := resolvers.Wait()
		if err == nil {
			x.queue.close()
		}
		return err
	})
	for range x.o.Workers {
		g.Go(func() error { return x.work(gctx) })
	}
	err := g.Wait()
	if err == nil {
		err = walkErr
	}
	if err == nil && x.outage.Load() > 0 && !x.answered.Load() && x.gone(ctx) {
		err = ErrStoreGone // there was too little to read for it to be noticed earlier
	}
	return err
}

// abort gives up the files that a run left open when it ended early.
func (x *restore) abort() {
	for f := range x.open {
		_ = f.out.Abort()
	}
	clear(x.open)
}

// await waits until ok, which is called with the lock held, holds. Meanwhile the queue gives out what it has.
func (x *restore) await(ctx context.Context, ok func() bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ok() {
		return nil
	}
	x.queue.urge(1)
	defer x.queue.urge(-1)
	for ctx.Err() == nil && !ok() {
		x.finished.Wait()
	}
	return ctx.Err()
}

// release takes n pieces off what a file waits for, and finishes it when there are no more.
func (x *restore) release(f *restoreFile, n int64) error {
	if f.pending.Add(-n) > 0 {
		return nil
	}
	p := f.failed.Load()
	var fatal error
	if p != nil {
		_ = f.out.Abort()
	} else if err := f.out.Finish(f.entry); err != nil {
		if fatal = targetFull(err); fatal == nil {
			p = asEntryProblem("close", f.entry.Path, err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, f)
	switch {
	case p != nil:
		x.res.addProblem(p)
	case fatal == nil:
		x.res.Files++
		x.res.Bytes += f.entry.Size
		if !f.touched.Load() && f.out.Existed() && f.out.Entry().Size == f.entry.Size {
			x.res.Skipped++
		}
		x.op.Add(1, f.entry.Size)
	}
	if f.link != nil {
		f.link.state = linkGood
		if p != nil {
			f.link.state = linkBad
		}
	}
	x.finished.Broadcast()
	return fatal
}

// fail notes the first thing that went wrong with a file.
func (f *restoreFile) fail(p *localfs.Problem) { f.failed.CompareAndSwap(nil, p) }

// lose takes a lost attribute into the result.
func (x *restore) lose(p *localfs.Problem) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.res.Lost++
	if len(x.res.Losses) < restoreListed {
		x.res.Losses = append(x.res.Losses, p)
	}
}

func (r *RestoreResult) addProblem(p *localfs.Problem) {
	r.Failed++
	if len(r.Problems) < restoreListed {
		r.Problems = append(r.Problems, p)
	}
}

func asEntryProblem(op, path string, err error) *localfs.Problem {
	var p *localfs.Problem
	if errors.As(err, &p) && p.Path == path {
		return p
	}
	return &localfs.Problem{Path: path, Op: op, Err: err}
}

// targetFull returns the error that ends a restore whose disk is full, nil for other errors.
func targetFull(err error) error {
	if isDiskFull(err) {
		return fmt.Errorf("%w: %w", ErrTargetFull, err)
	}
	return nil
}
