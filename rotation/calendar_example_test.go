package rotation_test

import (
	"fmt"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

func ExampleZone_Instant() {
	sydney, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		panic(err)
	}
	zone := rotation.Zone{Location: sydney}
	halfPastTwo := rotation.Clock{Hour: 2, Minute: 30}
	for _, s := range []string{"2026-10-03", "2026-10-04", "2027-04-04"} {
		day, err := rotation.ParseDay(s)
		if err != nil {
			panic(err)
		}
		t, adjustment := zone.Instant(day, halfPastTwo)
		fmt.Printf("%s  %q\n", t, adjustment)
	}
	// Output:
	// 2026-10-03 02:30:00 +1000 AEST  ""
	// 2026-10-04 03:00:00 +1100 AEDT  "moved 30m0s"
	// 2027-04-04 02:30:00 +1100 AEDT  "first of two"
}

func ExampleDue() {
	sydney, err := time.LoadLocation("Australia/Sydney")
	if err != nil {
		panic(err)
	}
	zone := rotation.Zone{Location: sydney, DayStart: rotation.Clock{Hour: 4}}
	windows := []rotation.Window{{
		Name:        "nightly",
		Opens:       rotation.Clock{Hour: 20},
		Length:      10 * time.Hour,
		StartWithin: 6 * time.Hour,
	}}
	// The service was off on Thursday night. It asks every minute; here are three of the answers.
	done := rotation.Done{"nightly@2026-11-18": true}
	for _, now := range []time.Time{
		time.Date(2026, 11, 20, 12, 0, 0, 0, sydney),
		time.Date(2026, 11, 20, 20, 0, 0, 0, sydney),
		time.Date(2026, 11, 20, 20, 1, 0, 0, sydney),
	} {
		due, err := rotation.Due(windows, zone, rotation.Holidays{}, done, now, nil)
		if err != nil {
			panic(err)
		}
		fmt.Println(now.Format("15:04"), len(due), "due")
		for _, o := range due {
			fmt.Println("run", o.ID(), "until", o.Closes.Format("15:04"))
			done[o.ID()] = true
		}
	}
	// Output:
	// 12:00 0 due
	// 20:00 1 due
	// run nightly@2026-11-20 until 06:00
	// 20:01 0 due
}

func ExampleImportCron() {
	windows, err := rotation.ImportCron("30 1 * * 2-6", rotation.Zone{DayStart: rotation.Clock{Hour: 4}},
		rotation.Window{Name: "nightly", Length: 4 * time.Hour})
	if err != nil {
		panic(err)
	}
	for _, w := range windows {
		text, err := w.MarshalJSON()
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
	// Output:
	// {"name":"nightly","opens":"01:30","length":"4h","days":[{"weekdays":["mon","tue","wed","thu","fri"]}],"holidays":"run"}
}

func ExampleActivity_Suggest() {
	// A typical week: a hundred writes each half-hour from 08:00 to 18:00 on weekdays, reports at 02:00.
	var week rotation.Activity
	for weekday := time.Monday; weekday <= time.Friday; weekday++ {
		for i := 16; i < 36; i++ {
			week[weekday][i] = 100
		}
		week[weekday][4] = 20
	}
	s, err := week.Suggest(6 * time.Hour)
	if err != nil {
		panic(err)
	}
	fmt.Println(s)
	// Output:
	// open at 19:00 for 6h: 0 of 10100 writes (0.0 %) fall into it; opening at any time from 18:00 to 20:00 is as quiet
}
