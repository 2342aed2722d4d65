package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/store"
)

// scrub is one run of Scrub.
type scrub struct {
	checkBase
	snaps    map[format.Hash]format.SnapID // the first snapshot with each list of references
	lists    []format.Hash                 // in the order of the log
	sessions map[format.SessionID]format.SnapID
	packs    map[format.Object]format.SnapID
	order    []format.Object // of packs
}

// Scrub verifies a repository without any key: that every object that the log and the snapshots' lists name
// is there with the very bytes it is named by, that the log is whole and signed, and so are the format
// object and the sessions. It cannot tell whether a snapshot's list is complete, nor which files are
// affected. Of Config it uses Store, Observer and Now. The error is for what kept the scrub from being done;
// what is damaged is in the report. Workers is how many objects are read at once, up to 16 MiB each; 0 means
// one for each core.
func Scrub(ctx context.Context, b *blob.Bucket, c Config, workers int) (rep *CheckReport, err error) {
	obs := c.Observer
	if obs == nil {
		obs = observe.New(observe.Options{})
	}
	ctx, op := obs.Begin(ctx, "scrub")
	defer func() { err = op.End(ctx, err) }()
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	for {
		s, err := newScrub(ctx, b, c, workers, op)
		if err != nil {
			return nil, err
		}
		if err := s.run(ctx); err != nil {
			if cerr := context.Cause(ctx); cerr != nil {
				err = cerr
			}
			return nil, err
		}
		if s.rep.OK() || !s.overtaken(ctx) {
			return s.rep, nil
		}
	}
}

func newScrub(ctx context.Context, b *blob.Bucket, c Config, workers int, op *observe.Operation) (s *scrub, err error) {
	s = &scrub{
		checkBase: checkBase{
			store: store.New(b, c.Store), op: op, workers: workers,
			rep: &CheckReport{}, writers: map[format.WriterID][]byte{},
		},
		snaps: map[format.Hash]format.SnapID{}, sessions: map[format.SessionID]format.SnapID{}, packs: map[format.Object]format.SnapID{},
	}
	if s.format, _, err = readFormat(ctx, s.store); err != nil {
		return nil, err
	}
	lc := ledger.Config{Store: s.store, Repo: s.format.Repo, AdminKey: s.format.AdminKey, Now: c.Now}
	if s.ledger, err = ledger.Open(ctx, lc, nil); err != nil {
		if errors.Is(err, ledger.ErrNoLog) {
			err = fmt.Errorf("%w: its creation was cut off, or its log is gone", ErrNoRepository)
		}
		return nil, err
	}
	s.state, s.head = s.ledger.At()
	return s, nil
}

func (s *scrub) run(ctx context.Context) error {
	s.op.Phase("log")
	if err := s.checkFormat(ctx); err != nil {
		return err
	}
	if err := s.checkSlots(ctx); err != nil {
		return err
	}
	if err := s.readLog(ctx); err != nil {
		return err
	}
	s.op.Phase("lists")
	if err := s.readLists(ctx); err != nil {
		return err
	}
	s.op.Phase("sessions")
	if err := s.scrubSessions(ctx); err != nil {
		return err
	}
	s.op.Phase("read")
	return s.readObjects(ctx)
}

// readLog verifies the log and learns which lists and sessions it names.
func (s *scrub) readLog(ctx context.Context) error {
	bad, err := s.verifyLog(ctx)
	if err != nil {
		return err
	}
	s.enrol(&s.state.Enrolment)
	at := map[uint64]*format.SnapRef{}
	for i := range s.state.Snapshots {
		at[s.state.Snapshots[i].Seq] = &s.state.Snapshots[i]
	}
	err = s.entries(ctx, bad, func(window []logged) error {
		for _, e := range window {
			s.enrolled(e.LogEntry)
			if e.Kind == format.KindSnapshot || e.Kind == format.KindPartial {
				s.committed(e, at)
			}
		}
		return nil
	})
	for _, ref := range at {
		s.found(Finding{Kind: DamagedSnapshot, Snapshot: ref.ID, Path: ".", Err: fmt.Errorf("%w: its log entry cannot be read", ErrDamaged)})
		s.lost(Loss{Snapshot: ref.ID, Path: "."})
	}
	s.rep.Snapshots = int64(len(s.state.Snapshots))
	return err
}

// committed takes what one entry names.
func (s *scrub) committed(e logged, at map[uint64]*format.SnapRef) {
	c, err := format.DecodeCommit(e.Body)
	if err != nil {
		return // verifyLog has found it
	}
	var id format.SnapID
	refs := c.Refs
	ref := at[e.Seq]
	if ref != nil && ref.Hash == e.hash {
		id, refs = ref.ID, ref.Refs
		delete(at, e.Seq)
	}
	if e.Seq > s.state.Condemned {
		for _, x := range c.Sessions {
			s.sessions[x] = id
		}
	} else if id == (format.SnapID{}) {
		return // forgotten, or what a run that was cut off left: it may have been deleted since
	}
	if _, known := s.snaps[refs]; !known {
		s.snaps[refs] = id
		s.lists = append(s.lists, refs)
	}
}

func (s *scrub) readLists(ctx context.Context) error {
	refs := s.refsReader()
	failed := map[format.Hash]bool{}
	for _, hash := range s.lists {
		l, at, err := refs.read(ctx, hash)
		if err != nil && failed[at] {
			continue
		}
		id := s.snaps[hash]
		ok, err := s.judge(ctx, format.RefsKey(at), err)
		if err != nil {
			return err
		}
		if !ok {
			failed[at] = true
			s.affects(format.RefsKey(at), id, "")
			continue
		}
		for _, o := range l.objects {
			s.needs(o, id)
		}
	}
	return nil
}

func (s *scrub) needs(o format.Object, id format.SnapID) {
	if o.Type == format.TypeSession {
		if _, known := s.sessions[o.Session]; !known {
			s.sessions[o.Session] = id
		}
		return
	}
	if _, known := s.packs[o]; !known {
		s.packs[o] = id
		s.order = append(s.order, o)
	}
}

func (s *scrub) scrubSessions(ctx context.Context) error {
	ids := make([]format.SessionID, 0, len(s.sessions))
	for id := range s.sessions {
		ids = append(ids, id)
	}
	return each(ctx, len(ids), checkRequests, func(ctx context.Context, i int) error {
		key := format.SessionKey(ids[i], 0)
		object, err := s.store.Get(ctx, key, maxSmallObject)
		if err == nil {
			_, err = s.session(object, ids[i])
		}
		ok, err := s.object(ctx, key, err)
		if err == nil && !ok {
			s.affects(key, s.sessions[ids[i]], "")
		}
		return err
	})
}

// readObjects compares every index segment and every pack with the digest it is named by.
func (s *scrub) readObjects(ctx context.Context) error {
	segments := s.state.Segments
	n := len(segments) + len(s.order)
	s.op.Expect(int64(n), 0)
	buffers := make(chan []byte, s.workers)
	for range s.workers {
		buffers <- nil
	}
	return each(ctx, n, s.workers, func(ctx context.Context, i int) (err error) {
		buf := <-buffers
		defer func() { buffers <- buf }()
		if i < len(segments) {
			d := segments[i]
			buf, err = s.digest(ctx, format.IndexKey(d.Hash), int64(d.Size), int64(d.Size), d.Hash, format.SnapID{}, buf)
			return err
		}
		o := s.order[i-len(segments)]
		key := format.PackKey(o.Type, o.Session, o.Hash)
		most := int64(s.format.PackSize)
		if o.Type == format.TypeIndex {
			key, most = format.IndexKey(o.Hash), maxScrubbed
		}
		buf, err = s.digest(ctx, key, 0, most, o.Hash, s.packs[o], buf)
		return err
	})
}

// maxScrubbed bounds an index segment of which the log does not say how long it is.
const maxScrubbed = 64 << 20

// digest compares one object with its digest. It must be of the size from least to most bytes.
func (s *scrub) digest(ctx context.Context, key string, least, most int64, hash format.Hash, id format.SnapID, buf []byte) ([]byte, error) {
	size, err := s.store.Size(ctx, key)
	if err == nil && (size < least || size > most) {
		err = fmt.Errorf("%w: its length is out of range", ErrDamaged)
	}
	if err == nil {
		var b []byte
		if b, err = s.store.ReadRange(ctx, key, 0, size, buf[:0]); err == nil {
			buf = b
			if hashOf(b) != hash {
				err = fmt.Errorf("%w: its digest is another", ErrDamaged)
			}
		}
	}
	ok, err := s.object(ctx, key, err)
	if err != nil {
		return buf, err
	}
	s.op.Add(1, size)
	s.op.AddStored(size)
	if !ok {
		s.affects(key, id, "")
		return buf, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Packs++
	s.rep.Bytes += size
	return buf, nil
}
