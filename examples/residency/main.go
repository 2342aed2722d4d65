// Command residency shows where the data of an Irish hospital may be: first by the rules alone, which answer questions and
// touch nothing, then by a router that keeps to them, over three folders that stand for buckets in three countries.
//
//	go run ./examples/residency
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/router"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// now is fixed, so that the program says the same every day. A real one uses time.Now, and rules that are kept up to date.
var now = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// hospital is whose data it is: records with names, of a body in Ireland.
var hospital = residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"IE"}}

func day(y int, m time.Month, d int) residency.Day { return residency.Day{Year: y, Month: m, Day: d} }

// at is a bucket at a provider whose interface has shown where it is. The hospital holds the keys.
func at(provider, region string, papers ...residency.Paper) residency.Target {
	return residency.Target{
		Location: residency.Location{Provider: provider, Region: region, Level: residency.Observed, At: now},
		Custody:  residency.Custody{Holder: residency.CustomerHeld, Places: []residency.Place{"IE"}},
		Papers:   papers,
	}
}

// none says that the hospital looked, and there is no such paper.
func none(kinds ...string) (papers []residency.Paper) {
	for _, k := range kinds {
		papers = append(papers, residency.Paper{Kind: k, Refuted: true})
	}
	return papers
}

func run(ctx context.Context, w io.Writer) error {
	rules, err := residency.Rules()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "Where may the records of an Irish hospital be?")
	listed := append(none("scc", "bcr"), residency.Paper{Kind: "dpf-listing", Subject: "Example Cloud Inc"})
	shield := append(none("scc", "bcr"), residency.Paper{Kind: "privacy-shield-listing"})
	for _, q := range []struct {
		what   string
		target residency.Target
		asOf   residency.Day
	}{
		{"Frankfurt", at("aws", "eu-central-1"), residency.Day{}},
		{"Virginia, no papers looked at", at("aws", "us-east-1"), residency.Day{}},
		{"Virginia, listed", at("aws", "us-east-1", listed...), residency.Day{}},
		{"Virginia in 2020, Privacy Shield", at("aws", "us-east-1", shield...), day(2020, 7, 15)},
		{"the day of the judgment", at("aws", "us-east-1", shield...), day(2020, 7, 16)},
		{"London, last day of adequacy", at("aws", "eu-west-2", none("scc", "bcr")...), day(2031, 12, 27)},
		{"London, the day after", at("aws", "eu-west-2", none("scc", "bcr")...), day(2031, 12, 28)},
	} {
		d, err := rules.Decide(residency.Request{Subject: hospital, Target: q.target, AsOf: q.asOf, Now: now})
		if err != nil {
			return err
		}
		show(w, q.what, d)
	}
	return routed(ctx, w, rules, listed)
}

// show prints a decision, and what speaks against it: each rule, and how its text ends, which says why it does not help.
func show(w io.Writer, what string, d residency.Decision) {
	fmt.Fprintf(w, "%-33s %s\n", what, d.Verdict)
	for _, r := range d.Reasons {
		if r.Verdict != residency.Allowed && r.Rule != "" {
			fmt.Fprintf(w, "    %s: %s\n", r.Rule, r.Text[strings.LastIndex(r.Text, ": ")+2:])
		}
	}
}

// routed keeps an object in three places as one bucket.
func routed(ctx context.Context, w io.Writer, rules *residency.Ruleset, listed []residency.Paper) error {
	root, err := os.MkdirTemp("", "carekeep-residency-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	var sites []router.Site
	for _, s := range []router.Site{
		{Name: "dublin", Onsite: true, Target: residency.Target{Location: residency.Location{Places: []residency.Place{"IE"}}}},
		{Name: "frankfurt", Operator: "one", Target: at("aws", "eu-central-1")},
		{Name: "virginia", Operator: "two", Target: at("aws", "us-east-1", listed...)},
	} {
		if s.Bucket, err = dirblob.OpenBucket(filepath.Join(root, s.Name), &dirblob.Options{CreateDir: true}); err != nil {
			return err
		}
		defer s.Bucket.Close()
		sites = append(sites, s)
	}
	options := &router.Options{Placement: router.Placement{MustReach: 3}, Now: func() time.Time { return now }}
	r, err := router.Open(ctx, rules, hospital, sites, options)
	if err != nil {
		return err
	}
	defer r.Close(ctx)
	if err := r.Bucket().WriteAll(ctx, "object", []byte("ciphertext"), nil); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nOne write, and where it is:")
	for _, s := range sites {
		there, _ := s.Bucket.Exists(ctx, "object")
		fmt.Fprintf(w, "%-33s %t\n", s.Name, there)
	}
	const dpf = "eu-gdpr.adequacy.us-dpf" // the rule of the Data Privacy Framework
	what, err := r.WhatIf(ctx, dpf, day(2027, 1, 15))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nIf the Data Privacy Framework ended in January, %d object at %s would have to go.\n\n"+
		"It has ended, and three copies are wanted:\n", what.Objects, strings.Join(what.Hit, ", "))
	ended, err := rules.EndRule(dpf, day(2026, 11, 1))
	if err != nil {
		return err
	}
	after, err := router.Open(ctx, ended, hospital, sites, options)
	if err != nil {
		return err
	}
	defer after.Close(ctx)
	var denied *router.DeniedError
	if !errors.As(after.Bucket().WriteAll(ctx, "another", []byte("ciphertext"), nil), &denied) {
		return errors.New("the write was not denied")
	}
	fmt.Fprintf(w, "denied: the lawful sites do not give %s\n", strings.Join(denied.Lacks, ", "))
	show(w, "virginia", denied.Decisions["virginia"])
	return nil
}
