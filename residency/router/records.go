package router

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

// Names of the router's own objects, in each site's bucket. Records are JSON, written once and never changed. They
// are kept in few folders that do not become empty, because a folder that comes and goes costs a local disk two
// flushes more for each record.
const (
	reserved       = ".router/"
	markerName     = reserved + "marker"
	epochPrefix    = reserved + "epoch-"  // <number>-<id>, and the same with readySuffix
	intentPrefix   = reserved + "intent-" // <id>
	debtPrefix     = reserved + "debt/"   // <id>
	asidePrefix    = reserved + "aside/"  // <epoch>/<digest of key>-<digest of bytes>-<site>, and the same with recordSuffix
	quarantineName = reserved + "quarantine-"
	evidencePrefix = reserved + "evidence/" // not the router's: who opens it may keep evidence there, which is never deleted
	readySuffix    = "-ready"
)

// recordVersion is the version of all records.
const recordVersion = 1

// maxRecord is the length in bytes that no record exceeds.
const maxRecord = 1 << 20

var (
	errRecord      = errors.New("router: a record of the router is damaged or of a later version: use a newer release, or restore the record from another site")
	errOtherRecord = errors.New("router: a record of that name exists with other content")
)

// marker says what a site is.
type marker struct {
	V       int               `json:"v"`
	Site    string            `json:"site"`
	Subject residency.Subject `json:"subject"`
}

// epochRecord begins an epoch: a time in which one site decides.
type epochRecord struct {
	V         int            `json:"v"`
	N         int            `json:"n"`
	ID        string         `json:"id"`
	Home      string         `json:"home"`
	Sites     []string       `json:"sites"`
	MustReach int            `json:"mustReach"`
	Person    string         `json:"person,omitempty"`
	Cause     evidence.Cause `json:"cause,omitempty"`
	At        time.Time      `json:"at"`
	Previous  string         `json:"previous,omitempty"`
	Forced    bool           `json:"forced,omitempty"`
	// Adopt says that an epoch before was forced: what only a site has that was away then may have been reported.
	Adopt bool `json:"adopt,omitempty"`
	// Filling are sites that are written from the beginning of the epoch on, but need not have what was written before.
	Filling []string `json:"filling,omitempty"`
	// Left are sites that data was moved away from. They take no part, also in later epochs.
	Left []string `json:"left,omitempty"`
	// Move is the move that changed the set of sites, if that is all that has changed: writers then go on.
	Move string `json:"move,omitempty"`
}

func (e *epochRecord) name() string { return epochPrefix + fmt.Sprintf("%08d-%s", e.N, e.ID) }

// readyRecord says that a site is current in an epoch.
type readyRecord struct {
	V    int    `json:"v"`
	Site string `json:"site"`
}

// The kinds of changes that an intent or a debt is about.
const (
	opCreate = "create" // a conditional write
	opPut    = "put"    // a write that may replace an object
	opDelete = "delete"
)

// intentRecord says that a change of a key is under way: as long as it is at a site, what the site holds at that key
// need not be at any other.
type intentRecord struct {
	V      int       `json:"v"`
	ID     string    `json:"id"`
	Key    string    `json:"key"`
	Op     string    `json:"op"`
	Writer string    `json:"writer"`
	Epoch  string    `json:"epoch"`
	Sites  []string  `json:"sites"`
	At     time.Time `json:"at"`
}

func (i *intentRecord) name() string { return intentPrefix + i.ID }

// debtRecord says which sites have missed a change of a key. Whoever holds the record is right about the key.
type debtRecord struct {
	V     int       `json:"v"`
	ID    string    `json:"id"`
	Key   string    `json:"key"`
	Op    string    `json:"op"`
	Sites []string  `json:"sites"`
	At    time.Time `json:"at"`
	// Buried says that the sites need not have missed the deletion: somebody may have been making copies meanwhile. It is kept
	// until no intent about the key is left.
	Buried bool `json:"buried,omitempty"`
}

func (d *debtRecord) name() string { return debtPrefix + d.ID }

// quarantineRecord takes a site out of use, or puts it back. The one with the highest number holds.
type quarantineRecord struct {
	V           int            `json:"v"`
	N           int            `json:"n"`
	Site        string         `json:"site"`
	Quarantined bool           `json:"quarantined"`
	Person      string         `json:"person,omitempty"`
	Cause       evidence.Cause `json:"cause"`
	At          time.Time      `json:"at"`
}

func quarantinePrefix(site string) string { return quarantineName + site + "-at-" }

func (q *quarantineRecord) name() string { return quarantinePrefix(q.Site) + fmt.Sprintf("%08d", q.N) }

// randomID returns a name that nobody else has.
func randomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// shortDigest names a key where it cannot stand itself.
func shortDigest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// epochName takes the name of an epoch's record apart.
func epochName(key string) (n int, id string, ready, ok bool) {
	rest, ok := strings.CutPrefix(key, epochPrefix)
	if !ok {
		return 0, "", false, false
	}
	rest, ready = strings.CutSuffix(rest, readySuffix)
	number, id, ok := strings.Cut(rest, "-")
	n, err := strconv.Atoi(number)
	return n, id, ready, ok && err == nil && n > 0 && id != ""
}

// put writes a record. One that is there already with the same content is success; an answer that was lost is settled
// by reading back.
func (s *site) put(ctx context.Context, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if s.ReadOnly {
		if there, _, err := s.fetch(ctx, name); err != nil && !isNotFound(err) || bytes.Equal(there, data) {
			return err
		}
		return s.unchangeable("record")
	}
	for range 5 {
		err = s.call(ctx, "record", func(c context.Context) error {
			return s.Bucket.Upload(c, name, bytes.NewReader(data), &blob.WriterOptions{ContentType: octets, IfNotExist: true})
		})
		if err == nil || ctx.Err() != nil {
			return err
		}
		there, flush, rerr := s.fetch(ctx, name)
		switch {
		case isNotFound(rerr) && isTaken(err):
			continue // somebody else has just removed it
		case rerr != nil:
			return err
		case !bytes.Equal(there, data):
			return &SiteError{Site: s.Name, Op: "record", Code: gcerrors.FailedPrecondition, err: errOtherRecord}
		case flush != nil:
			return s.call(ctx, "record", func(context.Context) error { return flush() })
		}
		return nil
	}
	return err
}

// octets is the content type of what has none.
const octets = "application/octet-stream"

// fetch reads a small object, with what makes it durable if the driver knows a way.
func (s *site) fetch(ctx context.Context, name string) (data []byte, flush func() error, err error) {
	err = s.call(ctx, "record", func(c context.Context) error {
		r, err := s.Bucket.NewReader(c, name, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		var f interface{ Flush() error }
		if r.As(&f) && f != nil {
			flush = f.Flush
		}
		if r.Size() > maxRecord {
			return errRecord
		}
		data, err = io.ReadAll(io.LimitReader(r, maxRecord+1))
		return err
	})
	return data, flush, err
}

// get reads a record into v, which begins with its version.
func (s *site) get(ctx context.Context, name string, v any) error {
	data, _, err := s.fetch(ctx, name)
	if err != nil {
		return err
	}
	return decode(data, v)
}

// decode is strict about the version only: fields that a later release adds within a version are of no concern to
// this one.
func decode(data []byte, v any) error {
	var head struct {
		V int `json:"v"`
	}
	if json.Unmarshal(data, &head) != nil || head.V != recordVersion || json.Unmarshal(data, v) != nil {
		return errRecord
	}
	return nil
}

// list calls f with the names below a prefix until it returns false.
func (s *site) list(ctx context.Context, prefix string, f func(name string) bool) error {
	c := &cursor{s: s, opts: blob.ListOptions{Prefix: prefix}, size: pageSize}
	for {
		o, err := c.peek(ctx)
		if err != nil || o == nil || !f(o.Key) {
			return err
		}
		c.pass(o.Key)
	}
}
