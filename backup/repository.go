package backup

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"gocloud.dev/blob"
	"golang.org/x/time/rate"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/host"
	"github.com/carekeep/carekeep/internal/observe"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
	"github.com/carekeep/carekeep/internal/store"
)

// Options say how a repository is used. The zero value works, and so does nil.
type Options struct {
	// HostDir is the folder in which this host keeps its credential and what makes the next run fast; see
	// "What a host keeps" in the package comment. Empty means a folder named carekeep in the user's
	// configuration folder. It needs a place that outlives the run and only its user can read.
	HostDir string
	// Stateless keeps nothing on this host: no credential, no journal, no cache.
	Stateless bool

	// TakeOver makes this host the one that may write to a repository for a single writer, see
	// CreateOptions.SingleWriter: the host that was so far is gone, or has lost its HostDir. Nothing can tell
	// the other host, so its HostDir must be deleted if it still exists: two hosts that both write overwrite
	// each other's snapshots. It needs a password or a key service, is remembered, and means nothing for other
	// repositories.
	TakeOver bool

	// UploadRate and DownloadRate limit the traffic with the store, in bytes per second; 0 is unlimited.
	UploadRate, DownloadRate int64
	// Requests is how many requests to the store may be under way at once; 0 means 16.
	Requests int
	// IndexMemory bounds the memory of the index in bytes, whatever the size of the repository; 0 means
	// 48 MiB.
	IndexMemory int64

	// Logger, TracerProvider and MeterProvider receive what the library tells of its work; nil is
	// silence. Nothing they receive names a file, a path or a label.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Progress is called about ten times a second while an operation runs, and once at its end, by one
	// goroutine at a time. It must not block. If it panics the operation ends with a [*PanicError], unless it
	// was done by then; that is only logged.
	Progress func(Progress)

	// Now is this host's clock; nil means time.Now. It is for tests and simulations: it dates what is written,
	// and Compact counts ages by it. It may be called by several goroutines at once.
	Now func() time.Time
}

// Progress is one event of a running operation.
type Progress struct {
	Operation string        // "backup", "restore", "check", "compact" or "settle"
	Phase     string        // what it does now, one of a few words
	Files     int64         // files done
	Bytes     int64         // bytes of file content done
	Stored    int64         // bytes written to or read from the store
	FilesAll  int64         // estimate of all files; 0 when not known
	BytesAll  int64         // estimate of all bytes; 0 when not known
	Elapsed   time.Duration // since the operation began
	Remaining time.Duration // estimate; 0 when not known
	Done      bool          // this is the last event
}

// CreateOptions say how a repository is made. What is above Options is written down for good.
type CreateOptions struct {
	// FIPS chooses the suite whose primitives Go's FIPS 140-3 module approves. It is slower.
	FIPS bool
	// SingleWriter allows a store that cannot create objects exclusively, such as a FAT file system. Then this
	// host alone may write, one process at a time: for others, and with Options.Stateless, whatever writes
	// fails with ErrSingleWriter, while they read as ever. It makes no difference to other stores.
	SingleWriter bool
	// Residency is a free tag of where the data must rest, at most 64 bytes. It is stored in clear.
	Residency string
	// PasswordCost sets how expensive guessing a password is; the zero value means the default.
	PasswordCost PasswordCost

	Options
}

// PasswordCost is the cost of Argon2id (RFC 9106). With FIPS, Passes is the number of iterations of
// PBKDF2-HMAC-SHA256 and the rest must be 0. Values that are too weak or too costly are refused.
type PasswordCost struct {
	Passes    uint32
	MemoryKiB uint32
	Threads   uint8
}

// Repository is an open repository. It is safe for concurrent use, and several processes may use one
// repository at once.
type Repository struct {
	e   *engine.Repo
	now func() time.Time
}

// Create makes a repository in the bucket and opens it. The bucket may hold other things beside it; use a
// prefixed bucket to keep them apart. The key must hold every role: a password or a key service.
//
// A creation that was cut off is completed by calling Create again with the same key.
func Create(ctx context.Context, bucket *blob.Bucket, key Key, opts *CreateOptions) (*Repository, error) {
	if opts == nil {
		opts = &CreateOptions{}
	}
	c, err := opts.Options.config()
	if err != nil {
		return nil, fmt.Errorf("backup: create: %w", err)
	}
	c.Suite, c.SingleWriter, c.Residency = seal.T1, opts.SingleWriter, opts.Residency
	if opts.FIPS {
		c.Suite = seal.F1
	}
	if p := opts.PasswordCost; p != (PasswordCost{}) {
		k, err := seal.DefaultKDF(c.Suite)
		if err != nil {
			return nil, fmt.Errorf("backup: create: %w", err)
		}
		k.Time, k.MemoryKiB, k.Threads = p.Passes, p.MemoryKiB, p.Threads
		if err := k.Check(); err != nil {
			return nil, fmt.Errorf("backup: create: %w", err)
		}
		c.KDF = &k
	}
	e, err := engine.Create(ctx, bucket, key.key, c)
	if err != nil {
		return nil, fmt.Errorf("backup: create: %w", err)
	}
	return &Repository{e: e, now: c.Now}, nil
}

// Open opens the repository in the bucket. With a password or a key service it also leaves this host a
// credential for the writer's role; see [Credential].
func Open(ctx context.Context, bucket *blob.Bucket, key Key, opts *Options) (*Repository, error) {
	if opts == nil {
		opts = &Options{}
	}
	c, err := opts.config()
	if err != nil {
		return nil, fmt.Errorf("backup: open: %w", err)
	}
	e, err := engine.Open(ctx, bucket, key.key, c)
	if err != nil {
		return nil, fmt.Errorf("backup: open: %w", err)
	}
	return &Repository{e: e, now: c.Now}, nil
}

func (o *Options) config() (engine.Config, error) {
	c := engine.Config{
		HostDir: o.HostDir,
		Memory:  o.IndexMemory, TakeOver: o.TakeOver, Now: o.Now,
		Store: store.Options{Upload: limiter(o.UploadRate), Download: limiter(o.DownloadRate), Requests: o.Requests},
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var progress func(observe.Progress) error
	if f := o.Progress; f != nil {
		progress = func(p observe.Progress) (err error) {
			defer source.Recover(&err)
			f(Progress(p))
			return nil
		}
	}
	c.Observer = observe.New(observe.Options{
		Logger: o.Logger, Tracer: o.TracerProvider, Meter: o.MeterProvider, Progress: progress, Classify: class,
	})
	c.Store.OnRetry = c.Observer.Retry
	if o.Stateless {
		c.HostDir = ""
		return c, nil
	}
	if c.HostDir == "" {
		dir, err := host.DefaultDir()
		if err != nil {
			return c, fmt.Errorf("%w; or set Options.Stateless", err)
		}
		c.HostDir = dir
	}
	return c, nil
}

func limiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	// A burst of a tenth of a second keeps the flow even; a segment is the least that is useful.
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(max(bytesPerSecond/10, 64<<10)))
}

// ID is the repository's random id, in hexadecimal.
func (r *Repository) ID() string {
	id := r.e.ID()
	return hex.EncodeToString(id[:])
}

// CanRead reports whether the key that opened the repository holds the reader's role.
func (r *Repository) CanRead() bool { return r.e.CanRead() }

// IsAdmin reports whether the key that opened the repository holds the administrator's role.
func (r *Repository) IsAdmin() bool { return r.e.IsAdmin() }

// Close gives back the memory of the index, and the host folder's files, which Windows keeps from being removed
// while they are open. The bucket stays open. Nothing may use the repository, its
// snapshots or their files afterwards.
func (r *Repository) Close() error {
	r.e.Close()
	return nil
}
