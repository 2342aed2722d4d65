package media

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/carekeep/carekeep/rotation"
)

// Text is the timeline as a table with a line for each week: the medium of every session, and what the week
// risks at its worst. "!!" marks a session without a backup and "?" one whose copy was not read back; the
// reasons follow.
func Text(t Timeline) string {
	codes := shortNames(t.Scenario.Names)
	width := 2
	for _, c := range codes {
		width = max(width, utf8.RuneCountInString(c)+1)
	}
	var b, notes strings.Builder
	fmt.Fprintf(&b, "%-10s", "")
	for _, d := range fromMonday {
		if t.Scenario.Hours.works(d) {
			fmt.Fprintf(&b, " %-*s", width, d.String()[:2])
		}
	}
	fmt.Fprintf(&b, " | worst loss, surgery hours: fire   all attached encrypted\n")
	for _, w := range t.weeks() {
		year, week := w.monday.ISOWeek()
		fmt.Fprintf(&b, "%04d-W%02d  ", year, week)
		for i, d := range fromMonday {
			if !t.Scenario.Hours.works(d) {
				continue
			}
			cell := ""
			switch n := w.nights[i]; {
			case n == nil && !t.within(w.monday.AddDays(i)):
			case n == nil:
				cell = "-"
			case n.Outcome == Missed:
				cell = "!!"
			case n.Outcome == Unverified:
				cell = codes[slices.Index(t.Scenario.Names, n.Medium)] + "?"
			default:
				cell = codes[slices.Index(t.Scenario.Names, n.Medium)]
			}
			fmt.Fprintf(&b, " %-*s", width, cell)
			if n := w.nights[i]; n != nil && n.Outcome != Good {
				fmt.Fprintf(&notes, "%s  %s: %s\n", shortDay(n.Day), n.Medium, n.Why)
			}
		}
		e := t.part(w.monday).Exposure()
		fmt.Fprintf(&b, " | %31s   %22s\n", worst(e.Fire), worst(e.Ransom))
	}
	return strings.TrimRight(b.String()+notes.String(), "\n") + "\n"
}

func worst(l Loss) string {
	if l.None > 0 {
		return fmt.Sprintf("ALL for %.0f %% of the week", max(100*l.None, 1))
	}
	return fmt.Sprintf("%.1f", l.Worst)
}

// week is one week's nights, from Monday; nil where there was no session.
type week struct {
	monday rotation.Day
	nights [7]*Night
}

func (t Timeline) weeks() []week {
	var out []week
	for i := range t.Nights {
		n := &t.Nights[i]
		m := monday(n.Day)
		for len(out) == 0 || out[len(out)-1].monday != m {
			next := m
			if len(out) > 0 {
				next = out[len(out)-1].monday.AddDays(7)
			}
			out = append(out, week{monday: next})
		}
		out[len(out)-1].nights[n.Day.Sub(m)] = n
	}
	return out
}

func (t Timeline) within(d rotation.Day) bool {
	n := d.Sub(t.Scenario.Start)
	return n >= 0 && n < t.Scenario.Days
}

// part is the timeline cut to one week, for measuring.
func (t Timeline) part(from rotation.Day) Timeline {
	a := max(from.Sub(t.Scenario.Start)*day, t.from)
	b := min(from.Sub(t.Scenario.Start)*day+7*day, t.to)
	cut := Timeline{Scenario: t.Scenario, from: a, to: b, seen: t.seen}
	for _, s := range t.spans {
		if s.to > a && s.from < b {
			cut.spans = append(cut.spans, span{max(s.from, a), min(s.to, b), s.units})
		}
	}
	return cut
}

// shortNames makes codes such as B1 of names such as BLUE-1, unless two would be the same.
func shortNames(names []string) []string {
	out := make([]string, len(names))
	seen := map[string]bool{}
	for i, n := range names {
		word, number, ok := strings.Cut(n, "-")
		first, _ := utf8.DecodeRuneInString(word)
		code := string(unicode.ToUpper(first)) + number
		if !ok || word == "" || seen[code] {
			return names
		}
		seen[code] = true
		out[i] = code
	}
	return out
}
