package media_test

import (
	"fmt"
	"time"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

// The weekly copy is the last business day's: Thursday, where Friday is Good Friday.
func ExampleGFS() {
	set, err := media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 12}, media.ByCalendar)
	if err != nil {
		fmt.Println(err)
		return
	}
	hours := media.Hours{Holidays: rotation.Holidays{Days: map[rotation.Day]string{
		{Year: 2027, Month: time.March, Day: 26}: "Good Friday", {Year: 2027, Month: time.March, Day: 29}: "Easter Monday"}}}
	for d := (rotation.Day{Year: 2027, Month: time.March, Day: 22}); d.Month == time.March; d = d.AddDays(1) {
		if !hours.Open(d) {
			continue
		}
		slot, err := set.Slot(0, d, hours)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d, d.Weekday(), slot.Name)
	}
	// Output:
	// 2027-03-22 Monday daily-1
	// 2027-03-23 Tuesday daily-2
	// 2027-03-24 Wednesday daily-3
	// 2027-03-25 Thursday weekly-1
	// 2027-03-30 Tuesday daily-2
	// 2027-03-31 Wednesday monthly-3
}

// What the person at the desk reads after plugging in the wrong drive.
func ExampleInserted() {
	register := []media.Medium{
		{Name: "GREEN-1", Slot: "monthly-10", Tier: media.Monthly, State: media.Written, Site: media.Practice,
			Contents: []media.Content{{Point: "7f3a", What: "the month-end of October",
				Promise: rotation.Day{Year: 2026, Month: time.November, Day: 30}}}},
		{Name: "BLUE-2", Slot: "daily-2", Tier: media.Daily, State: media.Offsite, Site: "home of Ann"},
	}
	guards := media.Guards{Today: rotation.Day{Year: 2026, Month: time.November, Day: 17}, ClockTrusted: true}
	tonight := media.Slot{Name: "daily-2", Tier: media.Daily}
	verdict := media.Inserted("GREEN-1", media.Known, tonight, register, guards)
	fmt.Println(verdict.Action)
	fmt.Println(verdict.Sentence)
	// Output:
	// say
	// This is GREEN-1. It holds the month-end of October until 30 Nov. Nothing was written. Please plug in BLUE-2.
}

// Two drives and next-day departure: the proof that it leaks, as a manager can read it.
func ExampleCheck() {
	set, _ := media.RoundRobin(2, media.ByCalendar)
	timeline, err := media.Simulate(media.Scenario{Set: set, Routine: media.NextDay(),
		Start: rotation.Day{Year: 2026, Month: time.October, Day: 5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	violations := media.Check(timeline, media.KeptOffsite(1, 0, media.Unknown))
	fmt.Printf("%.1f %% of the time nothing is offsite\n", 100*timeline.Exposure().NothingOffsite)
	for _, line := range timeline.Trace(violations[1]) {
		fmt.Println(line)
	}
	// Output:
	// 26.8 % of the time nothing is offsite
	// Mon 5 Oct 08:30  staff brings BLUE-1 back, and it is plugged in
	// Mon 5 Oct 17:30  staff takes BLUE-2 away
	// Mon 5 Oct 20:00  the backup onto BLUE-1 begins
	// Mon 5 Oct 20:30  the backup on BLUE-1 is complete and was read back
	// Tue 6 Oct 08:30  staff brings BLUE-2 back, and it is plugged in
	// Tue 6 Oct 17:30  staff takes BLUE-1 away
	// => P2 offsite: from Tue 6 Oct 08:30 to Tue 6 Oct 17:30 (9.0 h, 8.5 surgery hours) no good copy is away from the practice
}

// The building burns, what was attached is encrypted, and the data had been wrong for nine days.
func ExampleRecoverable() {
	set, _ := media.Hanoi(6, media.BySession)
	timeline, err := media.Simulate(media.Scenario{Set: set, Routine: media.SameDay(), Start: rotation.Day{Year: 2026, Month: time.October, Day: 5},
		Keepers: []media.Keeper{{Name: "Dr Lee"}, {Name: "Ann"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := media.Moment{Day: rotation.Day{Year: 2026, Month: time.November, Day: 18}, Clock: rotation.Clock{Hour: 11}}
	rescue := media.Recoverable(timeline.Inventory(now), media.Incident{Burnt: []string{media.Practice}, Encrypted: true, PoisonDays: 9})
	fmt.Println("From", rescue.Copy.Medium, "at the", rescue.Copy.Site, "of", rescue.Copy.Data)
	fmt.Printf("%.1f surgery hours are lost\n", rescue.Lost.Hours())
	fmt.Println(rescue.Rejected[0].Medium, "is of no use:", rescue.Rejected[0].Reasons[0].Text)
	// Output:
	// From BLUE-4 at the home of Ann of Thu 5 Nov 16:00
	// 71.5 surgery hours are lost
	// BLUE-5 is of no use: it was made after the data went wrong
}
