package media_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/media"
)

var today = rotation.Day{Year: 2026, Month: 11, Day: 20}

// trusting is what a host knows on an ordinary day.
func trusting() media.Guards {
	return media.Guards{Today: today, ClockTrusted: true, Writes: 100}
}

func drive(name, slot string, tier media.Tier) media.Medium {
	return media.Medium{Name: name, Slot: slot, Tier: tier, Class: media.HardDisk, State: media.Written, Site: media.Practice,
		Identity: media.Identity{Serial: "SN-" + name, Volume: "V-" + name, Nonce: media.Nonce{1}}, Evidence: media.Scanned,
		Written: today.AddDays(-10), WriteNo: 90,
		Contents: []media.Content{{Point: "0a", Day: today.AddDays(-10), Verified: true}}}
}

func TestTheLifeOfADrive(t *testing.T) {
	m := media.Medium{Name: "BLUE-1", State: media.New, Class: media.HardDisk, Identity: media.Identity{Serial: "SN1"}}
	g := trusting()
	var log media.Log
	do := func(e media.Event) {
		t.Helper()
		e.Medium, e.Day, e.Evidence = m.Name, g.Today, max(e.Evidence, media.Scanned)
		if e.Who == "" {
			e.Who = "Ann"
		}
		next, err := media.Apply(m, e, g)
		require.NoError(t, err)
		log, err = log.Append(e)
		require.NoError(t, err)
		m = next
	}
	refused := func(want string, e media.Event) {
		t.Helper()
		e.Medium, e.Day = m.Name, g.Today
		if e.Who == "" {
			e.Who = "Ann"
		}
		next, err := media.Apply(m, e, g)
		require.ErrorIs(t, err, media.ErrNotAllowed)
		require.ErrorContains(t, err, want)
		require.Equal(t, m, next)
	}
	refused("no nonce", media.Event{Kind: media.LabelWritten})
	refused("it is new", media.Event{Kind: media.WriteBegan, Finding: media.Known})
	do(media.Event{Kind: media.LabelWritten, Nonce: media.Nonce{7}})
	refused("not looked at", media.Event{Kind: media.WriteBegan})
	refused("(cloned)", media.Event{Kind: media.WriteBegan, Finding: media.Cloned})
	do(media.Event{Kind: media.WriteBegan, Finding: media.Known})
	require.Equal(t, media.Writing, m.State)
	refused("no recovery point", media.Event{Kind: media.WriteEnded})
	do(media.Event{Kind: media.WriteEnded, Bytes: 5e9, Contents: []media.Content{{Point: "0b", Day: g.Today, Promise: g.Today.AddDays(30),
		Verified: true, What: "the month-end of November"}}})
	g.Writes++
	do(media.Event{Kind: media.Left, Who: "Ann"})
	refused("is the practice itself", media.Event{Kind: media.Arrived, To: media.Practice})
	do(media.Event{Kind: media.Arrived, To: "home of Ann", Evidence: media.Received})
	require.Equal(t, media.Offsite, m.State)
	require.Equal(t, media.Received, m.Evidence)

	// Nothing newer is away: it stays where it is, unless it is ordered for a restore.
	refused("no newer verified copy", media.Event{Kind: media.CalledBack})
	peer := drive("BLUE-2", "daily-2", media.Daily)
	peer.State, peer.Contents[0].Day, peer.Evidence = media.Offsite, g.Today.AddDays(1), media.Claimed
	g.Peers, g.Evidence = []media.Medium{m, peer}, media.Scanned
	refused("scanned or better", media.Event{Kind: media.CalledBack})
	g.Peers[1].Evidence, g.Peers[1].Contents[0].Day = media.Scanned, g.Today
	refused("no newer", media.Event{Kind: media.CalledBack})
	g.Peers[1].Contents[0].Day = g.Today.AddDays(1)
	do(media.Event{Kind: media.CalledBack})
	do(media.Event{Kind: media.Returning})
	do(media.Event{Kind: media.Returned})
	require.Equal(t, media.Written, m.State, "it still holds what is promised")
	refused("until 20 Dec", media.Event{Kind: media.WriteBegan, Finding: media.Known})
	do(media.Event{Kind: media.ReadTested, Good: true, Bytes: 5e9})
	g.Today = g.Today.AddDays(31)
	g.Writes += 20
	do(media.Event{Kind: media.Freed})
	require.Equal(t, media.Scratch, m.State)

	do(media.Event{Kind: media.Lost})
	require.Len(t, media.Tasks([]media.Medium{m}), 3)
	do(media.Event{Kind: media.Found})
	refused("second person", media.Event{Kind: media.Cleared, Good: true, Witness: "Ann"})
	do(media.Event{Kind: media.TakenOut})
	do(media.Event{Kind: media.Sanitise})
	refused("no certificate", media.Event{Kind: media.Gone})
	proof := media.Certificate{Day: g.Today, Medium: m.Identity, Level: media.Purge, Technique: media.CryptographicErase, Tool: "tool 1.2",
		Verified: "sampled", By: "Ann", Witness: "Ben"}
	refused("every copy of the key", media.Event{Kind: media.Gone, Proof: &proof})
	proof.Erase = &media.KeyErasure{AlwaysEncrypted: true, EveryCopy: true, HoldsChecked: true, KeyEpoch: "2026"}
	proof.Witness = "Ann"
	refused("two different people", media.Event{Kind: media.Gone, Proof: &proof})
	proof.Witness = "Ben"
	proof.Medium.Serial = "SN2"
	refused("another medium", media.Event{Kind: media.Gone, Proof: &proof})
	proof.Medium.Serial = "SN1"
	do(media.Event{Kind: media.Gone, Proof: &proof})
	require.Equal(t, media.Destroyed, m.State)
	require.Empty(t, m.Contents)
	require.Equal(t, 1, m.Wear.Writes)
	require.EqualValues(t, 5e9, m.Wear.Bytes)

	require.NoError(t, log.Verify(log.Head()))
}

func TestTheCustodyLogShowsEveryChange(t *testing.T) {
	var log media.Log
	events := []media.Event{
		{Kind: media.LabelWritten, Medium: "BLUE-1", Day: today, Who: "Ann", Nonce: media.Nonce{1}},
		{Kind: media.WriteBegan, Medium: "BLUE-1", Day: today, Who: "host", Finding: media.Known, Evidence: media.Observed},
		{Kind: media.WriteEnded, Medium: "BLUE-1", Day: today, Who: "host", Contents: []media.Content{{Point: "0a", Day: today}}},
		{Kind: media.Left, Medium: "BLUE-1", Day: today, Who: "Ann", Evidence: media.Claimed},
	}
	for _, e := range events {
		var err error
		log, err = log.Append(e)
		require.NoError(t, err)
	}
	head := log.Head()
	require.NoError(t, log.Verify(head))
	for i := range log {
		altered := slices.Clone(log)
		altered[i].Event.Who = "Eve"
		require.ErrorIs(t, altered.Verify(media.Hash{}), media.ErrBroken)
		altered = slices.Clone(log)
		altered[i].Prev[0]++
		require.ErrorIs(t, altered.Verify(media.Hash{}), media.ErrBroken)
		altered = slices.Clone(log)
		altered[i].Seq++
		require.ErrorIs(t, altered.Verify(media.Hash{}), media.ErrBroken)
		require.ErrorIs(t, slices.Delete(slices.Clone(log), i, i+1).Verify(head), media.ErrBroken)
		if i > 0 {
			swapped := slices.Clone(log)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			require.ErrorIs(t, swapped.Verify(media.Hash{}), media.ErrBroken)
		}
	}
	require.NoError(t, log[:3].Verify(media.Hash{}), "a cut end shows only against the head kept elsewhere")
	require.ErrorIs(t, log[:3].Verify(head), media.ErrBroken)

	data, err := json.Marshal(log)
	require.NoError(t, err)
	var again media.Log
	require.NoError(t, json.Unmarshal(data, &again))
	require.NoError(t, again.Verify(head))

	register, err := log.Replay([]media.Medium{{Name: "BLUE-1", State: media.New}}, trusting())
	require.NoError(t, err)
	require.Equal(t, media.TransitOut, register[0].State)
	require.Equal(t, 101, register[0].WriteNo)
	_, err = log[1:].Replay([]media.Medium{{Name: "BLUE-1", State: media.New}}, trusting())
	require.ErrorIs(t, err, media.ErrNotAllowed)
	_, err = log.Replay(nil, trusting())
	require.ErrorContains(t, err, "no medium")
}

func TestOverwritable(t *testing.T) {
	codes := func(m media.Medium, g media.Guards) []media.Code {
		var cs []media.Code
		for _, r := range media.Overwritable(m, g) {
			cs = append(cs, r.Code)
		}
		return cs
	}
	m, g := drive("BLUE-1", "daily-1", media.Daily), trusting()
	require.Empty(t, codes(m, g))
	with := func(f func(*media.Medium, *media.Guards)) []media.Code {
		m, g := drive("BLUE-1", "daily-1", media.Daily), trusting()
		f(&m, &g)
		return codes(m, g)
	}
	require.Equal(t, []media.Code{media.CodeTooSoon}, with(func(m *media.Medium, g *media.Guards) { g.MinDays = 11 }))
	require.Empty(t, with(func(m *media.Medium, g *media.Guards) { g.MinDays, g.MinWrites = 10, 10 }))
	require.Equal(t, []media.Code{media.CodeTooFew}, with(func(m *media.Medium, g *media.Guards) { g.MinWrites = 11 }))
	// A clock that runs a year fast helps against the days, and not against the writes.
	require.Equal(t, []media.Code{media.CodeTooFew}, with(func(m *media.Medium, g *media.Guards) {
		g.Today, g.MinDays, g.MinWrites = today.AddYears(1), 30, 11
	}))
	require.Equal(t, []media.Code{media.CodeHold}, with(func(m *media.Medium, g *media.Guards) { m.Contents[0].Holds = []string{"H-7"} }))
	require.Equal(t, []media.Code{media.CodePromise}, with(func(m *media.Medium, g *media.Guards) { m.Contents[0].Promise = today }))
	require.Empty(t, with(func(m *media.Medium, g *media.Guards) { m.Contents[0].Promise = today.AddDays(-1) }))
	require.Equal(t, []media.Code{media.CodeOnlyCopy}, with(func(m *media.Medium, g *media.Guards) { m.Contents[0].Kept = true }))
	require.Empty(t, with(func(m *media.Medium, g *media.Guards) { m.Contents[0].Kept, m.Contents[0].Elsewhere = true, 1 }))
	// A doubtful clock: what was promised stays, what never was may go.
	require.Equal(t, []media.Code{media.CodeClock}, with(func(m *media.Medium, g *media.Guards) {
		m.Contents[0].Promise, g.ClockTrusted = today.AddDays(-400), false
	}))
	require.Empty(t, with(func(m *media.Medium, g *media.Guards) { g.ClockTrusted = false }))
	require.NotEmpty(t, media.Overwritable(media.Medium{Contents: []media.Content{{Promise: today}}}, media.Guards{}))
}

func TestAllocate(t *testing.T) {
	want := media.Slot{Name: "daily-2", Tier: media.Daily}
	register := []media.Medium{drive("BLUE-1", "daily-1", media.Daily), drive("BLUE-2", "daily-2", media.Daily),
		drive("GREEN-1", "weekly-1", media.Weekly), drive("SPARE", "", "")}
	register[3].Contents, register[3].State = nil, media.Labelled
	pick := func(g media.Guards) (media.Allocation, error) { return media.Allocate(want, register, g) }
	a, err := pick(trusting())
	require.NoError(t, err)
	require.Equal(t, "BLUE-2", a.Medium)
	require.False(t, a.Substitute)
	require.Len(t, a.Rejected, 3)

	register[1].Contents[0].Promise = today.AddDays(3)
	a, err = pick(trusting())
	require.NoError(t, err)
	require.Equal(t, "SPARE", a.Medium)
	require.True(t, a.Substitute)
	i := slices.IndexFunc(a.Rejected, func(r media.Rejection) bool { return r.Medium == "BLUE-2" })
	require.Contains(t, a.Rejected[i].Reasons[0].Text, "until 23 Nov")

	register[3].State = media.Quarantined
	a, err = pick(trusting())
	require.NoError(t, err)
	require.Equal(t, "BLUE-1", a.Medium, "of the same tier")

	register[0].Site = "home of Ann"
	_, err = pick(trusting())
	var none *media.NoMediumError
	require.True(t, errors.As(err, &none))
	require.Len(t, none.Rejected, 4, "every medium with its reasons; a weekly one is not taken for a daily slot")
	require.ErrorContains(t, err, "it is at home of Ann")
	_, err = media.Allocate(want, nil, trusting())
	require.ErrorContains(t, err, "none is registered")

	g := trusting()
	g.MaxWrites = 50
	worn := drive("OLD", "daily-2", media.Daily)
	worn.Wear.Writes = 50
	_, err = media.Allocate(want, []media.Medium{worn}, g)
	require.ErrorContains(t, err, "50 is its limit")
	worn.Wear = media.Wear{FirstUsed: rotation.Day{Year: 2020, Month: 11, Day: 20}}
	g.MaxAge = rotation.Span{Years: 5}
	_, err = media.Allocate(want, []media.Medium{worn}, g)
	require.ErrorContains(t, err, "in use since 2020-11-20")
	worn.Wear, worn.Reads = media.Wear{}, []media.ReadTest{{Day: today, Good: false}}
	_, err = media.Allocate(want, []media.Medium{worn}, g)
	require.ErrorContains(t, err, "read test")
}

func TestInserted(t *testing.T) {
	green := drive("GREEN-1", "monthly-10", media.Monthly)
	green.Contents = []media.Content{{Point: "0a", Day: rotation.Day{Year: 2026, Month: 10, Day: 30}, What: "the month-end of October",
		Promise: rotation.Day{Year: 2026, Month: 11, Day: 30}, Verified: true}}
	blue := drive("BLUE-2", "daily-2", media.Daily)
	blue.State, blue.Site = media.Offsite, "home of Ann"
	other := drive("BLUE-1", "daily-1", media.Daily)
	register := []media.Medium{green, blue, other}
	want := media.Slot{Name: "daily-2", Tier: media.Daily}
	for _, c := range []struct {
		name   string
		found  media.Finding
		action media.Action
		says   string
		g      func(*media.Guards)
	}{
		{"GREEN-1", media.Known, media.Say,
			"This is GREEN-1. It holds the month-end of October until 30 Nov. Nothing was written. Please plug in BLUE-2.", nil},
		{"BLUE-2", media.Known, media.Write, "This is BLUE-2. The next backup goes onto it. Please leave it plugged in.", nil},
		{"BLUE-1", media.Known, media.Say, "This is BLUE-1. BLUE-2 is the one for daily-2. Nothing was written. Please plug in BLUE-2.", nil},
		{"GREEN-1", media.Known, media.Read, "This is GREEN-1. It will be read now, as was asked. Nothing will be written to it.",
			func(g *media.Guards) { g.ReadOrders = []string{"GREEN-1"} }},
		{"", media.Unlabelled, media.Say, "This drive is not one of ours: it has no label. Nothing was written. Please plug in BLUE-2.", nil},
		{"BLUE-2", media.Cloned, media.Say, "This says that it is BLUE-2, but it is another drive. Nothing was written. Please plug in BLUE-1. " +
			"Put this one aside and call Sam.", func(g *media.Guards) { g.Contact = "Sam" }},
		{"BLUE-9", media.Known, media.Say, "This drive belongs to somebody else's backup. Nothing was written. Please plug in BLUE-2.", nil},
		{"BLUE-2", media.Known, media.Say, "This is BLUE-2. Only 10 other backups since it was written, and 40 are required. Nothing was written. " +
			"No other drive may be written now: please call your IT support.", func(g *media.Guards) { g.MinWrites = 40 }},
	} {
		g := trusting()
		if c.g != nil {
			c.g(&g)
		}
		v := media.Inserted(c.name, c.found, want, register, g)
		require.Equal(t, c.action, v.Action, c.says)
		require.Equal(t, c.says, v.Sentence)
	}

	// The right drive is lost: another one of the tier will do, and the sentence says so.
	register[1].State = media.Missing
	v := media.Inserted("BLUE-1", media.Known, want, register, trusting())
	require.Equal(t, media.Write, v.Action)
	require.Contains(t, v.Sentence, "stands in")
	// A hold comes before all else, and a promise of another year names it.
	register[0].Contents[0].Promise = rotation.Day{Year: 2033, Month: 11, Day: 1}
	require.Contains(t, media.Inserted("GREEN-1", media.Known, want, register, trusting()).Sentence, "until 1 Nov 2033")
	register[0].Contents[0].Holds = []string{"H-7"}
	require.Contains(t, media.Inserted("GREEN-1", media.Known, want, register, trusting()).Sentence, "under the hold H-7")
}

func key() (ed25519.PublicKey, func([]byte) ([]byte, error)) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), func(b []byte) ([]byte, error) { return ed25519.Sign(private, b), nil }
}

func TestClonesAndSwapsShow(t *testing.T) {
	pub, sign := key()
	label := func(m media.Medium) *media.Label {
		l, err := media.Label{Repository: "repo", Name: m.Name, Serial: m.Identity.Serial, Volume: m.Identity.Volume,
			Nonce: m.Identity.Nonce, Day: today}.Sign(sign)
		require.NoError(t, err)
		require.NoError(t, l.Verify(pub))
		return &l
	}
	one, two := drive("BLUE-1", "", ""), drive("BLUE-2", "", "")
	two.Identity.Nonce = media.Nonce{2}
	register := []media.Medium{one, two}
	older := one
	older.Identity.Nonce = media.Nonce{9}
	forged := *label(one)
	forged.Name = "BLUE-2"
	foreign, err := media.Label{Repository: "other", Name: "BLUE-1", Serial: "X", Nonce: media.Nonce{3}}.Sign(sign)
	require.NoError(t, err)
	for _, c := range []struct {
		s    media.Sighting
		name string
		want media.Finding
	}{
		{media.Sighting{Serial: "SN-BLUE-1", Volume: "V-BLUE-1", Label: label(one)}, "BLUE-1", media.Known},
		{media.Sighting{Serial: "SN-BLUE-1", Volume: "V-BLUE-1"}, "BLUE-1", media.Wiped},
		{media.Sighting{Serial: "SN-NEW"}, "", media.Unlabelled},
		{media.Sighting{}, "", media.Unlabelled},
		{media.Sighting{Serial: "SN-NEW", Volume: "V-BLUE-1", Label: label(one)}, "BLUE-1", media.Cloned},
		{media.Sighting{Serial: "SN-BLUE-1", Volume: "V-NEW", Label: label(one)}, "BLUE-1", media.Cloned},
		{media.Sighting{Serial: "SN-BLUE-2", Volume: "V-BLUE-2", Label: label(one)}, "BLUE-1", media.Swapped},
		{media.Sighting{Serial: "SN-BLUE-1", Volume: "V-BLUE-1", Label: label(older)}, "BLUE-1", media.Stale},
		{media.Sighting{Serial: "SN-NEW", Volume: "V-BLUE-1", Label: label(older)}, "BLUE-1", media.Cloned},
		{media.Sighting{Serial: "SN-BLUE-1", Volume: "V-BLUE-1", Label: &forged}, "BLUE-1", media.Forged},
		{media.Sighting{Serial: "X", Label: &foreign}, "", media.Foreign},
	} {
		name, found := media.Identify(c.s, "repo", register, pub)
		require.Equal(t, c.want, found)
		require.Equal(t, c.name, name, c.want)
	}
}

func TestLabelsAreBoundToEveryField(t *testing.T) {
	pub, sign := key()
	l, err := media.Label{Repository: "repo", Name: "BLUE-1", Serial: "S", Volume: "V", Nonce: media.Nonce{1}, Day: today}.Sign(sign)
	require.NoError(t, err)
	for i, change := range []func(*media.Label){
		func(l *media.Label) { l.Repository = "repp" }, func(l *media.Label) { l.Name = "BLUE-2" }, func(l *media.Label) { l.Serial = "SV" },
		func(l *media.Label) { l.Volume = "" }, func(l *media.Label) { l.Nonce[15]++ }, func(l *media.Label) { l.Day = l.Day.AddDays(1) },
		func(l *media.Label) { l.Serial, l.Volume = "", "SV" }, func(l *media.Label) { l.Signature = nil },
	} {
		altered := l
		change(&altered)
		require.ErrorIs(t, altered.Verify(pub), media.ErrForged, "change %d", i)
	}
	require.ErrorContains(t, l.Verify(pub[:5]), "32 bytes")
	data, err := json.Marshal(l)
	require.NoError(t, err)
	var again media.Label
	require.NoError(t, json.Unmarshal(data, &again))
	require.NoError(t, again.Verify(pub))
	for _, bad := range []media.Label{{}, {Repository: "r", Name: "n"}, {Repository: "r", Name: "n", Serial: "s"}} {
		_, err := bad.Sign(sign)
		require.Error(t, err)
	}
	_, err = l.Sign(func([]byte) ([]byte, error) { return []byte("short"), nil })
	require.ErrorContains(t, err, "not an Ed25519 signature")
	_, err = l.Sign(func([]byte) ([]byte, error) { return nil, errors.New("no key") })
	require.ErrorContains(t, err, "no key")
}

func TestReaders(t *testing.T) {
	year := rotation.Span{Years: 1}
	tape := media.Medium{Name: "T1", Format: "lto-6", State: media.Offsite}
	usb := media.Medium{Name: "B1", Format: "usb", State: media.Written}
	readers := []media.Reader{{Name: "port", Reads: []string{"usb"}, Owned: true, LastTested: today.AddDays(-5)},
		{Name: "old drive", Reads: []string{"lto-6"}, Owned: true, LastTested: today.AddDays(-400)}}
	found := media.CheckReaders([]media.Medium{tape, usb}, readers, today, year)
	require.Len(t, found, 1)
	require.Contains(t, found["T1"][0].Text, "last tested")
	readers[1].LastTested = today
	require.Empty(t, media.CheckReaders([]media.Medium{tape, usb}, readers, today, year))
	readers[1].EndOfSupport = today.AddDays(-1)
	require.Contains(t, media.CheckReaders([]media.Medium{tape}, readers, today, year)["T1"][0].Text, "no support")
	readers[1].Owned = false
	require.Contains(t, media.CheckReaders([]media.Medium{tape}, readers, today, year)["T1"][0].Text, "does not own")
	require.Contains(t, media.CheckReaders([]media.Medium{tape}, nil, today, year)["T1"][0].Text, "no reader")
	for _, c := range []struct {
		drive, tape int
		want        bool
	}{{7, 5, true}, {7, 4, false}, {8, 7, true}, {8, 6, false}, {9, 8, true}, {10, 10, true}, {10, 9, false}, {6, 7, false}, {0, 0, false}, {3, 1, true}} {
		require.Equal(t, c.want, media.LTOReads(c.drive, c.tape), "%+v", c)
	}
}

func TestGradesAndTextForms(t *testing.T) {
	require.Less(t, media.Claimed, media.Scanned)
	require.Less(t, media.Observed, media.Received)
	for g := media.Unknown; g <= media.Received; g++ {
		text, err := g.MarshalText()
		require.NoError(t, err)
		var again media.Grade
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, g, again)
	}
	var g media.Grade
	require.ErrorContains(t, g.UnmarshalText([]byte("sure")), "scanned")
	_, err := media.Grade(9).MarshalText()
	require.Error(t, err)
	data, err := json.Marshal(media.Scenario{Set: must(media.Hanoi(5, media.BySession)), Routine: media.EarlyFriday(), Start: today})
	require.NoError(t, err)
	var s media.Scenario
	require.NoError(t, json.Unmarshal(data, &s))
	require.Equal(t, media.EarlyFriday(), s.Routine)
}
