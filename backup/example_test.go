package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/rotation"
)

// sample is a repository in memory with two snapshots.
func sample(ctx context.Context) (*backup.Repository, *backup.Snapshot, *backup.Snapshot) {
	repo, err := backup.Create(ctx, memblob.OpenBucket(nil), backup.Password("secret"),
		&backup.CreateOptions{Options: backup.Options{Stateless: true}})
	if err != nil {
		log.Fatal(err)
	}
	day := fstest.MapFS{
		"letters/referral.txt": {Data: []byte("Dear colleague"), ModTime: time.Unix(1_700_000_000, 0)},
		"notes.txt":            {Data: []byte("note"), ModTime: time.Unix(1_700_000_000, 0)},
	}
	first, err := repo.Backup(ctx, day, nil)
	if err != nil {
		log.Fatal(err)
	}
	day["letters/reply.txt"] = &fstest.MapFile{Data: []byte("Thank you"), ModTime: time.Unix(1_700_000_100, 0)}
	second, err := repo.Backup(ctx, day, nil)
	if err != nil {
		log.Fatal(err)
	}
	return repo, first, second
}

func ExampleCreate() {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil) // or dirblob, s3blob, gcsblob, azureblob
	defer bucket.Close()
	repo, err := backup.Create(ctx, bucket, backup.Password("correct horse battery staple"),
		&backup.CreateOptions{Options: backup.Options{Stateless: true}})
	if err != nil {
		log.Fatal(err)
	}
	defer repo.Close()
	fmt.Println(len(repo.ID()), repo.CanRead(), repo.IsAdmin())
	// Output: 32 true true
}

func ExampleOpen() {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	_, err := backup.Open(ctx, bucket, backup.Password("secret"), &backup.Options{Stateless: true})
	fmt.Println(errors.Is(err, backup.ErrNoRepository))
	// Output: true
}

func ExampleRepository_Backup() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	src := fstest.MapFS{"db": {Data: []byte("rows"), ModTime: time.Unix(1, 0)}} // usually backup.Dir("/var/lib/ehr")
	snap, err := repo.Backup(ctx, src, &backup.BackupOptions{Labels: map[string]string{"site": "north"}})
	var incomplete *backup.IncompleteError
	switch {
	case errors.As(err, &incomplete):
		fmt.Println("committed, but something is missing:", len(incomplete.Problems)) // tell somebody
	case err != nil:
		fmt.Println("no snapshot:", err) // tell somebody now
	default:
		fmt.Println(snap.Outcome(), snap.Stats().Files)
	}
	// Output: complete 1
}

func ExampleStream() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	dump := strings.NewReader("CREATE TABLE patient …") // usually the standard output of a dump command
	snap, err := repo.Backup(ctx, backup.Stream("clinical.sql", dump), nil)
	if err != nil {
		log.Fatal(err)
	}
	b, err := fs.ReadFile(snap.FS(ctx), "clinical.sql")
	fmt.Println(string(b), err)
	// Output: CREATE TABLE patient … <nil>
}

func ExampleGroup() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	snap, err := repo.Backup(ctx, backup.Group(map[string]fs.FS{
		"database":  backup.Stream("clinical.sql", strings.NewReader("rows")),
		"documents": fstest.MapFS{"scan.pdf": {Data: []byte("%PDF"), ModTime: time.Unix(1, 0)}},
	}), nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = fs.WalkDir(snap.FS(ctx), ".", func(path string, d fs.DirEntry, err error) error {
		fmt.Println(path)
		return err
	})
	// Output:
	// .
	// database
	// database/clinical.sql
	// documents
	// documents/scan.pdf
}

func ExampleRepository_Snapshots() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	for snap, err := range repo.Snapshots(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(snap.Outcome(), snap.Stats().Files)
	}
	// Output:
	// complete 2
	// complete 3
}

func ExampleRepository_Snapshot() {
	ctx := context.Background()
	repo, _, second := sample(ctx)
	snap, err := repo.Snapshot(ctx, backup.Latest)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(snap.ID() == second.ID())
	// Output: true
}

func ExampleRepository_Diff() {
	ctx := context.Background()
	repo, first, second := sample(ctx)
	for change, err := range repo.Diff(ctx, first, second) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(change.Kind, change.Path)
	}
	// Output: added letters/reply.txt
}

func ExampleRepository_Check() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	report, err := repo.Check(ctx, &backup.CheckOptions{ReadAll: true})
	fmt.Println(report.Snapshots, report.Total, err)
	// Output: 2 0 <nil>
}

func ExampleSnapshot_Restore() {
	ctx := context.Background()
	_, _, snap := sample(ctx)
	dir, err := os.MkdirTemp("", "restore-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	report, err := snap.Restore(ctx, dir, &backup.RestoreOptions{Paths: []string{"letters"}})
	if err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "letters", "reply.txt"))
	fmt.Println(report.Files, string(b), err)
	// Output: 2 Thank you <nil>
}

func ExampleSnapshot_FS() {
	ctx := context.Background()
	_, _, snap := sample(ctx)
	b, err := fs.ReadFile(snap.FS(ctx), "letters/referral.txt")
	fmt.Println(string(b), err)
	// Output: Dear colleague <nil>
}

func ExampleRepository_AddKey() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	service, err := subtle.NewAESGCM(bytes.Repeat([]byte{1}, 32)) // usually a client of a key service
	if err != nil {
		log.Fatal(err)
	}
	if _, err := repo.AddKey(ctx, backup.KMS("hcvault://transit/keys/backup", service)); err != nil {
		log.Fatal(err)
	}
	for _, k := range repo.Keys() {
		fmt.Println(k.Kind)
	}
	// Output:
	// password
	// kms
}

// What a policy does not keep is forgotten in three steps: look, decide, carry out.
func ExampleRepository_Forget() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	if _, err := repo.Backup(ctx, fstest.MapFS{"notes.txt": {Data: []byte("more")}}, nil); err != nil {
		log.Fatal(err)
	}
	policy, err := rotation.ParsePolicy([]byte(`{
		"rules": [{"lineages": ["*"], "tiers": [{"period": "monthly", "count": 12, "within": "12m"}]}],
		"budget": {"points": 10, "per": "1d"}
	}`))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := repo.Check(ctx, nil); err != nil {
		log.Fatal(err)
	}
	catalogue, err := repo.Catalogue(ctx, &backup.CatalogueOptions{
		Policy: &policy,
		Point:  func(_ *backup.Snapshot, p *rotation.Point) { p.Verified = rotation.Checked }, // just now
	})
	if err != nil {
		log.Fatal(err)
	}
	clock := rotation.Judge(rotation.Reading{Wall: time.Now()}, catalogue.HighWater(policy.Time), policy.Time)
	plan, err := rotation.Evaluate(policy, catalogue, clock)
	if err != nil {
		log.Fatal(err)
	}
	if err := repo.Forget(ctx, catalogue, plan); err != nil {
		log.Fatal(err) // ErrStalePlan: somebody has committed meanwhile, so look again
	}
	fmt.Println("forgot", len(plan.Releases()), "kept", len(plan.Keeps()))
	fmt.Println(plan.Explain(plan.Keeps()[1])[0].Text)
	// Output:
	// forgot 1 kept 2
	// the newest verified point of its lineage
}

func ExampleRepository_Compact() {
	ctx := context.Background()
	repo, _, _ := sample(ctx)
	// Nightly, after Forget. What nothing needs is condemned, and deleted by a run after the grace.
	report, err := repo.Compact(ctx, &backup.CompactOptions{Grace: 48 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Snapshots, "snapshots kept,", report.Deleted, "objects deleted yet")
	// Output: 2 snapshots kept, 0 objects deleted yet
}

func ExampleRepository_Hold() {
	ctx := context.Background()
	repo, first, _ := sample(ctx)
	hold := rotation.Hold{
		ID: "H-7", Matter: "coroner 118/26", PlacedBy: "Dr Ada", Placed: time.Now(),
		Scope: rotation.Scope{Points: []rotation.PointID{rotation.PointID(first.ID())}},
	}
	for _, by := range []string{"", "Dr Ada", "Mr Babbage"} { // two different people end it
		if by != "" {
			hold.Releases = append(hold.Releases, rotation.Approval{By: by, At: time.Now()})
		}
		if err := repo.Hold(ctx, hold); err != nil {
			log.Fatal(err)
		}
		holds, err := repo.Holds(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(holds[0].ID, "stands:", holds[0].Stands())
	}
	// Output:
	// H-7 stands: true
	// H-7 stands: true
	// H-7 stands: false
}
