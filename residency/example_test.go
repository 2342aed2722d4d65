package residency_test

import (
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// A practice in Ireland asks about a bucket in Virginia, finds out what is missing, and asks again.
func ExampleRuleset_Decide() {
	rules, err := residency.Rules()
	if err != nil {
		log.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	q := residency.Request{
		Subject: residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"IE"}},
		Purpose: residency.Storage,
		Target: residency.Target{Location: residency.Location{
			Provider: "aws", Region: "us-east-1", Level: residency.Observed, At: now,
		}},
		Now: now,
	}
	d, err := rules.Decide(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Verdict)
	for _, m := range d.Missing {
		fmt.Println("-", m.Rule+":", m.Fact)
	}

	// The recipient is on the list, until its certification lapses.
	q.Target.Papers = []residency.Paper{{
		Kind:  "dpf-listing",
		From:  residency.Day{Year: 2026, Month: 3, Day: 1},
		Until: residency.Day{Year: 2026, Month: 12, Day: 1},
	}}
	d, err = rules.Decide(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Verdict, "until", d.Expires.Format("2006-01-02 15:04 MST"), "by", d.ExpiresBy)

	// What if a court ends the framework tomorrow?
	ended, err := rules.EndRule("eu-gdpr.adequacy.us-dpf", residency.Day{Year: 2026, Month: 11, Day: 23})
	if err != nil {
		log.Fatal(err)
	}
	q.AsOf = residency.Day{Year: 2026, Month: 11, Day: 23}
	d, err = ended.Decide(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Verdict)
	// Output:
	// unknown
	// - eu-gdpr.adequacy.us-dpf: paper dpf-listing
	// - eu-gdpr.tool.scc-2021: paper tia
	// - eu-gdpr.tool.scc-2021: who holds the keys
	// - eu-gdpr.tool.scc-2021: where the keys are held
	// - eu-gdpr.tool.scc-2021: paper scc that covers 2021
	// - eu-gdpr.tool.scc-2021: paper bcr
	// allowed until 2026-11-30 23:00 UTC by paper dpf-listing
	// unknown
}

// The review of the rules is due and no release has come. A vendor reads their sources, finds them unchanged, and says so.
func ExampleRuleset_With_reviews() {
	rules, err := residency.Rules()
	if err != nil {
		log.Fatal(err)
	}
	now := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	q := residency.Request{
		Subject: residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"IE"}},
		Target:  residency.Target{Location: residency.Location{Places: []residency.Place{"IE"}}},
		Now:     now,
	}
	d, err := rules.Decide(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Verdict, "without", d.Missing[0].Fact)

	// Each rule is named: nobody has read what is not in the list.
	var read []string
	for _, r := range rules.Rules() {
		if r.ID == "eu-gdpr.union" && r.ReviewBy.UTC().Before(now) {
			read = append(read, r.ID)
		}
	}
	file, err := json.Marshal(map[string]any{"reviews": []any{map[string]any{
		"by": "Example Clinical Software", "rules": read, "checked": "2027-05-20", "reviewBy": "2027-11-20",
		"sources": []string{"Regulation (EU) 2016/679, consolidated, EUR-Lex"},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	renewed, err := rules.With(residency.RuleFile{Name: "reviews.json", Data: file})
	if err != nil {
		log.Fatal(err)
	}
	d, err = renewed.Decide(q)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Verdict, "until", d.Expires.Format("2006-01-02"), "by", d.ExpiresBy)
	fmt.Println(d.Reasons[0].Rule, "as reviewed by", d.Reasons[0].ReviewedBy)
	// Output:
	// unknown without a review of the rule, which was due by 2027-05-22
	// allowed until 2027-11-20 by review of eu-gdpr.union
	// eu-gdpr.union as reviewed by Example Clinical Software
}
