package media

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/carekeep/carekeep/rotation"
)

// Calendar says what [ICS] writes.
type Calendar struct {
	// Stamp is DTSTAMP, when the calendar was made. It is required: nothing here reads a clock.
	Stamp time.Time
	// Zone turns the practice's civil times into instants. Without a location they stay floating: the same
	// wall time wherever the calendar is shown.
	Zone rotation.Zone
	// ID sets this practice's events apart from those of others, such as its repository's id.
	ID     string
	Name   string // shown by calendar programs; default "Backup drives"
	Keeper string // only what this member of staff does; empty: everyone
}

// ICS writes the swap reminders of a timeline as iCalendar (RFC 5545): bring a medium, take one home, each
// with an alarm a quarter of an hour before. The UID of a reminder depends on the ID, the medium, the day and
// the direction only, so importing a newer calendar replaces the reminders and does not double them.
func ICS(t Timeline, c Calendar) ([]byte, error) {
	if c.Stamp.IsZero() {
		return nil, errors.New("calendar: it needs the time at which it was made")
	}
	const utc = "20060102T150405Z"
	var w ics
	w.line("BEGIN", "VCALENDAR")
	w.line("VERSION", "2.0")
	w.line("PRODID", "-//Carekeep//rotation media//EN")
	w.line("CALSCALE", "GREGORIAN")
	w.text("X-WR-CALNAME", cmp.Or(c.Name, "Backup drives"))
	for _, m := range t.Moves {
		if c.Keeper != "" && m.Keeper != c.Keeper {
			continue
		}
		verb, summary := "in", fmt.Sprintf("%s: bring the backup drive %s and plug it in", m.Keeper, m.Medium)
		if m.Out {
			verb, summary = "out", fmt.Sprintf("%s: take the backup drive %s home", m.Keeper, m.Medium)
		}
		w.line("BEGIN", "VEVENT")
		w.line("UID", uid(c.ID, m.Medium, m.At.Day.String(), verb))
		w.line("DTSTAMP", c.Stamp.UTC().Format(utc))
		if c.Zone.Location != nil {
			start, _ := c.Zone.Instant(m.At.Day, m.At.Clock)
			w.line("DTSTART", start.UTC().Format(utc))
		} else {
			w.line("DTSTART", fmt.Sprintf("%04d%02d%02dT%02d%02d00", m.At.Day.Year, int(m.At.Day.Month), m.At.Day.Day,
				m.At.Clock.Hour, m.At.Clock.Minute))
		}
		w.line("DURATION", "PT10M")
		w.text("SUMMARY", summary)
		w.line("TRANSP", "TRANSPARENT")
		w.line("BEGIN", "VALARM")
		w.line("ACTION", "DISPLAY")
		w.text("DESCRIPTION", summary)
		w.line("TRIGGER", "-PT15M")
		w.line("END", "VALARM")
		w.line("END", "VEVENT")
	}
	w.line("END", "VCALENDAR")
	return w.Bytes(), nil
}

func uid(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]) + "@carekeep"
}

type ics struct{ bytes.Buffer }

// line writes a content line, folded after at most 75 octets and never within a character (RFC 5545, 3.1).
func (w *ics) line(name, value string) {
	const limit = 75
	s := name + ":" + value
	for room := limit; len(s) > room; room = limit - 1 { // the space that begins a continuation counts
		n := room
		for !utf8.RuneStart(s[n]) {
			n--
		}
		w.WriteString(s[:n] + "\r\n ")
		s = s[n:]
	}
	w.WriteString(s + "\r\n")
}

// text writes a value of type TEXT (RFC 5545, 3.3.11). Control characters other than a line break and a
// tab cannot stand in one; each becomes a space.
func (w *ics) text(name, value string) {
	value = strings.ReplaceAll(strings.ToValidUTF8(value, "\uFFFD"), "\r\n", "\n")
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == '\\' || r == ';' || r == ',':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsControl(r) && r != '\t':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	w.line(name, b.String())
}
