package media

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"strings"

	"github.com/carekeep/carekeep/rotation"
)

// Sheet is the page for the fridge: which drive, when, and who carries it.
type Sheet struct {
	Timeline Timeline
	Practice string       // its name, for the heading
	Contact  string       // whom to call, with a number; default "your IT support"
	From     rotation.Day // first day shown; default the timeline's first
	Weeks    int          // default 4, at most 6: so many fit on an A4 page
	Printed  rotation.Day // shown at the foot; zero: not shown
}

// maxSheetWeeks is how many weeks fit on the page.
const maxSheetWeeks = 6

// maxListed is how many drives fit in the list of who looks after which; more are named on their days only.
const maxListed = 16

// HTML makes one self-contained page, which prints on one sheet of A4. It has no script, no link and no
// font or image to be loaded.
func HTML(s Sheet) ([]byte, error) {
	t := s.Timeline
	if t.seen == nil {
		return nil, errors.New("sheet: it needs a timeline made by Simulate")
	}
	if s.Weeks == 0 {
		s.Weeks = 4
	}
	if s.Weeks < 1 || s.Weeks > maxSheetWeeks {
		return nil, fmt.Errorf("sheet: %d weeks: 1 to %d fit on a page", s.Weeks, maxSheetWeeks)
	}
	if s.From.IsZero() {
		s.From = t.Scenario.Start
	}
	if s.Contact == "" {
		s.Contact = "your IT support"
	}
	h := t.Scenario.Hours
	p := page{Practice: s.Practice, Contact: s.Contact, Steps: t.steps(),
		Height: []template.CSS{"31", "31", "31", "31", "27", "24.5"}[s.Weeks-1], Size: "13"}
	if p.Practice == "" {
		p.Practice = "Backup drives"
	}
	if !s.Printed.IsZero() {
		p.Printed = fmt.Sprintf("%d %s %d", s.Printed.Day, s.Printed.Month, s.Printed.Year)
	}
	first := monday(s.From)
	last := first.AddDays(s.Weeks*7 - 1)
	p.Period = fmt.Sprintf("%d %s to %d %s %d", first.Day, first.Month, last.Day, last.Month, last.Year)
	for _, d := range fromMonday {
		if h.works(d) {
			p.Columns = append(p.Columns, d.String())
		}
	}
	if len(p.Columns) > 5 {
		p.Size = "10"
	}
	shown := map[string]bool{}
	for w := range s.Weeks {
		row := pageWeek{}
		for i, d := range fromMonday {
			if !h.works(d) {
				continue
			}
			today := first.AddDays(w*7 + i)
			c := pageDay{Date: fmt.Sprintf("%d %s", today.Day, today.Month.String()[:3])}
			switch {
			case today.Before(s.From) || !t.within(today):
				c.Note = " "
			case !h.Open(today):
				c.Note = "closed"
				if name := h.Holidays.Days[today]; name != "" {
					c.Note = name
				}
			}
			if c.Note == "" {
				t.fill(&c, today)
				shown[c.Medium] = true
			}
			row.Days = append(row.Days, c)
		}
		p.Rows = append(p.Rows, row)
	}
	for i, name := range t.Scenario.Names {
		if !shown[name] {
			p.Others = true
			continue
		}
		k := t.Scenario.Keepers[i%len(t.Scenario.Keepers)]
		p.Drives = append(p.Drives, pageDrive{name, tint(t, name), k.Name})
	}
	if len(p.Drives) > maxListed {
		p.Drives = nil
	}
	var b bytes.Buffer
	if err := fridge.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	return b.Bytes(), nil
}

type page struct {
	Practice, Contact, Period, Printed string
	Columns                            []string
	Rows                               []pageWeek
	Steps                              []pageStep
	Drives                             []pageDrive
	Others                             bool // there are drives that do not occur
	Height, Size                       template.CSS
}

type pageWeek struct{ Days []pageDay }

type pageDay struct {
	Date, Note     string
	Medium, Keeper string // of tonight's backup
	Tint           template.CSS
	Tier           string // empty for daily
	Missed         string
	In             bool // its keeper brings it in the morning
	Out            []pageOut
	More           int // beyond those that fit
}

type pageOut struct{ Medium, Keeper string }

type pageStep struct{ When, What string }

type pageDrive struct {
	Name   string
	Tint   template.CSS
	Keeper string
}

func tint(t Timeline, name string) template.CSS {
	return template.CSS("background:" + hue(t.Scenario.Names, name)) // a hexadecimal colour, nothing from outside
}

func (t Timeline) fill(c *pageDay, today rotation.Day) {
	for _, n := range t.Nights {
		if n.Day != today {
			continue
		}
		c.Medium, c.Keeper, c.Tint, c.In = n.Medium, n.Keeper, tint(t, n.Medium), n.In
		if n.Slot.Tier != Daily {
			c.Tier = string(n.Slot.Tier)
		}
		if n.Outcome == Missed {
			c.Missed = n.Why
		}
	}
	for _, m := range t.Moves {
		if m.At.Day != today || !m.Out {
			continue
		}
		if len(c.Out) == 2 {
			c.More++
		} else {
			c.Out = append(c.Out, pageOut{m.Medium, m.Keeper})
		}
	}
}

// steps is the routine in words.
func (t Timeline) steps() []pageStep {
	h, r := t.Scenario.Hours, t.Scenario.Routine
	in := "Plug in the drive of the day, the one in large letters above. Read the screen: it tells you if it is the right one."
	if !r.Usual.SameDay && r.Usual.Unplug == (rotation.Clock{}) {
		in = "Unplug the drive that is in. " + in
	}
	steps := []pageStep{{h.StaffFrom.String(), in}}
	run := "The backup runs by itself. Leave the drive plugged in."
	if r.Usual.Unplug != (rotation.Clock{}) {
		run = fmt.Sprintf("The backup runs by itself. The drive is detached at %s.", r.Usual.Unplug)
	}
	home := pageStep{h.StaffTo.String(), "Whoever stands behind an arrow takes that drive home and keeps it in a safe place, not in the car."}
	backup := pageStep{r.Usual.Run.String(), run}
	if minutes(r.Usual.Run) < minutes(h.StaffTo) {
		steps = append(steps, backup, home)
	} else {
		steps = append(steps, home, backup)
	}
	if b := r.BeforeClosed; b != nil {
		what := fmt.Sprintf("And on any last day before the practice is closed: the backup is at %s", b.Run)
		if b.SameDay {
			what += ", and its drive goes home the same day"
		}
		steps = append(steps, pageStep{"Friday", what + "."})
	}
	return steps
}

var fridge = template.Must(template.New("fridge").Parse(strings.TrimSpace(`
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backup drives: {{.Practice}}</title>
<style>
@page { size: A4 portrait; margin: 11mm }
* { box-sizing: border-box }
body { font: 10.5pt/1.3 system-ui, "DejaVu Sans", Arial, sans-serif; color: #000; background: #fff; max-width: 188mm; margin: 0 auto;
  -webkit-print-color-adjust: exact; print-color-adjust: exact }
h1 { font-size: 18pt; line-height: 1.2; margin: 0 }
.period { font-size: 11pt; margin: .5mm 0 2mm }
h2 { font-size: 11pt; margin: 2.5mm 0 .8mm }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
.calendar th { text-align: left; font-size: 10pt; padding: 0 1.5mm .8mm; border: 0 }
.calendar td { border: .3mm solid #000; padding: .8mm 1.5mm; vertical-align: top; height: {{.Height}}mm }
.calendar td.closed { background: #eee; color: #444; font-size: 9pt }
.calendar td.promoted { outline: .8mm solid #000; outline-offset: -.8mm }
.date { font-size: 8.5pt; display: flex; justify-content: space-between }
.tier { font-weight: bold }
.one { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.drive { display: block; font-size: {{.Size}}pt; font-weight: bold; border: .3mm solid #000; border-radius: 1.2mm; padding: 0 1.2mm; margin: .6mm 0 }
.line { font-size: 8.5pt; display: block; line-height: 1.3 }
.tick { display: inline-block; width: 2.3mm; height: 2.3mm; border: .25mm solid #000; margin-right: 1mm }
.missed { font-size: 9pt; font-weight: bold }
.steps td { padding: .5mm 2mm .5mm 0; vertical-align: top }
.steps td:first-child { width: 18mm; font-weight: bold; white-space: nowrap }
.drives { margin: 0; padding: 0; list-style: none; columns: 4; column-gap: 3mm }
.drives li { margin: 0 0 .8mm; break-inside: avoid; font-size: 9.5pt }
.drives .drive { display: inline-block; font-size: 9pt; margin: 0 1.2mm 0 0 }
.wrong { border: .5mm solid #000; padding: 1.2mm 2.5mm; margin-top: 2.5mm }
.wrong p { margin: 0; overflow-wrap: anywhere }
footer { font-size: 8pt; margin-top: 1.5mm }
</style>
</head>
<body>
<h1 class="one">{{.Practice}}</h1>
<p class="period">Backup drives, {{.Period}}</p>
<table class="calendar">
<thead><tr>{{range .Columns}}<th scope="col">{{.}}</th>{{end}}</tr></thead>
<tbody>
{{range .Rows}}<tr>
{{range .Days}}{{if .Note}}<td class="closed"><div class="date"><span>{{.Date}}</span></div><div class="one">{{.Note}}</div></td>
{{else}}<td{{if .Tier}} class="promoted"{{end}}><div class="date"><span>{{.Date}}</span>{{if .Tier}}<span class="tier">{{.Tier}}</span>{{end}}</div>
{{- if .Missed}}<span class="missed">No backup: {{.Missed}}</span>{{else}}<span class="drive one" style="{{.Tint}}">{{.Medium}}</span>
<span class="line one"><span class="tick"></span>{{if .In}}in: {{.Keeper}}{{else}}in: it is here{{end}}</span>{{end}}
{{range .Out}}<span class="line one"><span class="tick"></span><b>{{.Medium}}</b> → {{.Keeper}}</span>{{end}}
{{- if .More}}<span class="line one">and {{.More}} more</span>{{end}}</td>
{{end}}{{end}}</tr>
{{end}}</tbody>
</table>
<h2>Every day</h2>
<table class="steps">{{range .Steps}}<tr><td>{{.When}}</td><td>{{.What}}</td></tr>{{end}}</table>
{{if .Drives}}<h2>Who looks after which drive{{if .Others}} (those of this page){{end}}</h2>
<ul class="drives">{{range .Drives}}<li class="one"><span class="drive" style="{{.Tint}}">{{.Name}}</span>{{.Keeper}}</li>{{end}}</ul>{{end}}
<div class="wrong"><p><b>A drive is late, lost, or the screen says something else?</b> Plug in no other drive and call {{.Contact}}.
Do what the screen says. A lost drive is reported the same day.</p></div>
<footer>“in” names who brings the drive, an arrow who takes it home. Tick the box when it is done. A thick frame is a weekly, monthly or yearly copy, kept longer.{{if .Printed}} Printed {{.Printed}}.{{end}}</footer>
</body>
</html>
`) + "\n"))
