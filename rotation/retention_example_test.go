package rotation_test

import (
	"fmt"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

// week is a catalogue of a week of nights, as package backup would give it.
func week() rotation.Catalogue {
	c := rotation.Catalogue{Repository: "5f0c", Head: "a1b2"}
	for i := range 7 {
		at := time.Date(2026, 11, 16+i, 9, 0, 0, 0, time.UTC) // 20:00 in Sydney
		c.Points = append(c.Points, rotation.Point{
			ID: rotation.PointID(fmt.Sprintf("rp-%d", i+1)), Lineage: "clinic-sql", Seq: uint64(i + 1),
			Claimed: at, Observed: at, Complete: true, Verified: rotation.ReadBack,
		})
	}
	return c
}

const nightly = `{
	"zone": {"location": "Australia/Sydney", "dayStart": "04:00"},
	"rules": [{
		"lineages": ["clinic-sql"],
		"tiers": [
			{"period": "daily", "count": 3, "within": "3d"},
			{"period": "weekly", "count": 5, "within": "5w"}
		]
	}],
	"budget": {"points": 10, "per": "1d"}
}`

func ExampleEvaluate() {
	policy, err := rotation.ParsePolicy([]byte(nightly))
	if err != nil {
		panic(err)
	}
	catalogue := week()
	reading := rotation.Reading{Wall: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)} // the caller's time.Now
	verdict := rotation.Judge(reading, catalogue.HighWater(policy.Time), policy.Time)
	plan, err := rotation.Evaluate(policy, catalogue, verdict)
	if err != nil {
		panic(err)
	}
	fmt.Println("keep", plan.Keeps())
	fmt.Println("release", plan.Releases())
	fmt.Print(plan.Text("rp-1"))
	// Output:
	// keep [rp-1 rp-5 rp-6 rp-7]
	// release [rp-2 rp-3 rp-4]
	// rp-1  Mon 2026-11-16 20:00 AEDT  lineage clinic-sql  verified: readBack
	//   KEEP  weekly 2026-W47: first verified point of the week, for 5w      rules[0].tiers[1]  until 2026-12-21
	//   EARLIEST RELEASE  2026-12-21
}

func ExamplePlan_Explain() {
	policy, _ := rotation.ParsePolicy([]byte(nightly))
	plan, _ := rotation.Evaluate(policy, week(), rotation.TimeVerdict{Usable: true, Now: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)})
	for _, r := range plan.Explain("rp-2") {
		fmt.Printf("%s: %s (%s)\n", r.Code, r.Text, r.Rule)
	}
	// Output:
	// aged: daily 2026-11-17: first verified point of the day, older than 3d, and 3 newer are verified (rules[0].tiers[0])
	// surplus: weekly 2026-W47: another point has it (rules[0].tiers[1])
}

func ExampleDiff() {
	old, _ := rotation.ParsePolicy([]byte(nightly))
	shorter := old
	shorter.Rules = []rotation.Rule{{Lineages: []string{"clinic-sql"}, Tiers: rotation.Tiers(2, 5, 0, 0)}}
	changes, err := rotation.Diff(old, shorter, week(), rotation.TimeVerdict{Usable: true, Now: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)})
	if err != nil {
		panic(err)
	}
	for _, c := range changes {
		fmt.Printf("%s of %s would go: was kept by %q\n", c.Point, c.Day, c.Was[0].Text)
	}
	// Output:
	// rp-5 of 2026-11-20 would go: was kept by "daily 2026-11-20: first verified point of the day, for 3d"
}
