package backup

import (
	"context"
	"fmt"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
)

// CheckOptions say how much is checked. The zero value checks the structure, and so does nil.
type CheckOptions struct {
	// ReadAll reads every pack, verifies its digest, decrypts and decompresses it, and computes the id of
	// every chunk again. Without it only metadata is read, and the packs of content must be there with the
	// right length.
	ReadAll bool
	// Workers is how many packs are read at once; 0 means one per processor.
	Workers int
}

// CheckReport says what was checked and what was found.
type CheckReport struct {
	Snapshots int64
	Objects   int64 // objects looked at
	Packs     int64 // packs read whole
	Chunks    int64 // chunks of which the id was computed again
	Bytes     int64 // read of packs, as stored
	// Intruders counts slots of the commit log that never held a valid entry. They do no harm, but somebody
	// has written to the store who is not enrolled.
	Intruders int64
	// Accepted counts slots of the commit log whose loss the administrator has accepted, see
	// [Repository.AcceptLoss]. What they held is lost.
	Accepted int64

	Findings []Finding // the first 1,000
	Total    int64     // all findings
	Losses   []Loss    // files that cannot be restored completely; the first 10,000
	Lost     int64     // all losses; a file that two snapshots hold counts twice
}

// FindingKind says what is wrong.
type FindingKind byte

// The kinds of findings.
const (
	MissingObject    FindingKind = FindingKind(engine.MissingObject)    // the store does not have it
	DamagedObject    FindingKind = FindingKind(engine.DamagedObject)    // it is not what was stored
	UnreadableObject FindingKind = FindingKind(engine.UnreadableObject) // the store did not give it, which may pass
	DamagedLog       FindingKind = FindingKind(engine.DamagedLog)       // the commit log holds no valid entry where one was
	WrongIndex       FindingKind = FindingKind(engine.WrongIndex)       // an index segment contradicts a pack
	UnlistedPack     FindingKind = FindingKind(engine.UnlistedPack)     // a snapshot needs a pack that it does not list
	DamagedSnapshot  FindingKind = FindingKind(engine.DamagedSnapshot)  // a snapshot cannot be restored completely
)

func (k FindingKind) String() string { return engine.FindingKind(k).String() }

// Finding is one thing that is wrong.
type Finding struct {
	Kind     FindingKind
	Object   string // the object's name in the bucket, which tells nothing of patients; may be empty
	Snapshot string // id of the first snapshot that it affects, if known
	Path     string // the first file that it affects, if known: patient data
	Detail   string // what was met
}

// Loss is a file that cannot be restored completely, or a part of a snapshot of which not even the names can
// be read.
type Loss struct {
	Snapshot string // id
	Path     string // the file, or the first entry of the part: patient data
	Entries  int64  // entries lost
}

// Check verifies the repository: the format object, key slots, the commit log's chain and signatures,
// sessions, index, and that every snapshot can be restored as far as can be told without, or with ReadAll
// by, reading its content. It runs beside backups. It needs the reader's role.
//
// Damage is a [*DamageError] beside the report. Any other error means that the check could not be done.
func (r *Repository) Check(ctx context.Context, opts *CheckOptions) (*CheckReport, error) {
	if opts == nil {
		opts = &CheckOptions{}
	}
	rep, err := r.e.Check(ctx, engine.CheckOptions{ReadAll: opts.ReadAll, Workers: opts.Workers})
	return checked(rep, err, "check")
}

// Scrub verifies the objects of the repository in bucket without any key: the commit log's chain and
// signatures, and that every object that a snapshot depends on is there and is what its name says. It is
// for whoever looks after the storage. Findings are as in [Repository.Check].
func Scrub(ctx context.Context, bucket *blob.Bucket, opts *Options) (*CheckReport, error) {
	if opts == nil {
		opts = &Options{Stateless: true}
	}
	c, err := opts.config()
	if err != nil {
		return nil, fmt.Errorf("backup: scrub: %w", err)
	}
	rep, err := engine.Scrub(ctx, bucket, c, 0)
	return checked(rep, err, "scrub")
}

func checked(in *engine.CheckReport, err error, what string) (*CheckReport, error) {
	if err != nil {
		return nil, fmt.Errorf("backup: %s: %w", what, err)
	}
	out := &CheckReport{
		Snapshots: in.Snapshots, Objects: in.Objects, Packs: in.Packs, Chunks: in.Chunks, Bytes: in.Bytes,
		Intruders: in.Skipped, Accepted: in.Accepted, Total: in.Found, Lost: in.Lost,
	}
	for _, f := range in.Findings {
		x := Finding{Kind: FindingKind(f.Kind), Object: f.Object, Path: f.Path}
		if f.Snapshot != (format.SnapID{}) {
			x.Snapshot = f.Snapshot.String()
		}
		if f.Err != nil {
			x.Detail = f.Err.Error()
		}
		out.Findings = append(out.Findings, x)
	}
	for _, l := range in.Losses {
		out.Losses = append(out.Losses, Loss{Snapshot: l.Snapshot.String(), Path: l.Path, Entries: int64(l.Entries)})
	}
	if out.Total > 0 {
		return out, &DamageError{Total: out.Total}
	}
	return out, nil
}
