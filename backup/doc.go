// Package backup keeps encrypted, deduplicated snapshots in any bucket of gocloud.dev/blob, and gives them
// back byte for byte.
//
//	bucket, err := dirblob.OpenBucket("/mnt/backup", nil)           // or s3blob, gcsblob, azureblob, …
//	repo, err := backup.Create(ctx, bucket, backup.Password(pw), nil) // later: backup.Open
//	snap, err := repo.Backup(ctx, backup.Dir("/var/lib/ehr"), nil)
//	report, err := snap.Restore(ctx, "/restore", nil)
//	err = os.CopyFS("/elsewhere", snap.FS(ctx))
//
// # Repository and snapshots
//
// A [Repository] lives under one bucket. [Repository.Backup] adds a [Snapshot] of a source: [Dir] for a
// folder with full fidelity, [Stream] for the output of a program, [Group] for several sources taken
// together, or any fs.FS. Content is cut into chunks, and a chunk that is stored already is not stored
// again, whichever file or snapshot it was in. A run that finds nothing changed adds one small object.
//
// A snapshot exists from the moment its entry is in the commit log, an append-only, hash-chained and signed
// sequence of objects. Before that moment nothing of it counts; after it nothing can undo it but an
// administrator. A run that is killed at any point needs no repair: the next one goes on, and does not
// upload again what had arrived. Any number of processes and hosts may use one repository at once.
//
// # Outcomes
//
// A backup is complete, incomplete or failed. Complete is a nil error. Incomplete is an [*IncompleteError]
// beside a snapshot: something could not be read, or changed while it was read, and the error's fields say
// what and why. Anything else is a failure and leaves no snapshot. So code that treats every error as a
// reason to alert somebody is right by default. A source that does not exist is a failure, never an empty
// snapshot. [Snapshot.Restore] and [Repository.Check] follow the same pattern.
//
// # Retention and giving space back
//
// Package rotation decides what is kept, and this package carries it out. [Repository.Catalogue] gives the
// snapshots as recovery points; rotation.Evaluate makes a plan of them by a policy, which says of each why it
// stays or may go; [Repository.Forget] takes those that may go out of the repository. A plan counts for just
// the catalogue and the state of the commit log that it was made of. If anything was committed since, it is
// refused with [ErrStalePlan], and one looks again.
//
// The repository does not know how well a snapshot is verified: say so in CatalogueOptions.Point, after
// [Repository.Check] or a restore. Nothing of a series goes while none of its points is verified. When a point
// was made is the store's word and not its writer's, and without another witness a plan takes the newest such
// time for now. So neither a writer nor a host's wrong clock brings a deletion forward. Retention by a store
// that has no clock is not possible.
//
// The newest forgetting holds, sealed to readers, what the next decision must know: policies with when they
// were adopted, for ratchets; what was granted and promised to which snapshot; holds; what went, for budgets. So
// it does not matter on which host the next decision is made. A catalogue that lacks any of it is refused.
// [Repository.Hold] keeps snapshots whatever policies say, until two different people have released it. The
// names of those people are written down and not proved: whoever holds the administrator's key is trusted.
//
// [Repository.Compact] gives back the space of what no snapshot needs any more, whether it was forgotten or left
// by a run that was cut off. It takes no lock, and may run beside everything else and be cut off at any point.
// It works in two steps, and a grace lies between them: what is not needed is condemned in the commit log, and
// deleted by a later run. CompactOptions.Shred destroys the keys of what was forgotten, so that copies of packs
// elsewhere are of no use. It cannot reach copies of the keys themselves: a store that keeps old versions of
// objects, or another copy of the bucket, holds them until they are deleted there.
//
// # Keys and roles
//
// A repository has four roles: a writer adds snapshots, a reader restores, an administrator changes keys
// and forgets snapshots, and a verifier checks that objects are whole and needs no key. A [Password] or a
// key service ([KMS]) opens a key slot that holds all of them, which is right for a practice with one
// machine. There may be several slots; see [Repository.AddKey]. If every key is lost, the data is lost.
//
// The first opening with such a key leaves this host a [Credential] for the writer's role, so nightly runs
// need no password. On a store that denies the host overwriting and deleting, whoever takes over the host
// can neither read nor destroy what was committed before. They can confirm content that they guess,
// because deduplication needs the key that names chunks.
//
// # What the store sees
//
// Objects are named by random numbers and digests. Their content is encrypted (AES-256-GCM with keys of
// the run, wrapped to the reader's key with HPKE and a post-quantum hybrid, X-Wing) and authenticated.
// Chunk boundaries are invisible: chunks are gathered in packs of one size. The store learns how much is
// added when, and by which writer. Altered, swapped, truncated and replayed objects are detected, and so is
// a store that was rolled back, by any host that remembers a later state. FORMAT.md in this folder
// specifies every byte.
//
// # What a host keeps
//
// Options.HostDir holds, in a folder per repository readable by its user alone: the writer's credential;
// the last position of the commit log, so that a rolled-back store is noticed; the entries of the last
// snapshot, so that unchanged files are not read; copies of index segments; and the journal of a run under
// way. All but the credential is sealed. Nothing in it is needed to restore, and losing it costs one slow
// run.
//
// # Names are patient data
//
// File names, paths and labels appear in no object key, error text, log record, span or metric. Errors
// carry them in fields, for the caller alone.
//
// # Observing
//
// Options take a slog.Logger, OpenTelemetry providers and a progress function. Spans are named
// carekeep.backup, carekeep.restore, carekeep.check, carekeep.compact and carekeep.settle. Metrics are carekeep.operation.duration (s),
// carekeep.content.bytes (By), carekeep.store.bytes (By), carekeep.files and carekeep.store.retries, with
// the attributes operation, outcome and error.type from closed sets. Note that gocloud.dev records object
// keys, which tell nothing here, with OpenTelemetry's global providers.
//
// # Compatibility
//
// Every release reads what any earlier release wrote, without a time limit. A repository written by a newer
// release gives [ErrNewerFormat].
package backup
