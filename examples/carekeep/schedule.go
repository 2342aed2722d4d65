package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/carekeep/carekeep/rotation"
)

type scheduleCmd struct {
	File     string   `help:"File with the schedule: zone, windows, holidays." placeholder:"FILE"`
	At       string   `help:"Show it as of this time, like 2026-11-20T20:00:00+11:00, or 2026-11-20 20:00 in the schedule's zone; by default now." placeholder:"TIME"`
	Next     int      `help:"How many of the next runs to show." default:"5" placeholder:"N"`
	Done     []string `help:"A run that was made, such as nightly@2026-11-20; may be repeated." placeholder:"ID"`
	ICS      string   `name:"ics" help:"Add the holidays of this iCalendar file." placeholder:"FILE"`
	Cron     string   `help:"Add windows for a line of cron, such as \"0 20 * * 1-5\"." placeholder:"LINE"`
	Calendar string   `help:"Add windows for a line of systemd's OnCalendar, such as \"Mon..Fri 20:00\"." placeholder:"LINE"`
	Length   age      `help:"How long the windows of --cron and --calendar stay open." default:"8h" placeholder:"AGE"`
	Print    bool     `help:"Write the schedule with what was added, as a file for --file."`
}

func (c *scheduleCmd) Help() string {
	return `It needs no repository. The file is like

  {"zone": {"location": "Australia/Sydney", "dayStart": "04:00"},
   "windows": [{"name": "nightly", "opens": "20:00", "length": "10h", "holidays": "run"}],
   "holidays": {"days": {"2026-12-25": "Christmas Day"}}}

where site, the name of this place for windows with jitter, may stand as well. --cron and --calendar are of the file's
zone, or of UTC without one. A run that was missed is due as soon as
a window is open, under its own name: NAME@DAY.`
}

// schedule is the file's form.
type schedule struct {
	Zone     rotation.Zone     `json:"zone,omitzero"`
	Site     string            `json:"site,omitempty"`
	Windows  []rotation.Window `json:"windows"`
	Holidays rotation.Holidays `json:"holidays,omitzero"`
}

func (c *scheduleCmd) Run(a *app) error {
	s, err := c.schedule()
	if err != nil {
		return usageError{err}
	}
	if c.Print {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.stdout, string(b))
		return err
	}
	at, err := c.time(s.Zone)
	if err != nil {
		return usageError{err}
	}
	done := rotation.Done{}
	for _, id := range c.Done {
		done[id] = true
	}
	o := &rotation.DueOptions{Site: s.Site}
	due, err := rotation.Due(s.Windows, s.Zone, s.Holidays, done, at, o)
	if err != nil {
		return usageError{err}
	}
	next, err := c.next(s, at, o)
	if err != nil {
		return usageError{err}
	}
	if !a.JSON {
		fmt.Fprintf(a.stdout, "at %s\n", local(s.Zone, at))
	}
	for _, list := range []struct {
		what string
		runs []rotation.Occurrence
	}{{"due", due}, {"next", next}} {
		for _, run := range list.runs {
			a.occurrence(list.what, s.Zone, run)
		}
		if len(list.runs) == 0 && !a.JSON {
			fmt.Fprintf(a.stdout, "%-4s  nothing\n", list.what)
		}
	}
	return nil
}

func (a *app) occurrence(what string, z rotation.Zone, o rotation.Occurrence) {
	if a.JSON {
		a.line(struct {
			Type string `json:"type"`
			ID   string `json:"id"`
			rotation.Occurrence
		}{what, o.ID(), o})
		return
	}
	line := fmt.Sprintf("%-4s  %-24s  opened %s", what, o.ID(), local(z, o.Opens))
	if what == "next" {
		line = fmt.Sprintf("%-4s  %-24s  starts %s", what, o.ID(), local(z, o.Start))
	}
	if !o.Closes.IsZero() {
		line += ", ends by " + local(z, o.Closes)
	}
	if o.Reason != "" {
		line += "; " + plain(o.Reason)
	}
	if moved := o.Adjustment.String(); moved != "" {
		line += "; clocks change: " + moved
	}
	fmt.Fprintln(a.stdout, line)
}

// next lists the runs that open after at, of all windows together.
func (c *scheduleCmd) next(s *schedule, at time.Time, o *rotation.DueOptions) ([]rotation.Occurrence, error) {
	var all []rotation.Occurrence
	for len(all) < c.Next {
		runs, err := rotation.Next(s.Windows, s.Zone, s.Holidays, at, o)
		if err != nil || len(runs) == 0 {
			return all, err
		}
		at = runs[0].Opens
		for _, run := range runs {
			if run.Opens.Equal(at) {
				all = append(all, run)
			}
		}
	}
	return all[:c.Next], nil
}

// schedule reads the file and adds what other notations say.
func (c *scheduleCmd) schedule() (*schedule, error) {
	s := &schedule{}
	if c.Next < 0 {
		return nil, errors.New("--next: how many runs to show is not negative")
	}
	if c.File != "" {
		data, err := os.ReadFile(c.File)
		if err != nil {
			return nil, err
		}
		if err := decode(data, s); err != nil {
			return nil, fmt.Errorf("%s: %w", show(c.File), err)
		}
	}
	for _, other := range []struct {
		name, line string
		read       func(string, rotation.Zone, rotation.Window) ([]rotation.Window, error)
	}{{"cron", c.Cron, rotation.ImportCron}, {"calendar", c.Calendar, rotation.ImportOnCalendar}} {
		if other.line == "" {
			continue
		}
		ws, err := other.read(other.line, s.Zone, rotation.Window{Name: other.name, Length: time.Duration(c.Length)})
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", other.name, err)
		}
		s.Windows = append(s.Windows, ws...)
	}
	if len(s.Windows) == 0 {
		return nil, errors.New("no schedule: give --file, --cron or --calendar with at least one window")
	}
	if c.ICS == "" {
		return s, nil
	}
	data, err := os.ReadFile(c.ICS)
	if err != nil {
		return nil, err
	}
	h, err := rotation.ParseICS(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(c.ICS), err)
	}
	s.Holidays = s.Holidays.Add(h)
	return s, nil
}

func (c *scheduleCmd) time(z rotation.Zone) (time.Time, error) {
	if c.At == "" {
		return time.Now(), nil
	}
	if t, err := time.Parse(time.RFC3339, c.At); err == nil {
		return t, nil
	}
	day, clock, _ := strings.Cut(c.At, " ")
	d, err := rotation.ParseDay(day)
	if err != nil {
		return time.Time{}, fmt.Errorf("--at: %w", err)
	}
	at, err := rotation.ParseClock(clock)
	if err != nil {
		return time.Time{}, fmt.Errorf("--at: %w", err)
	}
	t, _ := z.Instant(d, at)
	return t, nil
}
