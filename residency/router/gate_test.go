package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/probe"
	"github.com/carekeep/carekeep/residency/router"
)

// law is a decider that goes by the first place of a target.
type law struct {
	mu      sync.Mutex
	verdict map[residency.Place]residency.Verdict
	expires time.Time
	asked   int
}

func (l *law) Decide(q residency.Request) (residency.Decision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if q.Target.Location.Level < residency.Observed && q.Subject.Class == residency.Clinical {
		return residency.Decision{Verdict: residency.Unknown, Missing: []residency.Missing{{Rule: "r", Fact: "where it is"}}}, nil
	}
	d := residency.Decision{Places: q.Target.Location.Places, Ruleset: "r1", Now: q.Now, Expires: l.expires, ExpiresBy: "eu.adequacy.gb"}
	d.Verdict = l.verdict[q.Target.Location.Places[0]]
	d.Rules = d.Verdict
	if q.Override != nil && d.Verdict != residency.Allowed && q.Now.Before(q.Override.Until) {
		d.Override = q.Override
		if q.Override.Write || q.Existing {
			d.Verdict = residency.Allowed
		}
	}
	return d, nil
}

func (l *law) set(p residency.Place, v residency.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verdict[p] = v
}

// diary is evidence in memory.
type diary struct {
	mu    sync.Mutex
	lines []string
}

// note takes what the evidence would take.
func (d *diary) note(_ context.Context, kind evidence.Kind, site string, data any) error {
	if err := evidence.Check(kind, site, data); err != nil {
		return err
	}
	b, err := json.Marshal(data)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, string(kind)+" "+site+" "+string(b))
	return err
}

func (d *diary) count(prefix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// placed gives the sites of a process places, one each.
func placed(sites []router.Site, places ...residency.Place) []router.Site {
	for i := range sites {
		sites[i].Target.Location.Places = []residency.Place{places[i]}
	}
	return sites
}

func TestNothingIsWrittenWhereItMayNotBe(t *testing.T) {
	w := newWorld(t, 2, "a", "b", "c")
	rules := &law{verdict: map[residency.Place]residency.Verdict{"AU-NSW": residency.Allowed, "AU-VIC": residency.Allowed, "US": residency.Denied}}
	notes := &diary{}
	o := w.opts
	o.Evidence = notes.note
	r, err := router.Open(t.Context(), rules, subject, placed(w.process().sites(), "AU-NSW", "AU-VIC", "US"), &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "k", "v"))
	require.Empty(t, users(w.stores["c"]))
	require.Zero(t, records(w.stores["c"], "intent-"))
	require.Zero(t, records(w.stores["a"], "debt/"), "nothing is owed to where nothing may be")
	_, err = r.Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, users(w.stores["c"]), "reconciling does not copy there either")
	st, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, st.Warnings[len(st.Warnings)-1].Text+st.Warnings[0].Text, "2 sites of 3 wanted may lawfully hold the data")
	require.Equal(t, 3, notes.count("decision "))

	// One of the two becomes unlawful in the middle of the run: that is said, with every decision, and nothing is widened.
	rules.set("AU-VIC", residency.Unknown)
	r2, err := router.Open(t.Context(), rules, subject, placed(w.process().sites(), "AU-NSW", "AU-VIC", "US"), &o)
	require.NoError(t, err)
	before := []int{len(w.stores["a"].Keys()), len(w.stores["b"].Keys()), len(w.stores["c"].Keys())}
	err = create(r2, "k2", "v")
	var denied *router.DeniedError
	require.ErrorAs(t, err, &denied)
	require.Equal(t, gcerrors.PermissionDenied, gcerrors.Code(err))
	require.Equal(t, residency.Unknown, denied.Decisions["b"].Verdict)
	require.Equal(t, residency.Denied, denied.Decisions["c"].Verdict)
	require.Len(t, denied.Decisions, 3)
	require.ErrorContains(t, err, "the lawful sites do not give 2 sites (a is allowed, b is unknown, c is denied)")
	require.Equal(t, before, []int{len(w.stores["a"].Keys()), len(w.stores["b"].Keys()), len(w.stores["c"].Keys())}, "nothing was written")
	// It is not read from there either, unless somebody answers for that.
	p := w.process()
	p.cut(true, "a", "c")
	r3, err := router.Open(t.Context(), rules, subject, placed(p.sites(), "AU-NSW", "AU-VIC", "US"), &o)
	require.NoError(t, err)
	_, err = r3.Bucket().ReadAll(t.Context(), "k")
	require.ErrorIs(t, err, router.ErrUnknown)
	keep := residency.Override{ID: "o1", Person: "Dr Ada", Reason: "only copy", From: time.Now(), Until: time.Now().Add(time.Hour)}
	o.Overrides = map[string]residency.Override{"b": keep}
	r4, err := router.Open(t.Context(), rules, subject, placed(p.sites(), "AU-NSW", "AU-VIC", "US"), &o)
	require.NoError(t, err)
	got, err := r4.Bucket().ReadAll(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(got))
	require.Equal(t, 1, notes.count("override b"))
	p.cut(false, "a")
	require.ErrorAs(t, create(r4, "k3", "v"), &denied, "an override to keep is none to write")
}

func TestDecisionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, "a", "b")
		rules := &law{verdict: map[residency.Place]residency.Verdict{"DE": residency.Allowed, "GB": residency.Allowed}, expires: time.Now().Add(10 * time.Minute)}
		r, err := router.Open(t.Context(), rules, subject, placed(w.process().sites(), "DE", "GB"), &w.opts)
		require.NoError(t, err)
		require.NoError(t, create(r, "1", "x"))
		asked := rules.asked
		require.NoError(t, create(r, "2", "x"))
		require.Equal(t, asked, rules.asked, "a decision holds until it ends")
		rules.set("GB", residency.Denied)
		require.NoError(t, create(r, "3", "x"))
		time.Sleep(10 * time.Minute)
		var denied *router.DeniedError
		require.ErrorAs(t, create(r, "4", "x"), &denied)
		// A decision without an end is made again as well: rules begin, too.
		rules.set("GB", residency.Allowed)
		rules.expires = time.Time{}
		time.Sleep(2 * time.Hour)
		require.NoError(t, create(r, "5", "x"))
		rules.set("GB", residency.Denied)
		time.Sleep(2 * time.Hour)
		require.ErrorAs(t, create(r, "6", "x"), &denied)
	})
}

func TestPlacement(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 2, "a", "b", "c", "d")
	rules := &law{verdict: map[residency.Place]residency.Verdict{"AU-NSW": residency.Allowed, "AU-VIC": residency.Allowed}}
	sites := placed(w.process().sites(), "AU-NSW", "AU-NSW", "AU-VIC", "AU-VIC")
	for i := range sites {
		sites[i].Operator = []string{"practice", "acme", "acme", "zeta"}[i]
		sites[i].Onsite = i == 0
		sites[i].Target.Custody.Holder = residency.CustomerHeld
	}
	o := w.opts
	o.Placement = router.Placement{Copies: 2, MustReach: 2, Operators: 2, Subdivisions: 2, Offsite: 1}
	r, err := router.Open(ctx, rules, subject, sites, &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "k", "v"))
	has := func(key string) (out string) {
		for _, n := range w.names {
			if users(w.stores[n])[key] != "" {
				out += n
			}
		}
		return out
	}
	require.Equal(t, "ac", has("k"), "the first two in order would be one place")
	require.NoError(t, r.Bucket().WriteAll(ctx, "k", []byte("w"), nil))
	require.Equal(t, "abcd", has("k"), "what may replace an object goes everywhere")

	sites[2].Target.Custody.Holder = residency.ProviderHeld
	o.Placement.KeysOutside = true
	r, err = router.Open(ctx, rules, subject, sites, &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "keys", "v"))
	require.Equal(t, "ad", has("keys"))
	sites[3].ReadOnly = true
	r, err = router.Open(ctx, rules, subject, sites, &o)
	require.NoError(t, err)
	require.ErrorContains(t, create(r, "none", "v"), "the lawful sites do not give 2 places")
	require.Empty(t, has("none"))

	for _, p := range []router.Placement{{Copies: 5}, {Copies: 2, MustReach: 3}, {Copies: -1}, {Copies: 2, Operators: 3}} {
		o.Placement = p
		_, err = router.Open(ctx, rules, subject, sites, &o)
		require.ErrorIs(t, err, router.ErrSites)
	}
}

func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w := newWorld(t, 1, "a", "b")
		rules := &law{verdict: map[residency.Place]residency.Verdict{"AU": residency.Allowed, "SG": residency.Allowed}}
		notes := &diary{}
		o := w.opts
		o.Evidence = notes.note
		clinical := residency.Subject{Class: residency.Clinical, Origins: []residency.Place{"AU"}}
		sites := placed(w.process().sites(), "AU", "AU")
		at, fails := residency.Place("AU"), false
		for i := range sites {
			sites[i].Target.Location.Provider, sites[i].Target.Location.Region = "aws", "ap-southeast-2"
			sites[i].Probe = func(ctx context.Context, b *blob.Bucket) (probe.Observation, error) {
				if i == 1 && fails {
					return probe.Observation{}, errors.New("403 for patients/meyer")
				}
				place := residency.Place("AU")
				if i == 1 {
					place = at
				}
				return probe.Observation{Location: residency.Location{Provider: "aws", Region: "ap-southeast-2", Places: []residency.Place{place}, Level: residency.Observed, At: time.Now()}}, nil
			}
		}
		r, err := router.Open(ctx, rules, clinical, sites, &o)
		require.NoError(t, err)
		require.NoError(t, create(r, "1", "x"), "declared is not enough here, observed is")
		require.NotEmpty(t, users(w.stores["b"])["1"])
		require.Equal(t, 2, notes.count("probe "))

		// The bucket is found elsewhere, in the middle of a run.
		at = "SG"
		require.NoError(t, create(r, "2", "x"))
		require.NotEmpty(t, users(w.stores["b"])["2"], "it is not asked each time")
		time.Sleep(25 * time.Hour)
		require.NoError(t, create(r, "3", "x"))
		require.Empty(t, users(w.stores["b"])["3"])
		require.Equal(t, 1, notes.count("quarantine b"))
		st, err := r.Status(ctx)
		require.NoError(t, err)
		require.True(t, st.Sites[1].Quarantined)
		require.False(t, st.Sites[1].Writable)

		// Another router hears of it, and reads there only what is nowhere else.
		at = "AU"
		r2, err := router.Open(ctx, rules, clinical, sites, &o)
		require.NoError(t, err)
		require.NoError(t, create(r2, "4", "x"))
		require.Empty(t, users(w.stores["b"])["4"])
		require.NoError(t, r2.Release(ctx, "b", "Dr Ada", evidence.CauseSettled))
		require.NoError(t, create(r2, "5", "x"))
		require.NotEmpty(t, users(w.stores["b"])["5"])
		require.ErrorIs(t, r2.Release(ctx, "b", "", evidence.CauseSettled), router.ErrSites)
		require.ErrorIs(t, r2.Release(ctx, "b", "Dr Ada", "because Anna Meyer called"), router.ErrSites)
		require.ErrorIs(t, r2.Quarantine(ctx, "x", "Dr Ada", evidence.CauseOther), router.ErrSites)

		// A probe that fails makes nothing better than it was declared.
		fails = true
		r3, err := router.Open(ctx, rules, clinical, sites, &o)
		require.NoError(t, err)
		require.NoError(t, create(r3, "6", "x"))
		require.Empty(t, users(w.stores["b"])["6"])
		for _, l := range notes.lines {
			require.NotContains(t, l, "meyer")
		}
	})
}

func TestWarnings(t *testing.T) {
	w := newWorld(t, 1, "a", "b")
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rules := &law{verdict: map[residency.Place]residency.Verdict{"DE": residency.Allowed, "GB": residency.Allowed}, expires: now.AddDate(0, 0, 20)}
	sites := placed(w.process().sites(), "DE", "GB")
	sites[1].Target.Papers = []residency.Paper{
		{Kind: "c5-type2", Until: residency.Day{Year: 2027, Month: 2, Day: 1}},
		{Kind: "dpf-listing", Until: residency.Day{Year: 2030, Month: 1, Day: 1}},
		{Kind: "old", Until: residency.Day{Year: 2026, Month: 11, Day: 1}},
	}
	o := w.opts
	o.Now = func() time.Time { return now }
	r, err := router.Open(t.Context(), rules, subject, sites, &o)
	require.NoError(t, err)
	var got []string
	for _, x := range r.Warnings(now) {
		got = append(got, x.Severity+" "+x.Site+" "+x.Text)
	}
	require.Equal(t, []string{
		"urgent b the paper old has ended",
		"urgent a the decision that rests on eu.adequacy.gb ends",
		"urgent b the decision that rests on eu.adequacy.gb ends",
		"warning b the paper c5-type2 ends",
	}, got)
	require.Len(t, r.Warnings(now.AddDate(-1, 0, 0)), 0)
	require.Len(t, r.Warnings(time.Date(2029, 12, 1, 0, 0, 0, 0, time.UTC)), 5)
}

func TestWhoseSites(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 2, "a", "b", "c")
	r := w.open()
	require.NoError(t, create(r, "k", "v"))
	sites := w.process().sites()

	other := subject
	other.Class = residency.Business
	_, err := router.Open(ctx, allow{}, other, sites, &w.opts)
	require.ErrorIs(t, err, router.ErrOtherSubject)
	other = subject
	other.Tags = []residency.Tag{"MHR"}
	_, err = router.Open(ctx, allow{}, other, sites, &w.opts)
	require.ErrorIs(t, err, router.ErrOtherSubject)
	// A prefix of the same buckets is another matter.
	var inner []router.Site
	for _, s := range sites {
		inner = append(inner, router.Site{Name: s.Name, Bucket: blob.PrefixedBucket(s.Bucket, "accounts/")})
	}
	_, err = router.Open(ctx, allow{}, other, inner, &w.opts)
	require.NoError(t, err)

	sites = w.process().sites()
	sites[0].Bucket, sites[1].Bucket = sites[1].Bucket, sites[0].Bucket
	_, err = router.Open(ctx, allow{}, subject, sites, &w.opts)
	require.ErrorIs(t, err, router.ErrOtherSite)
	v := newWorld(t, 2, "a", "b")
	sites = v.process().sites()
	sites[1].Bucket = sites[0].Bucket
	_, err = router.Open(ctx, allow{}, subject, sites, &v.opts)
	require.ErrorIs(t, err, router.ErrOtherSite, "one bucket is not two copies")

	v = newWorld(t, 2, "a", "b")
	v.stores["b"].Set("holiday.jpg", []byte("x"))
	_, err = v.process().open()
	require.ErrorIs(t, err, router.ErrForeign)
	require.Equal(t, []string{"holiday.jpg"}, v.stores["b"].Keys())
	v = newWorld(t, 2, "a", "b")
	p := v.process()
	p.cut(true, "b")
	_, err = p.open()
	require.ErrorIs(t, err, router.ErrFirst)
	for _, bad := range []string{"", "Upper", "dr/ada", "-x", strings.Repeat("a", 33)} {
		_, err = router.Open(ctx, allow{}, subject, []router.Site{{Name: bad, Bucket: p.buckets["a"]}}, nil)
		require.ErrorIs(t, err, router.ErrSites)
	}
	_, err = router.Open(ctx, nil, subject, p.sites(), nil)
	require.ErrorIs(t, err, router.ErrSites)
}

// TestFilledHome begins with a bucket that is in use.
func TestFilledHome(t *testing.T) {
	w := newWorld(t, 2, "a", "b")
	w.stores["a"].Set("old", []byte("x"))
	r := w.open()
	require.ErrorIs(t, create(r, "new", "y"), router.ErrTooFewSites)
	got, err := r.Bucket().ReadAll(t.Context(), "old")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	_, err = r.Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, create(r, "new", "y"))
	require.NoError(t, w.check(2, map[string]string{"old": "x", "new": "y"}))
}

// TestTheRulesThemselves puts the rules that ship between a practice and a bucket abroad.
func TestTheRulesThemselves(t *testing.T) {
	rules, err := residency.Rules()
	require.NoError(t, err)
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, 1, "a", "b")
	german := residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"DE"}}
	sites := w.process().sites()
	sites[0].Target.Location = residency.Location{Places: []residency.Place{"DE"}}
	listed := residency.Paper{Kind: "dpf-listing", Subject: "the provider", Checked: residency.Day{Year: 2026, Month: 11, Day: 30}}
	sites[1].Target = residency.Target{
		Location: residency.Location{Provider: "aws", Region: "us-east-1", Level: residency.Observed, At: now.Add(-time.Hour)},
		Exposure: residency.Exposure{Operator: "US", Parent: "US"}, Papers: []residency.Paper{listed},
	}
	o := w.opts
	notes := &diary{}
	o.Evidence = notes.note
	o.Now = func() time.Time { return now }
	r, err := router.Open(t.Context(), rules, german, sites, &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "1", "x"))
	require.NotEmpty(t, users(w.stores["b"])["1"], "the listing permits it")

	// The court ends the decision: nothing more goes there, and what is there is not read either.
	ended, err := rules.EndRule("eu-gdpr.adequacy.us-dpf", residency.Day{Year: 2026, Month: 12, Day: 1})
	require.NoError(t, err)
	r, err = router.Open(t.Context(), ended, german, sites, &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "2", "x"))
	require.Empty(t, users(w.stores["b"])["2"])
	p := w.process()
	p.cut(true, "a")
	abroad := p.sites()
	abroad[0].Target, abroad[1].Target = sites[0].Target, sites[1].Target
	r, err = router.Open(t.Context(), ended, german, abroad, &o)
	require.NoError(t, err)
	_, err = r.Bucket().ReadAll(t.Context(), "1")
	require.ErrorIs(t, err, router.ErrUnknown)

	// It is the only copy, and somebody answers for reading it. That allows no more to be added.
	o.Overrides = map[string]residency.Override{"b": {ID: "o-1", Person: "Dr Ada", Reason: "the only copy", From: now.Add(-time.Hour), Until: now.Add(time.Hour)}}
	r, err = router.Open(t.Context(), ended, german, abroad, &o)
	require.NoError(t, err)
	got, err := r.Bucket().ReadAll(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.Equal(t, 1, notes.count("override b"))
	p.cut(false, "a")
	r, err = router.Open(t.Context(), ended, german, abroad, &o)
	require.NoError(t, err)
	require.NoError(t, create(r, "3", "x"))
	require.Empty(t, users(w.stores["b"])["3"])
}
