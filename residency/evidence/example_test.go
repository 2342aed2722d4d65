package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/residency/evidence"
)

func Example() {
	ctx := context.Background()
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	e, err := evidence.Open(ctx, bucket, "evidence/", &evidence.Options{Writer: "practice-1"})
	if err != nil {
		log.Fatal(err)
	}
	err = e.Append(ctx, evidence.KindQuarantine, "sydney", evidence.Quarantine{Cause: evidence.CauseMismatch})
	if err != nil {
		log.Fatal(err)
	}
	// Data that might tell of a patient is refused.
	err = e.Append(ctx, evidence.KindMove, "sydney", evidence.Move{ID: "patients/meyer", From: "sydney", Stage: evidence.Planned})
	fmt.Println(errors.Is(err, evidence.ErrRefused))

	noted := e.Head() // kept elsewhere
	var file bytes.Buffer
	if err := e.Export(ctx, &file); err != nil {
		log.Fatal(err)
	}
	sum, err := evidence.Verify(&file, noted)
	fmt.Println(sum.Records, sum.Kinds, err)
	// Output:
	// true
	// 1 map[quarantine:1] <nil>
}
