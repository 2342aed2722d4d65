package router_test

import (
	"context"
	"fmt"
	"log"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

func Example() {
	ctx := context.Background()
	disk, sydney, melbourne := memblob.OpenBucket(nil), memblob.OpenBucket(nil), memblob.OpenBucket(nil)
	rules := allow{} // in earnest a *residency.Ruleset
	r, err := router.Open(ctx, rules, residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"AU-NSW"}}, []router.Site{
		{Name: "surgery", Bucket: disk, Onsite: true},
		{Name: "sydney", Bucket: sydney, Operator: "one cloud"},
		{Name: "melbourne", Bucket: melbourne, Operator: "another"},
	}, &router.Options{Placement: router.Placement{MustReach: 2, Offsite: 1}})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close(ctx)
	err = r.Bucket().WriteAll(ctx, "log/1", []byte("entry"), &blob.WriterOptions{IfNotExist: true})
	if err != nil {
		log.Fatal(err)
	}
	// The computer in the surgery is stolen. A person decides that Sydney takes over.
	_ = disk.Close()
	data, err := r.Bucket().ReadAll(ctx, "log/1")
	fmt.Println(string(data), err)
	_, err = r.Promote(ctx, router.Promotion{Home: "sydney", Person: "Dr Ada", Cause: evidence.CauseOutage})
	fmt.Println(err, r.Bucket().WriteAll(ctx, "log/2", []byte("next"), &blob.WriterOptions{IfNotExist: true}))
	// Output:
	// entry <nil>
	// <nil> <nil>
}
