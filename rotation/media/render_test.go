package media_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

// fourWeeks has everything that a page can show: tiers, a missed night, an unreadable copy, a closed day.
func fourWeeks(t *testing.T) media.Timeline {
	set, err := media.GFS(media.Tiers{Daily: 4, Weekly: 4, Monthly: 12}, media.ByCalendar)
	require.NoError(t, err)
	return play(t, media.Scenario{Set: set, Routine: media.EarlyFriday(), Start: start, Days: 28,
		Hours:   closed(day(t, "2026-10-26")),
		Keepers: []media.Keeper{{Name: "Ann"}, {Name: `<script>alert("Ben")</script>`}},
		Faults:  []media.Fault{{Kind: media.MissedNight, Day: day(t, "2026-10-13")}, {Kind: media.BadCopy, Day: day(t, "2026-10-15")}}})
}

func TestText(t *testing.T) {
	require.Equal(t, strings.TrimPrefix(`
           Mo   Tu   We   Th   Fr   | worst loss, surgery hours: fire   all attached encrypted
2026-W41   B1   B2   B3   B4   G1   |                            18.5                     10.0
2026-W42   B1   !!   B3   B4?  G2   |                            25.5                     17.0
2026-W43   B1   B2   B3   B4   G3   |                            18.5                     10.0
2026-W44   -    B2   B3   B4   R10  |                            18.5                     10.0
Tue 13 Oct  BLUE-2: the backup did not run
Thu 15 Oct  BLUE-4: it could not be read back
`, "\n"), regexp.MustCompile(` +\n`).ReplaceAllString(media.Text(fourWeeks(t)), "\n"))
	require.Contains(t, media.Text(play(t, scenario(t, 2, media.NextDay()))), "ALL for 27 % of the week")
}

func TestSVGIsWellFormedAndSaysNothingByColourAlone(t *testing.T) {
	svg := media.SVG(fourWeeks(t))
	texts := wellFormed(t, string(svg))
	for _, want := range []string{"BLUE-1", "GREEN-2", "RED-10", "!! BLUE-2", "closed", "not read back", "2026-W44"} {
		require.Contains(t, texts, want)
	}
	s := string(svg)
	require.NotContains(t, s, "<script")
	require.NotContains(t, s, "href")
	require.Contains(t, s, `fill="url(#hatch)" fill-opacity`, "the unreadable copy is hatched")
	require.Contains(t, s, `stroke-width="3"/><circle`, "a promoted copy that is away: thick outline and circle")
	require.Contains(t, s, "Fri 9 Oct, GREEN-1 weekly: read back, taken away that day by Ann")
	require.Contains(t, s, "&lt;script&gt;", "names are escaped")
}

// wellFormed reads a document as XML and returns its text.
func wellFormed(t *testing.T, doc string) string {
	var text strings.Builder
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		require.NoError(t, err)
		if c, ok := token.(xml.CharData); ok {
			text.Write(c)
			text.WriteByte(' ')
		}
	}
}

func TestHTMLIsOnePageWithoutScript(t *testing.T) {
	page, err := media.HTML(media.Sheet{Timeline: fourWeeks(t), Practice: "Hill & Dale", Contact: "Sam, 03 5550 0123", Printed: today})
	require.NoError(t, err)
	s := string(page)
	for _, want := range []string{"Hill &amp; Dale", "Sam, 03 5550 0123", "5 October to 1 November 2026", "GREEN-1", "No backup: the backup did not run",
		">holiday<", "weekly", "monthly", "20 November 2026", "size: A4", "&lt;script&gt;", "the backup is at 16:00"} {
		require.Contains(t, s, want)
	}
	for _, never := range []string{"<script", "http:", "https:", "@import", "url(", "<link", "<img", "ZgotmplZ"} {
		require.NotContains(t, s, never)
	}
	require.Equal(t, 20, strings.Count(s, `<div class="date">`), "four weeks of five days")
	for _, bad := range []media.Sheet{{}, {Timeline: fourWeeks(t), Weeks: 7}, {Timeline: fourWeeks(t), Weeks: -1}} {
		_, err := media.HTML(bad)
		require.ErrorContains(t, err, "sheet")
	}
}

func TestICSTimes(t *testing.T) {
	location, err := time.LoadLocation("Australia/Sydney")
	require.NoError(t, err)
	s := scenario(t, 2, media.SameDay())
	s.Start, s.Days, s.Keepers = day(t, "2026-10-02"), 4, []media.Keeper{{Name: "Ann"}, {Name: "Ben"}}
	tl := play(t, s)
	c := media.Calendar{Stamp: time.Date(2026, 10, 1, 18, 0, 0, 0, location), Zone: rotation.Zone{Location: location}, ID: "r1"}
	out, err := media.ICS(tl, c)
	require.NoError(t, err)
	for _, want := range []string{"DTSTAMP:20261001T080000Z\r\n", "DTSTART:20261001T223000Z\r\n", "DTSTART:20261002T073000Z\r\n",
		// Daylight saving began on 4 October.
		"DTSTART:20261004T213000Z\r\n", "DTSTART:20261005T063000Z\r\n", "SUMMARY:Ann: bring the backup drive BLUE-1 and plug it in\r\n",
		"SUMMARY:Ben: take the backup drive BLUE-2 home\r\n", "TRIGGER:-PT15M\r\n"} {
		require.Contains(t, string(out), want)
	}
	c.Zone = rotation.Zone{}
	floating, err := media.ICS(tl, c)
	require.NoError(t, err)
	require.Contains(t, string(floating), "DTSTART:20261005T083000\r\n")

	c.Keeper = "Ben"
	ben, err := media.ICS(tl, c)
	require.NoError(t, err)
	require.NotContains(t, string(ben), "Ann")
	require.Contains(t, string(ben), "Ben")

	c.ID = "r2"
	other, err := media.ICS(tl, c)
	require.NoError(t, err)
	uids := regexp.MustCompile(`UID:\S+`)
	require.NotEqual(t, uids.FindString(string(ben)), uids.FindString(string(other)))
	_, err = media.ICS(tl, media.Calendar{})
	require.ErrorContains(t, err, "time at which it was made")
}
