package media_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

// source deals out fuzzed bytes, and zeros when they are used up.
type source struct{ data []byte }

func (s *source) next() int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b)
}

func (s *source) flag() bool { return s.next()&1 == 1 }

func pick[T any](s *source, from []T) T { return from[s.next()%len(from)] }

var (
	allStates = []media.State{media.New, media.Labelled, media.Scratch, media.Writing, media.Written, media.TransitOut, media.Offsite,
		media.Recalled, media.TransitBack, media.Quarantined, media.Missing, media.Retired, media.Sanitising, media.Destroyed}
	allEvents = []media.EventKind{media.LabelWritten, media.Freed, media.WriteBegan, media.WriteEnded, media.WriteFailed, media.Left,
		media.Arrived, media.CalledBack, media.Returning, media.Returned, media.ReadTested, media.SetAside, media.Cleared, media.Lost,
		media.Found, media.TakenOut, media.Sanitise, media.Gone, "sold"}
	allFindings = []media.Finding{media.Known, media.Unlabelled, media.Wiped, media.Forged, media.Foreign, media.Cloned, media.Swapped,
		media.Stale, ""}
)

// The state machine once more, written as what each state allows; the package has it by event.
var allowed = map[media.State]map[media.EventKind][]media.State{
	media.New: {media.LabelWritten: {media.Labelled}, media.TakenOut: {media.Retired}},
	media.Labelled: {media.Freed: {media.Scratch}, media.WriteBegan: {media.Writing}, media.ReadTested: {media.Labelled, media.Quarantined},
		media.SetAside: {media.Quarantined}, media.Lost: {media.Missing}, media.TakenOut: {media.Retired}},
	media.Scratch: {media.WriteBegan: {media.Writing}, media.ReadTested: {media.Scratch, media.Quarantined}, media.SetAside: {media.Quarantined},
		media.Lost: {media.Missing}, media.TakenOut: {media.Retired}},
	media.Writing: {media.WriteEnded: {media.Written}, media.WriteFailed: {media.Quarantined}},
	media.Written: {media.Freed: {media.Scratch}, media.WriteBegan: {media.Writing}, media.Left: {media.TransitOut},
		media.ReadTested: {media.Written, media.Quarantined}, media.SetAside: {media.Quarantined}, media.Lost: {media.Missing},
		media.TakenOut: {media.Retired}},
	media.TransitOut:  {media.Arrived: {media.Offsite}, media.SetAside: {media.Quarantined}, media.Lost: {media.Missing}},
	media.Offsite:     {media.CalledBack: {media.Recalled}, media.SetAside: {media.Quarantined}, media.Lost: {media.Missing}},
	media.Recalled:    {media.Returning: {media.TransitBack}, media.SetAside: {media.Quarantined}, media.Lost: {media.Missing}},
	media.TransitBack: {media.Returned: {media.Scratch, media.Written}, media.SetAside: {media.Quarantined}, media.Lost: {media.Missing}},
	media.Quarantined: {media.Cleared: {media.Written, media.Labelled, media.New}, media.Lost: {media.Missing}, media.TakenOut: {media.Retired}},
	media.Missing:     {media.Found: {media.Quarantined}, media.TakenOut: {media.Retired}},
	media.Retired:     {media.Sanitise: {media.Sanitising}, media.Lost: {media.Missing}},
	media.Sanitising:  {media.Gone: {media.Destroyed}},
}

func (s *source) day() rotation.Day {
	if s.next()%4 == 0 {
		return rotation.Day{}
	}
	return today.AddDays(s.next() - 128)
}

func (s *source) contents() []media.Content {
	var cs []media.Content
	for range s.next() % 3 {
		c := media.Content{Point: "0a", Day: today.AddDays(-s.next()), Promise: s.day(), Kept: s.flag(), Elsewhere: s.next() % 3, Verified: s.flag()}
		if s.next()%4 == 0 {
			c.Holds = []string{"H-1"}
		}
		cs = append(cs, c)
	}
	return cs
}

func (s *source) guards() media.Guards {
	return media.Guards{Today: s.day(), ClockTrusted: s.flag(), MinDays: s.next() % 20, MinWrites: s.next() % 8, Writes: s.next(),
		MaxWrites: s.next() % 50, Evidence: media.Grade(s.next() % 5)}
}

// precious reports whether a content must outlive whatever happens, judged apart from the package.
func precious(c media.Content, g media.Guards) bool {
	running := !c.Promise.IsZero() && (!g.ClockTrusted || g.Today.IsZero() || c.Promise.Compare(g.Today) >= 0)
	return len(c.Holds) > 0 || running || c.Kept && c.Elsewhere == 0
}

func FuzzCustody(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("a medium is labelled, written, carried away and brought back, and so on for some years"))
	f.Add(slices.Repeat([]byte{1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233}, 40))
	f.Fuzz(func(t *testing.T, data []byte) { custody(t, data, map[media.EventKind]int{}) })
}

// random is bytes that are the same on every run.
func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestCustodyAgreesWithTheModel(t *testing.T) {
	accepted := map[media.EventKind]int{}
	for seed := range uint64(1500) {
		custody(t, random(seed, 300), accepted)
	}
	for _, k := range allEvents[:len(allEvents)-1] {
		require.Positive(t, accepted[k], "%s is never accepted: the test does not get there", k)
	}
	require.Zero(t, accepted["sold"])
}

// custody plays events on one medium and holds each against the model.
func custody(t *testing.T, data []byte, accepted map[media.EventKind]int) {
	s := &source{data}
	m := media.Medium{Name: "M", State: pick(s, allStates), Contents: s.contents(), Site: pick(s, []string{media.Practice, "", "home"}),
		Identity: media.Identity{Serial: "S", Nonce: media.Nonce{byte(s.next())}}, WriteNo: s.next(), Written: s.day()}
	for len(s.data) > 0 {
		g := s.guards()
		e := media.Event{Kind: pick(s, allEvents), Medium: pick(s, []string{"M", "M", "M", "N"}), Day: today, Who: pick(s, []string{"Ann", "Ann", ""}),
			Witness: pick(s, []string{"Ben", "Ann", ""}), To: pick(s, []string{"home", media.Practice, ""}), Evidence: media.Grade(s.next() % 5),
			Nonce: media.Nonce{byte(s.next() % 2)}, Finding: pick(s, append(slices.Repeat([]media.Finding{media.Known}, 20), allFindings...)), Good: s.flag(), Order: pick(s, []string{"", "restore"})}
		if s.flag() && len(allowed[m.State]) > 0 { // random events seldom fit the state
			e.Kind = pick(s, slices.Sorted(maps.Keys(allowed[m.State])))
		}
		if s.flag() {
			e.Contents = s.contents()
		}
		if s.flag() {
			e.Proof = &media.Certificate{Day: today, Medium: m.Identity, Level: media.Purge, Technique: "overwrite", Tool: "t", Verified: "v",
				By: "Ann", Witness: pick(s, []string{"Ben", "Ann"})}
		}
		before := m
		before.Contents, before.Reads = slices.Clone(m.Contents), slices.Clone(m.Reads)
		n, err := media.Apply(m, e, g)
		require.True(t, reflect.DeepEqual(before, m), "the medium given is not changed")
		if err != nil {
			require.ErrorIs(t, err, media.ErrNotAllowed)
			require.True(t, reflect.DeepEqual(m, n), "a refusal changes nothing")
			continue
		}
		require.Contains(t, allowed[m.State][e.Kind], n.State, "%s of a medium that is %s", e.Kind, m.State)
		require.Equal(t, "M", e.Medium)
		require.NotEmpty(t, e.Who)
		// What is precious is destroyed by nothing.
		if e.Kind == media.WriteBegan || e.Kind == media.Sanitise || e.Kind == media.Gone || e.Kind == media.Freed {
			for _, c := range m.Contents {
				require.False(t, precious(c, g), "%s destroys %+v under %+v", e.Kind, c, g)
			}
		} else if e.Kind != media.WriteEnded {
			require.Len(t, n.Contents, len(m.Contents))
		}
		if e.Kind == media.WriteBegan {
			require.Equal(t, media.Known, e.Finding)
			require.Empty(t, n.Contents)
			if m.WriteNo > 0 || !m.Written.IsZero() {
				require.GreaterOrEqual(t, g.Writes-m.WriteNo, g.MinWrites)
				if g.MinDays > 0 {
					require.True(t, g.ClockTrusted)
					require.GreaterOrEqual(t, g.Today.Sub(m.Written), g.MinDays)
				}
			}
		}
		if n.State == media.Destroyed {
			require.NotEqual(t, e.Proof.By, e.Proof.Witness)
		}
		if n.State == media.Scratch && e.Kind == media.Returned {
			for _, c := range m.Contents {
				require.False(t, precious(c, g))
			}
		}
		accepted[e.Kind]++
		m = n
	}
}

func FuzzInserted(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("somebody at the desk plugs in whatever drive lies there and reads the screen"))
	f.Add(slices.Repeat([]byte{4, 1, 0, 255, 3, 7, 2, 9}, 30))
	f.Fuzz(func(t *testing.T, data []byte) { inserted(t, data) })
}

func TestInsertedNeverWritesOverAnythingPrecious(t *testing.T) {
	said := map[media.Action]int{}
	for seed := range uint64(8000) {
		said[inserted(t, random(seed, 150))]++
	}
	require.Greater(t, said[media.Write], 100, "the test gets there: %v", said)
	require.Greater(t, said[media.Say], 100)
}

// inserted plugs in something and holds the verdict against what must never be.
func inserted(t *testing.T, data []byte) media.Action {
	s := &source{data}
	var register []media.Medium
	slots := []media.Slot{{Name: "daily-1", Tier: media.Daily}, {Name: "daily-2", Tier: media.Daily}, {Name: "weekly-1", Tier: media.Weekly}}
	for _, name := range []string{"A", "B", "C", "D"}[:s.next()%5] {
		m := media.Medium{Name: name, State: pick(s, allStates), Contents: s.contents(), Site: pick(s, []string{media.Practice, "", "home"}),
			WriteNo: s.next(), Written: s.day()}
		if slot := s.next() % 4; slot < 3 {
			m.Slot, m.Tier = slots[slot].Name, slots[slot].Tier
		}
		register = append(register, m)
	}
	g := s.guards()
	name, found, want := pick(s, []string{"A", "B", "C", "D", ""}), pick(s, allFindings), pick(s, slots)
	if s.next() < 200 { // most of what is plugged in is what it should be, in good order
		found, g.Writes = media.Known, g.Writes+256
		for i := range register {
			if s.flag() {
				register[i].State = pick(s, []media.State{media.Written, media.Scratch, media.Offsite})
			}
		}
	}
	v := media.Inserted(name, found, want, register, g)
	require.NotEmpty(t, v.Sentence)
	require.True(t, strings.HasSuffix(v.Sentence, "."), v.Sentence)
	if v.Action == media.Write {
		require.Equal(t, media.Known, found)
		i := slices.IndexFunc(register, func(m media.Medium) bool { return m.Name == name })
		require.GreaterOrEqual(t, i, 0)
		m := register[i]
		for _, c := range m.Contents {
			require.Empty(t, c.Holds, "never over a hold")
			require.False(t, precious(c, g), "never over a promise or an only copy")
		}
		require.NotContains(t, []media.State{media.Quarantined, media.Missing, media.Retired, media.Sanitising, media.Destroyed, media.New,
			media.Writing}, m.State)
		require.Contains(t, []string{want.Name, ""}, map[bool]string{true: "", false: m.Slot}[m.Tier == want.Tier], "never across tiers")
	} else {
		require.Contains(t, v.Sentence, map[media.Action]string{media.Say: "Nothing was written.", media.Read: "Nothing will be written"}[v.Action])
	}
	if v.Fetch != "" {
		require.NotEqual(t, name, v.Fetch)
		m := register[slices.IndexFunc(register, func(m media.Medium) bool { return m.Name == v.Fetch })]
		require.Empty(t, media.Overwritable(m, g), "nobody is sent for a medium that may not be written")
	}
	if a, err := media.Allocate(want, register, g); err == nil {
		m := register[slices.IndexFunc(register, func(m media.Medium) bool { return m.Name == a.Medium })]
		require.Empty(t, media.Overwritable(m, g))
		require.Len(t, a.Rejected, len(register)-1)
		for _, c := range m.Contents {
			require.False(t, precious(c, g))
		}
	}
	return v.Action
}

// FuzzICS reads what was written back by the rules of RFC 5545.
func FuzzICS(f *testing.F) {
	f.Add("BLUE-1", "Ann", "Practice")
	f.Add(`a;b,c\d`, "Dr Müller-Lüdenscheidt, née \"Ångström\"; GP\r\nBEGIN:VEVENT", strings.Repeat("長い名前", 40))
	f.Add("\x00\xff", "\u2028", "\t")
	f.Fuzz(func(t *testing.T, medium, keeper, name string) {
		if medium == "" || keeper == "" || medium == "other" {
			return
		}
		set, err := media.RoundRobin(2, media.ByCalendar)
		require.NoError(t, err)
		tl, err := media.Simulate(media.Scenario{Set: set, Routine: media.SameDay(), Start: start, Days: 4, Names: []string{medium, "other"},
			Keepers: []media.Keeper{{Name: keeper}}})
		require.NoError(t, err)
		out, err := media.ICS(tl, media.Calendar{Stamp: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), Name: name, ID: name})
		require.NoError(t, err)
		text := string(out)
		require.True(t, utf8.ValidString(text))
		require.True(t, strings.HasSuffix(text, "\r\n"))
		physical := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
		for _, l := range physical {
			require.LessOrEqual(t, len(l), 75)
			require.False(t, strings.ContainsAny(l, "\r\n"))
			require.True(t, utf8.ValidString(l), "no character is cut")
		}
		var summaries, uids []string
		calendar := ""
		open := 0
		for _, l := range strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n ", ""), "\r\n"), "\r\n") {
			key, value, ok := strings.Cut(l, ":")
			require.True(t, ok)
			for _, r := range value {
				require.True(t, r == '\t' || !unicode.IsControl(r))
			}
			switch key {
			case "BEGIN":
				open++
			case "END":
				open--
			case "SUMMARY":
				summaries = append(summaries, unescape(t, value))
			case "UID":
				uids = append(uids, value)
			case "X-WR-CALNAME":
				calendar = unescape(t, value)
			case "VERSION", "PRODID", "CALSCALE", "DTSTAMP", "DTSTART", "DURATION", "TRANSP", "ACTION", "DESCRIPTION", "TRIGGER":
			default:
				t.Fatalf("a line that no one wrote: %q", l)
			}
		}
		require.Zero(t, open)
		require.Len(t, uids, len(tl.Moves))
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(uids))), len(uids), "UIDs are unique")
		for i, m := range tl.Moves {
			require.Contains(t, summaries[i], plain(m.Medium))
			require.Contains(t, summaries[i], plain(m.Keeper))
		}
		if name != "" {
			require.Equal(t, plain(name), calendar)
		}
		again, err := media.ICS(tl, media.Calendar{Stamp: time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC), ID: name})
		require.NoError(t, err)
		for _, u := range uids {
			require.Contains(t, strings.ReplaceAll(string(again), "\r\n ", ""), u, "a UID is stable")
		}
	})
}

func unescape(t *testing.T, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		require.NotContains(t, ";,", s[i:i+1], "it separates values unless it is escaped")
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if s[i] == 'n' {
				b.WriteByte('\n')
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// plain is what a text can be in a calendar: control characters are spaces.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
}
