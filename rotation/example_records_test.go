package rotation_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

func ExampleObligation_Until() {
	rules, err := rotation.ObligationRules()
	if err != nil {
		log.Fatal(err)
	}
	facts := rotation.Facts{ // maxima, as the clinical database gives them: no identities
		Classes:   map[rotation.RecordClass]rotation.Answer{"health-record": rotation.Yes},
		LastEntry: rotation.Fact{Day: rotation.Day{Year: 2026, Month: time.June, Day: 30}},
	}
	for _, rule := range rules {
		if rule.ID != "au.general" {
			continue
		}
		_, err := rule.Until(facts)
		var missing *rotation.MissingFactsError
		fmt.Println(errors.As(err, &missing), err)

		facts.YoungestBirth = rotation.Fact{Day: rotation.Day{Year: 2024, Month: time.February, Day: 29}}
		term, err := rule.Until(facts)
		fmt.Println(term.Last, term.Forever, err)
	}
	// Output:
	// true keep the records: not known: youngestBirth
	// 2049-03-01 false <nil>
}

func ExampleObligations() {
	facts := rotation.Facts{
		Classes: map[rotation.RecordClass]rotation.Answer{"health-record": rotation.Yes,
			"radiation-treatment": rotation.No, "radiation-examination": rotation.No},
		InTreatment:      rotation.No,
		LastTreatmentEnd: rotation.Fact{Day: rotation.Day{Year: 2020, Month: time.March, Day: 31}},
	}
	today := rotation.Day{Year: 2026, Month: time.November, Day: 26}
	term, err := rotation.Obligations([]string{"DE"}, facts, today, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(term.Keep(today))
	fmt.Println(term)
	// Output:
	// true
	// Keep through 2030-03-31.
	//   de.bgb-630f: 10y after treatment end 2020-03-31: keep through 2030-03-31 [DE, law, BGB § 630f Abs. 3, text of 2013-02-20]
	//   de.strlschg-85-treatment: the set holds no record of class radiation-treatment [DE, law, StrlSchG § 85 Abs. 2 Satz 1 Nr. 1, text of 2021-05-20]
	//   de.strlschg-85-examination: the set holds no record of class radiation-examination [DE, law, StrlSchG § 85 Abs. 2 Satz 1 Nr. 2, text of 2021-05-20]
	// Not legal advice: dated data with sources, for a named person to check against the law in force.
}

func ExampleErasureHorizon() {
	at := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 20, 0, 0, 0, time.UTC) }
	points := []rotation.Point{
		{ID: "a1", Observed: at(time.March, 31), Holds: []rotation.HoldID{"H-7"}},
		{ID: "b2", Observed: at(time.November, 25)},
		{ID: "c3", Observed: at(time.November, 30)},
	}
	earliest := map[rotation.PointID]rotation.Day{ // from a plan
		"a1": {Year: 2026, Month: time.December, Day: 31},
		"b2": {Year: 2027, Month: time.February, Day: 14},
		"c3": {Year: 2027, Month: time.February, Day: 28},
	}
	holds := []rotation.Hold{{ID: "H-7", Scope: rotation.Scope{Points: []rotation.PointID{"a1"}}}}
	asked := rotation.Day{Year: 2026, Month: time.November, Day: 26}
	horizon := rotation.ErasureHorizon(points, holds, earliest, asked, nil)
	fmt.Println(horizon.Points, horizon.Last, horizon.Open)
	fmt.Println(horizon.Exceptions[0])
	// Output:
	// 2 2027-02-14 true
	// 1 point under hold H-7, no end
}

func ExampleConflicts() {
	lock := rotation.Act{
		Kind: rotation.ActLock, Lock: rotation.LockS3Compliance, Points: []rotation.PointID{"b2"},
		Until: rotation.Day{Year: 2033, Month: time.November, Day: 30},
	}
	found, err := rotation.Conflicts(lock, rotation.Situation{
		AsOf:    rotation.Day{Year: 2026, Month: time.November, Day: 26},
		Points:  []rotation.Point{{ID: "b2"}},
		Erasure: rotation.Span{Days: 180},
		MaxLock: rotation.Span{Years: 10},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range found {
		fmt.Printf("%s: %s\n", c.Severity, c.Text)
	}
	// Output:
	// block: compliance lock to 2033-11-30 exceeds the 180-day erasure promise and cannot be undone
	// note: nobody, not even the root user, can delete the versions or shorten the lock before 2033-11-30
}

func ExampleErasureLedger() {
	var ledger rotation.ErasureLedger
	ledger, err := ledger.Append(rotation.Erasure{
		Token: "kZ4T1n7Qw0b9sXyR2mVu8A", // a keyed hash; the key never leaves the clinical system
		Asked: rotation.Day{Year: 2026, Month: time.November, Day: 5},
	})
	if err != nil {
		log.Fatal(err)
	}
	restored := rotation.Day{Year: 2026, Month: time.October, Day: 31} // the day of the point that was restored
	for _, e := range ledger.Since(restored) {
		fmt.Println("erase again:", e.Token)
	}
	// Output: erase again: kZ4T1n7Qw0b9sXyR2mVu8A
}
