// Command usbdrives plans the USB drives of a practice: which drive is written tonight, who takes it home,
// and what the routine risks. It writes the page for the fridge, reminders for everyone's calendar, and a
// picture of the next weeks.
//
//	go run ./examples/usbdrives -drives 3 -routine same-day -staff Ann,Ben
//
//	-drives N      number of drives, written in turn (default 3)
//	-gfs D+W+M     grandfather-father-son instead, such as 4+4+12
//	-routine NAME  next-day, detached, early-friday or same-day (default same-day)
//	-staff NAMES   who takes drives home, separated by commas
//	-practice NAME the heading of the page
//	-contact TEXT  whom to call
//	-today DAY     plan from this day, such as 2026-10-05 (default today)
//	-zone NAME     the practice's time zone (default Australia/Melbourne)
//	-weeks N       weeks on the page, 1 to 6 (default 4)
//	-out DIR       where the files go (default a new temporary folder, which is kept)
//
// The exit status is 0 if the routine is sound, 1 if it is refused (the files are written all the same, to
// show what happens) or the files cannot be written, and 2 for a wrong call.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

// Exit statuses.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], time.Now(), os.Stdout, os.Stderr)) }

type config struct {
	scenario media.Scenario
	zone     rotation.Zone
	practice string
	contact  string
	weeks    int
	out      string
}

func run(args []string, now time.Time, stdout, stderr io.Writer) int {
	cfg, err := parse(args, now, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitGood
	case err != nil:
		fmt.Fprintln(stderr, "usbdrives:", err)
		return exitUsage
	}
	sound, err := plan(cfg, now, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "usbdrives:", err)
		return exitFailed
	}
	if !sound {
		return exitFailed
	}
	return exitGood
}

func parse(args []string, now time.Time, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("usbdrives", flag.ContinueOnError)
	flags.SetOutput(stderr)
	drives := flags.Int("drives", 3, "number of `drives`, written in turn")
	gfs := flags.String("gfs", "", "grandfather-father-son instead: daily+weekly+monthly drives, such as `4+4+12`")
	routine := flags.String("routine", "same-day", "`routine`: next-day, detached, early-friday or same-day")
	staff := flags.String("staff", "Ann,Ben,Chris", "`names` of those who take drives home, separated by commas")
	flags.StringVar(&cfg.practice, "practice", "Sample Practice", "`name` of the practice")
	flags.StringVar(&cfg.contact, "contact", "", "whom to call (default your IT support)")
	today := flags.String("today", "", "plan from this `day`, such as 2026-10-05 (default today)")
	zone := flags.String("zone", "Australia/Melbourne", "time `zone` of the practice")
	flags.IntVar(&cfg.weeks, "weeks", 4, "weeks on the page, 1 to 6")
	flags.StringVar(&cfg.out, "out", "", "`folder` for the files (default a new temporary one)")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if cfg.weeks < 1 || cfg.weeks > 6 {
		return cfg, fmt.Errorf("-weeks %d: 1 to 6 fit on the page", cfg.weeks)
	}
	location, err := time.LoadLocation(*zone)
	if err != nil {
		return cfg, fmt.Errorf("-zone %q: expected a name such as Australia/Melbourne", *zone)
	}
	cfg.zone.Location = location
	s := &cfg.scenario
	s.Start = rotation.DayOf(now.In(location))
	if *today != "" {
		if s.Start, err = rotation.ParseDay(*today); err != nil {
			return cfg, fmt.Errorf("-today: %w", err)
		}
	}
	routines := map[string]func() media.Routine{"next-day": media.NextDay, "detached": media.NextDayDetached,
		"early-friday": media.EarlyFriday, "same-day": media.SameDay}
	choose, ok := routines[*routine]
	if !ok {
		return cfg, fmt.Errorf("-routine %q: expected next-day, detached, early-friday or same-day", *routine)
	}
	s.Routine = choose()
	s.Evidence = media.Claimed
	for name := range strings.SplitSeq(*staff, ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.Keepers = append(s.Keepers, media.Keeper{Name: name})
		}
	}
	if *gfs == "" {
		s.Set, err = media.RoundRobin(*drives, media.ByCalendar)
		return cfg, err
	}
	var t media.Tiers
	if _, err := fmt.Sscanf(*gfs, "%d+%d+%d", &t.Daily, &t.Weekly, &t.Monthly); err != nil {
		return cfg, fmt.Errorf("-gfs %q: expected three numbers such as 4+4+12", *gfs)
	}
	s.Set, err = media.GFS(t, media.ByCalendar)
	return cfg, err
}

// plan writes the files and the report, and says whether the routine is sound.
func plan(cfg config, now time.Time, w io.Writer) (bool, error) {
	shown := cfg.scenario
	shown.Days = cfg.weeks*7 + 7 // the page begins on a Monday
	t, err := media.Simulate(shown)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(w, "%s: %s, routine %q\n\n", cfg.practice, cfg.scenario.Set, cfg.scenario.Routine.Name)
	tonight(w, t)
	fmt.Fprintf(w, "\n%s\n", media.Text(t))
	sound, err := risks(w, cfg.scenario)
	if err != nil {
		return false, err
	}
	return sound, files(w, cfg, t, now)
}

func tonight(w io.Writer, t media.Timeline) {
	if len(t.Nights) == 0 {
		fmt.Fprintln(w, "No business day in this time.")
		return
	}
	n := t.Nights[0]
	fmt.Fprintf(w, "%-10s %s (%s), backup at %s\n", dayName(t, n.Day), n.Medium, n.Slot.Tier, n.Run)
	for _, m := range t.Moves {
		if m.At.Day != n.Day {
			continue
		}
		verb := "brings"
		if m.Out {
			verb = "takes home"
		}
		fmt.Fprintf(w, "  %s    %s %s %s\n", m.At.Clock, m.Keeper, verb, m.Medium)
	}
}

func dayName(t media.Timeline, d rotation.Day) string {
	if d == t.Scenario.Start {
		return "Tonight"
	}
	return d.Weekday().String()
}

// risks says what the routine costs when something happens, over its whole cycle.
func risks(w io.Writer, s media.Scenario) (sound bool, err error) {
	if s.Set.Period() == 0 {
		s.Days = 2 * 365
	}
	whole, err := media.Simulate(s)
	if err != nil {
		return false, err
	}
	e := whole.Exposure()
	fmt.Fprintf(w, "Nothing offsite:                %.1f %% of the time\n", 100*e.NothingOffsite)
	fmt.Fprintf(w, "Fire:                           %s\n", loss(e.Fire))
	fmt.Fprintf(w, "All that is attached encrypted: %s\n", loss(e.Ransom))
	end := media.Moment{Day: whole.Nights[len(whole.Nights)-1].Day, Clock: rotation.Clock{Hour: 23}}
	site := media.Incident{Burnt: []string{media.Practice}, Encrypted: true, PoisonDays: 9}
	fmt.Fprintf(w, "The worst on one day:           %s\n", media.Recoverable(whole.Inventory(end), site).Sentence)

	injected, err := media.Inject(s, media.Faults{Most: 500}, media.KeptOffsite(1, 0, media.Unknown))
	if err != nil {
		return false, err
	}
	broken := injected.Broken["P2 offsite"]
	fmt.Fprintf(w, "One mistake at a time:          %d of %d cases leave nothing offsite for a while\n", broken, injected.Played)
	err = media.Approve(s, media.Requirements{})
	var refused *media.RefusedError
	if errors.As(err, &refused) {
		fmt.Fprintln(w, "\nREFUSED:")
		for _, r := range refused.Reasons {
			fmt.Fprintf(w, "  - %s\n", r.Text)
		}
		return false, nil
	}
	return err == nil, err
}

func loss(l media.Loss) string {
	return fmt.Sprintf("at worst %.1f, on average %.1f surgery hours lost", l.Worst, l.Mean)
}

func files(w io.Writer, cfg config, t media.Timeline, now time.Time) error {
	dir := cfg.out
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "usbdrives-")
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	page, err := media.HTML(media.Sheet{Timeline: t, Practice: cfg.practice, Contact: cfg.contact, Weeks: cfg.weeks,
		Printed: rotation.DayOf(now.In(cfg.zone.Location))})
	if err != nil {
		return err
	}
	ics, err := media.ICS(t, media.Calendar{Stamp: now, Zone: cfg.zone, ID: cfg.practice, Name: "Backup drives, " + cfg.practice})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, f := range []struct {
		name string
		data []byte
	}{{"fridge.html", page}, {"swaps.ics", ics}, {"calendar.svg", media.SVG(t)}} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(w, "wrote", path)
	}
	return nil
}
