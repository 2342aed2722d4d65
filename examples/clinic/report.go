package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/internal/practice"
)

// shown is how many names a list of problems gives.
const shown = 10

// report writes plain lines for people.
type report struct{ w io.Writer }

func (r *report) step(title string, took time.Duration, told string) {
	fmt.Fprintf(r.w, "%-34s %6.2f s   %s\n", title, took.Seconds(), told)
}

func (r *report) practice(s *practice.Summary) string {
	n := func(k practice.Kind) string { return number(s.Kinds[k].Files) }
	return fmt.Sprintf("%s patients, %s scanned documents, %s letters, %s images, %s messages: %s",
		number(s.Patients), n(practice.Scans), n(practice.Letters), n(practice.Images), n(practice.HL7), size(s.Total.Bytes))
}

func (r *report) day(s *practice.DaySummary) string {
	added, changed := 0, 0
	for _, n := range s.Added {
		added += n.Files
	}
	for _, n := range s.Changed {
		changed += n.Files
	}
	return fmt.Sprintf("%s new files, %s changed, %s renamed, %s removed: %s new or changed",
		number(added), number(changed), number(s.Renamed), number(s.Removed), size(s.BytesChanged))
}

// summary is the end of a run that took every step.
func (r *report) summary(c *clinic, took time.Duration) {
	fmt.Fprintln(r.w)
	row := func(what, value string) { fmt.Fprintf(r.w, "%-48s %s\n", what, value) }
	row("Stored for the first day:", size(c.stored[first])+" for a practice of "+size(c.made.Total.Bytes))
	row("Stored for the second day:", size(c.stored[second])+" for "+size(c.lived.BytesChanged)+" new or changed")
	for d := range days {
		v := &c.verdicts[d]
		row("Restored copy of "+d.String()+" is identical:", yes(v.identical()))
		r.list(v)
	}
	row("All that is stored is sound:", yes(c.sound))
	for _, why := range c.reasons() {
		row("Why no copy is in Oregon:", why)
	}
	if c.hurt {
		row("The damage was noticed:", yes(c.noticed()))
	}
	if c.month != nil {
		r.month(c.month, row)
		row("The sites hold the same, the new office too:", yes(c.alike))
	}
	row("Everything together took:", fmt.Sprintf("%.1f s", took.Seconds()))
}

// month is the end of the nights.
func (r *report) month(m *month, row func(what, value string)) {
	row("Nights that are kept:", fmt.Sprintf("%d of %d: %s; one may count twice", len(m.was), m.snapshots, m.tiers()))
	row("Every kept night comes back identical:", yes(m.different == 0 && m.restored == len(m.was)))
	row("Stored for all nights, and held at the end:", size(m.stored)+", "+size(m.held))
	kept := m.oldest()
	row("Why "+kept.Day.String()+" is kept:", because(kept))
	if m.forgotten > 0 {
		row("Why "+m.gone.Day.String()+" is not:", because(m.gone))
	}
}

// list shows the user what differs.
func (r *report) list(v *verdict) {
	for i, d := range v.differences {
		if i == shown {
			fmt.Fprintf(r.w, "    and %s more\n", number(len(v.differences)-shown))
			break
		}
		fmt.Fprintf(r.w, "    %q: %s\n", d.path, d.what)
	}
	if v.unusable != nil {
		fmt.Fprintf(r.w, "    the practice cannot use it: %v\n", v.unusable)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

func files(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return number(n) + " files"
}

func nights(n int) string {
	if n == 1 {
		return "1 night"
	}
	return number(n) + " nights"
}

// number writes 1234567 as 1,234,567.
func number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, digit := range s {
		if i > 0 && s[i-1] != '-' && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// size writes bytes in kB, MB or GB, of which a thousand make the next.
func size(n int64) string {
	switch f := float64(n); {
	case n < 1_000:
		return number(n) + " bytes"
	case n < 1_000_000:
		return fmt.Sprintf("%.0f kB", f/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.2f GB", f/1e9)
	}
}

// meter shows a bar while a step is taken, if the user looks at a terminal. It may be called by several
// goroutines.
type meter struct {
	w    io.Writer // nil: nobody looks
	size int64     // bytes of the practice: what a step goes through that does not know better

	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	held bool // the bar shows steps of its own, not what operations tell
}

func newMeter(w io.Writer, size int64) *meter {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &meter{w: w, size: size}
	}
	return &meter{}
}

func (m *meter) begin(title string) {
	if m.w == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bar = progressbar.NewOptions64(m.size, progressbar.OptionSetWriter(m.w), progressbar.OptionSetDescription(fmt.Sprintf("%-34s", title)),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetRenderBlankState(true))
}

// set says that done bytes of all are done; all is 0 when it is not known.
func (m *meter) set(done, all int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar == nil {
		return
	}
	if all <= 0 {
		all = m.size
	}
	// Both are estimates. A bar that reaches its end says that the step is over, so only end may.
	all = max(all, done+1)
	if all != m.bar.GetMax64() {
		m.bar.ChangeMax64(all)
	}
	_ = m.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Finish()
		m.bar = nil
	}
}

// event follows an operation of the repository.
func (m *meter) event(p backup.Progress) {
	m.mu.Lock()
	held := m.held
	m.mu.Unlock()
	if !held {
		m.set(p.Bytes, p.BytesAll)
	}
}

// hold keeps operations from moving the bar, which share moves.
func (m *meter) hold(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = on
}

// share says that so many parts of all are done.
func (m *meter) share(done, all int) { m.set(int64(done)*1000, int64(all)*1000) }

// bytes follows a step that tells how much it has just done.
func (m *meter) bytes() func(int64) {
	var done int64
	return func(n int64) {
		done += n
		m.set(done, 0)
	}
}

// practice follows the making of a practice, which tells a running total of each kind.
func (m *meter) practice() func(practice.Kind, practice.Count) {
	totals := map[practice.Kind]int64{}
	return func(k practice.Kind, c practice.Count) {
		totals[k] = c.Bytes
		done := int64(0)
		for _, n := range totals {
			done += n
		}
		m.set(done, 0)
	}
}
