package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency/evidence"
)

// lawful is a day on which the rules that ship have been read, and need no other look.
var lawful = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// group is a practice in Sydney with three folders: one at home, and two that stand for others' computers.
type group struct {
	*caller
	dir string
	at  time.Time
}

// places is what a test says of a site.
type places struct{ name, in, more string }

// attested is what a test says of a site, with a paper of whoever runs it on where it is.
func (p places) attested() string {
	if !strings.Contains(p.more, `"exposure"`) {
		return p.more
	}
	paper := fmt.Sprintf(`"papers": [{"kind": "location-attestation", "scope": [%q]}`, p.in)
	if strings.Contains(p.more, `"papers": [`) {
		return strings.Replace(p.more, `"papers": [`, paper+", ", 1)
	}
	return p.more + ", " + paper + "]"
}

var three = []places{
	{"office", "AU-NSW", `, "onsite": true`},
	{"sydney", "AU-NSW", `, "operator": "one", "exposure": {"operator": "AU"}`},
	{"melbourne", "AU-VIC", `, "operator": "two", "exposure": {"operator": "AU"}`},
}

func newGroup(t *testing.T, placement string, sites ...places) *group {
	g := &group{caller: &caller{t: t, host: t.TempDir()}, dir: t.TempDir(), at: lawful}
	g.password("secret")
	g.write(placement, sites...)
	return g
}

// write writes the file of sites.
func (g *group) write(placement string, sites ...places) {
	var all []string
	for _, s := range sites {
		all = append(all, fmt.Sprintf(`{"name": %q, "bucket": %q, "location": {"level": "declared", "places": [%q]}, "custody": {"holder": "customer"}%s}`,
			s.name, s.name, s.in, s.attested()))
	}
	text := fmt.Sprintf("{\n\"practice\": \"Hill Street\",\n\"subject\": {\"class\": \"identifiable\", \"origins\": [\"AU-NSW\"]},\n"+
		"\"placement\": %s,\n\"sites\": [%s]}", placement, strings.Join(all, ",\n"))
	require.NoError(g.t, os.WriteFile(filepath.Join(g.dir, "sites.json"), []byte(text), 0o600))
}

func (g *group) path(site string) string { return filepath.Join(g.dir, site) }

func (g *group) run(want int, args ...string) (stdout, stderr string) {
	g.t.Helper()
	var out, errs bytes.Buffer
	args = append(args, "--sites", g.path("sites.json"), "--host-dir", g.host)
	got := runIn(g.t.Context(), world{func() time.Time { return g.at }, quick}, args, strings.NewReader(""), &out, &errs)
	require.Equal(g.t, want, got, "%v\n%s\n%s", args, out.String(), errs.String())
	return out.String(), errs.String()
}

func TestSites(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2, "operators": 2, "offsite": 1}`, three...)
	dir := tree(t)
	g.run(exitComplete, "init")
	out, errs := g.run(exitComplete, "backup", dir)
	require.Contains(t, out, "complete: 2 files")
	require.Empty(t, errs)
	out, _ = g.run(exitComplete, "sites", "status")
	require.Contains(t, out, "office decides, in epoch 1; a write is done when 2 sites have it\n")
	require.Equal(t, 3, strings.Count(out, "  written to "), out)
	require.Contains(t, out, "allowed in AU-VIC, asked again on ")

	// Any one copy is a repository by itself.
	for _, s := range three {
		one := &caller{t: t, repo: g.path(s.name), host: t.TempDir()}
		out, _ = one.run(exitComplete, "check", "--read-all")
		require.Contains(t, out, "checked 1 snapshots")
		require.Contains(t, out, "0 findings")
	}

	// The office burns down. What it knew is with the others; another decides from now on.
	require.NoError(t, os.RemoveAll(g.path("office")))
	_, errs = g.run(exitFailed, "backup", dir)
	require.Contains(t, errs, "site office: its folder does not exist")
	to := filepath.Join(t.TempDir(), "to")
	g.run(exitComplete, "restore", "latest", "--to", to)
	require.FileExists(t, filepath.Join(to, "letters", "one.txt"))
	g.run(exitUsage, "sites", "promote", "sydney", "--person", "Dr Ada")
	out, _ = g.run(exitComplete, "sites", "promote", "sydney", "--person", "Dr Ada", "--cause", "outage")
	require.Contains(t, out, "sydney decides now")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "db"), []byte("after the fire"), 0o600))
	g.run(exitComplete, "backup", dir)

	// A new disk at the office gets everything.
	require.NoError(t, os.Mkdir(g.path("office"), 0o700))
	out, _ = g.run(exitComplete, "sites", "reconcile", "--json")
	got := last(t, out, "reconciled")["sites"].(map[string]any)["office"].(map[string]any)
	require.NotZero(t, got["copied"])
	one := &caller{t: t, repo: g.path("office"), host: t.TempDir()}
	out, _ = one.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "checked 2 snapshots")
	out, _ = g.run(exitComplete, "sites", "status", "--json")
	st := last(t, out, "status")
	require.Equal(t, "sydney", st["home"])
	require.EqualValues(t, 2, st["epoch"])
	require.EqualValues(t, 0, st["debts"])
}

// TestReconcileDeep finds a copy that was altered at one site, and puts it right.
func TestReconcileDeep(t *testing.T) {
	g := newGroup(t, `{}`, three...)
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", tree(t))
	packs, err := filepath.Glob(filepath.Join(g.path("melbourne"), "p", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, packs)
	was, err := os.ReadFile(packs[0])
	require.NoError(t, err)
	hurt := bytes.Clone(was)
	hurt[len(hurt)/2] ^= 1
	require.NoError(t, os.WriteFile(packs[0], hurt, 0o600))
	g.run(exitComplete, "sites", "reconcile")
	is, err := os.ReadFile(packs[0])
	require.NoError(t, err)
	require.Equal(t, hurt, is, "lists do not show it")
	out, _ := g.run(exitComplete, "sites", "reconcile", "--deep", "--rate", "10M")
	require.Contains(t, out, "melbourne     missing 0, wrong 1; copied 1")
	is, err = os.ReadFile(packs[0])
	require.NoError(t, err)
	require.Equal(t, was, is)
}

func TestDeniedWrites(t *testing.T) {
	abroad := places{"oregon", "US-OR", `, "operator": "three", "exposure": {"operator": "US"}, "papers": [
		{"kind": "au-similar-protection", "refuted": true}, {"kind": "patient-consent", "refuted": true}]`}
	g := newGroup(t, `{"offsite": 1}`, three[0], abroad)
	_, errs := g.run(exitFailed, "init")
	require.Contains(t, errs, "oregon: denied in US-OR")
	require.Contains(t, errs, "  denied   au-nsw.hpp-14: US-OR: ")
	require.Contains(t, errs, "[Health Records and Information Privacy Act 2002 (NSW) sch 1 cl 14]")
	require.Contains(t, errs, "missing  paper compatible-privacy-law, for au-racgp.compatible-law")
	require.Contains(t, errs, "the lawful sites do not give 2 sites, 1 site offsite")
	require.NotContains(t, errs, "office: ")
	require.NoDirExists(t, filepath.Join(g.path("oregon"), "keys"))
	out, _ := g.run(exitFailed, "init", "--json")
	d := records(t, out)
	require.Equal(t, "oregon", d[0]["site"])
	require.Equal(t, "denied", d[0]["verdict"])
	require.NotEmpty(t, d[0]["reasons"])
	require.Equal(t, "error", d[1]["type"])

	// With less asked of the placement the lawful site is used, and the other is not.
	g = newGroup(t, `{"copies": 2, "mustReach": 1}`, three[0], abroad)
	g.run(exitComplete, "init")
	require.NoDirExists(t, filepath.Join(g.path("oregon"), "keys"))
	out, _ = g.run(exitComplete, "sites", "status")
	require.Contains(t, out, "1 site of 2 wanted may lawfully hold the data")

	// An exception for a while lets the other have it.
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	changed := strings.Replace(string(text), `"placement"`, `"overrides": [{"site": "oregon", "id": "o-1", "person": "Dr Ada", "reason": "flood",
		"from": "2026-12-01T00:00:00Z", "until": "2026-12-03T00:00:00Z", "write": true}], "placement"`, 1)
	require.NoError(t, os.WriteFile(g.path("sites.json"), []byte(changed), 0o600))
	_, errs = g.run(exitComplete, "backup", tree(t))
	require.Contains(t, errs, "urgent: site oregon: the override o-1 ends on 2026-12-03")
	require.DirExists(t, filepath.Join(g.path("oregon"), "p"))
	g.at = lawful.AddDate(0, 0, 2)
	out, _ = g.run(exitFailed, "sites", "decide")
	require.Contains(t, out, "oregon: denied")
}

func TestDecide(t *testing.T) {
	c := &caller{t: t, host: t.TempDir()}
	decide := func(want int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"sites", "decide", "--sites", "sites.json", "--host-dir", c.host}, args...)
		require.Equal(t, want, runIn(t.Context(), world{func() time.Time { return lawful }, quick}, args, nil, &out, &errs), errs.String())
		return out.String(), errs.String()
	}
	out, _ := decide(exitComplete, "--as-declared")
	require.Contains(t, out, "office: allowed in AU-NSW")
	require.Contains(t, out, "melbourne: allowed in AU-VIC")
	require.Contains(t, out, "(au-nsw.hpp-14-australia)")
	out, _ = decide(exitComplete, "--as-declared", "sydney", "--json")
	require.Len(t, records(t, out), 1)
	_, errs := decide(exitUsage, "--as-declared", "perth")
	require.Contains(t, errs, `no site "perth"`)
	decide(exitUsage, "--as-of", "yesterday")
}

// TestDecideOtherDays asks about a computer in Oregon before and after New Zealand's code of 2020.
func TestDecideOtherDays(t *testing.T) {
	g := newGroup(t, "{}", places{"oregon", "US-OR", `, "operator": "three", "exposure": {"operator": "US"}, "papers": [{"kind": "nz-risk-assessment"}]`})
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(g.path("sites.json"), bytes.Replace(text, []byte("AU-NSW"), []byte("NZ"), 1), 0o600))
	out, _ := g.run(exitComplete, "sites", "decide", "--as-of", "2020-11-30")
	require.Contains(t, out, "oregon: allowed in US-OR")
	out, _ = g.run(exitFailed, "sites", "decide", "--as-of", "2020-12-01")
	require.Contains(t, out, "oregon: unknown in US-OR")
	require.Contains(t, out, "missing  ")
	g.run(exitComplete, "sites", "decide", "--as-of", "2020-12-01", "--known", "2020-11-30")
}

func TestEvidenceAndRegister(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, three...)
	g.run(exitComplete, "init")
	g.run(exitComplete, "sites", "quarantine", "melbourne", "--person", "Dr Ada", "--cause", "maintenance")
	g.at = g.at.Add(time.Hour)
	g.run(exitComplete, "backup", tree(t))
	out, _ := g.run(exitComplete, "sites", "evidence", "--out", g.path("trail.jsonl"), "--json")
	heads := last(t, out, "evidence")["heads"].([]any)
	require.Len(t, heads, 1, "one chain for this host")
	for _, s := range three {
		f, err := os.Open(g.path("trail-" + s.name + ".jsonl"))
		require.NoError(t, err)
		sum, err := evidence.Verify(f)
		require.NoError(t, f.Close())
		require.NoError(t, err)
		require.NotZero(t, sum.Kinds[evidence.KindDecision])
		require.EqualValues(t, 1, sum.Kinds[evidence.KindQuarantine])
	}
	text, err := os.ReadFile(g.path("trail-office.jsonl"))
	require.NoError(t, err)
	require.NotContains(t, string(text), "smells")
	out, _ = g.run(exitComplete, "sites", "evidence", "--out", g.path("trail.jsonl"))
	_, head, ok := strings.Cut(out, "head ")
	require.True(t, ok)
	head, _, _ = strings.Cut(head, "\n")
	g.run(exitComplete, "sites", "evidence", "--out", g.path("trail.jsonl"), "--head", head) // of the office's chain alone
	g.run(exitUsage, "sites", "evidence", "--out", g.path("trail.jsonl"), "--head", "nothing")

	g.run(exitComplete, "sites", "register", "--out", g.path("places.html"))
	page, err := os.ReadFile(g.path("places.html"))
	require.NoError(t, err)
	for _, want := range []string{"Hill Street", "melbourne", "AU-VIC", "1 December 2026"} {
		require.Contains(t, string(page), want)
	}
	out, _ = g.run(exitComplete, "sites", "register", "--out", g.path("places.json"), "--json")
	require.EqualValues(t, 3, last(t, out, "register")["sites"])
	page, err = os.ReadFile(g.path("places.json"))
	require.NoError(t, err)
	require.Contains(t, string(page), `"quarantined": "2026-12-01T09:00:00Z"`)
	g.run(exitUsage, "sites", "register", "--out", g.path("places.pdf"))
	out, _ = g.run(exitComplete, "sites", "status")
	require.Contains(t, out, "in quarantine")
	g.run(exitComplete, "sites", "release", "melbourne", "--person", "Dr Ada", "--cause", "settled")
	out, _ = g.run(exitComplete, "sites", "reconcile", "--json")
	require.NotZero(t, last(t, out, "reconciled")["sites"].(map[string]any)["melbourne"].(map[string]any)["copied"])
}

func TestWrongSites(t *testing.T) {
	const site = `{"name": "office", "bucket": "office", "location": {"level": "declared", "places": ["AU-NSW"]}}`
	const subject = `"subject": {"class": "identifiable", "origins": ["AU-NSW"]}`
	for content, reason := range map[string]string{
		"":  "empty or breaks off",
		"{": "empty or breaks off",
		"{" + subject + ",\n\n\"sites\": [" + site + "]}{}":                                         "line 3: there is more after its end",
		"{" + subject + ",\n\"sites\": []}":                                                         "it has no sites",
		"{" + subject + ",\n\"site\": []}":                                                          `line 2: unknown field "site"`,
		"{\n\"Subject\": {}}":                                                                       `line 2: unknown field "Subject"`,
		"{" + subject + ",\n" + subject + "}":                                                       `line 2: the field "subject" is given twice`,
		"{" + subject + ",\n\"sites\": [\n{\"name\": \"office\",\n\"onSite\": true}]}":              `line 4: unknown field "onSite"`,
		"{" + subject + ",\n\"sites\": [\n{\"location\": {\n\"region\": 5}}]}":                      "line 4: ",
		"{" + subject + ",\n\"sites\": [\n{\"location\": {\"level\":\n\"guessed\"}}]}":              "line 4: ",
		"{" + subject + `, "sites": [` + site + `], "enable": ["no.such"]}`:                         `cannot enable "no.such"`,
		"{" + subject + `, "sites": [` + site + `], "withoutGuidance": ["au-nsw.hpp-14"]}`:          "only guidance can be",
		"{" + subject + `, "sites": [` + site + `], "rules": ["gone.json"]}`:                        "gone.json",
		"{" + strings.Replace(subject, "identifiable", "secret", 1) + `, "sites": [` + site + `]}`:  "line 1: ",
		"{" + subject + `, "placement": {"copies": "2"}, "sites": [` + site + `]}`:                  "line 1: ",
		"{" + subject + `, "sites": [` + strings.Replace(site, `"AU-NSW"]`, `"AU-NSW"]]`, 1) + "]}": "line 1: ",
	} {
		g := &group{caller: &caller{t: t, host: t.TempDir()}, dir: t.TempDir(), at: lawful}
		require.NoError(t, os.WriteFile(g.path("sites.json"), []byte(content), 0o600))
		_, errs := g.run(exitUsage, "sites", "decide")
		require.Contains(t, errs, reason, content)
	}
	c := &caller{t: t, host: t.TempDir()}
	_, errs := c.run(exitUsage, "sites", "status")
	require.Contains(t, errs, "--sites")
	g := newGroup(t, "{}", three...)
	_, errs = g.caller.run(exitUsage, "snapshots")
	require.Contains(t, errs, "which repository?")
	_, errs = g.run(exitUsage, "snapshots", "--repo", g.path("office"))
	require.Contains(t, errs, "exclude each other")
}

// TestOwnRules adds a rule of the practice's own to those that ship.
func TestOwnRules(t *testing.T) {
	g := newGroup(t, `{}`, three...)
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(g.path("sites.json"), []byte(strings.Replace(string(text), `"placement"`, `"rules": ["own.json"], "placement"`, 1)), 0o600))
	require.NoError(t, os.WriteFile(g.path("own.json"), []byte(`{"regime": "own", "title": "Our insurer", "zone": "Australia/Sydney",
  "binds": {"origins": ["AU"]}, "default": "allow", "inForce": [{"from": "2025-01-01", "known": "2025-01-01", "ref": "policy 7"}],
  "rules": [{"id": "own.state", "kind": "forbid", "strength": "contract",
  "title": "Nothing leaves the state", "exceptPlaces": ["AU-NSW"], "values": [{"from": "2025-01-01", "known": "2025-01-01", "ref": "policy 7"}],
  "confirmed": true, "checked": "2026-11-20", "reviewBy": "2027-11-20", "sources": ["the policy"]}]}`), 0o600))
	out, _ := g.run(exitFailed, "sites", "decide")
	require.Contains(t, out, "melbourne: denied in AU-VIC")
	require.Contains(t, out, "own.state: AU-VIC: ")
	require.Contains(t, out, "[policy 7]")
	require.Contains(t, out, "sydney: allowed in AU-NSW")
	require.NotContains(t, out, "reviewed by")

	// Rules that ship are renewed the same way, by whoever read them again.
	require.NoError(t, os.WriteFile(g.path("own.json"), []byte(`{"reviews": [{"by": "Hill Street", "rules": ["au-mhr.s77"],
  "checked": "2026-11-30", "reviewBy": "2027-11-30", "sources": ["legislation.gov.au"]}]}`), 0o600))
	text, err = os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	text = []byte(strings.NewReplacer(`"origins": ["AU-NSW"]`, `"origins": ["AU-NSW"], "tags": ["mhr"]`, `["AU-VIC"]`, `["NZ"]`).Replace(string(text)))
	require.NoError(t, os.WriteFile(g.path("sites.json"), text, 0o600))
	out, _ = g.run(exitFailed, "sites", "decide")
	require.Contains(t, out, "[My Health Records Act 2012 (Cth) s 77(1)(a)-(b)], reviewed by Hill Street")
}

// TestReview: Irish data with a copy in Virginia, which stands on the recipient's listing.
func TestReview(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, places{"dublin", "IE", `, "onsite": true`},
		places{"frankfurt", "DE", `, "operator": "one", "exposure": {"operator": "DE"}`},
		places{"virginia", "US-VA", `, "operator": "two", "exposure": {"operator": "US"}, "papers": [{"kind": "dpf-listing"},
			{"kind": "scc", "refuted": true}, {"kind": "bcr", "refuted": true}]`})
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(g.path("sites.json"), bytes.Replace(text, []byte("AU-NSW"), []byte("IE"), 1), 0o600))
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", tree(t))
	out, _ := g.run(exitComplete, "sites", "reevaluate")
	require.Equal(t, 3, strings.Count(out, "may stay: allowed "), out)
	out, errs := g.run(exitFailed, "sites", "reevaluate", "--as-of", "2023-07-09")
	require.Contains(t, out, "may stay: denied ")
	require.Contains(t, errs, "what is at virginia may not be there")

	out, _ = g.run(exitComplete, "sites", "what-if", "eu-gdpr.adequacy.us-dpf", "--ends", "2027-01-15")
	require.Contains(t, out, "if eu-gdpr.adequacy.us-dpf ended on 2027-01-15, virginia would no longer do, with ")
	require.Contains(t, out, "virginia: denied\n")
	require.Contains(t, out, "the others are enough")
	out, _ = g.run(exitComplete, "sites", "what-if", "paper:dpf-listing", "--ends", "2027-01-15", "--json")
	require.Equal(t, []any{"virginia"}, last(t, out, "what-if")["hit"])
	out, _ = g.run(exitComplete, "sites", "what-if", "eu-gdpr.adequacy.jp", "--ends", "2027-01-15")
	require.Contains(t, out, "every site would do as before")
	g.run(exitFailed, "sites", "what-if", "eu-gdpr.no-such", "--ends", "2027-01-15")
	g.run(exitUsage, "sites", "what-if", "eu-gdpr.adequacy.jp")

	text, err = os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(g.path("sites.json"), bytes.Replace(text, []byte(`"mustReach": 2`), []byte(`"mustReach": 3`), 1), 0o600))
	_, errs = g.run(exitFailed, "sites", "what-if", "paper:dpf-listing", "--ends", "2027-01-15")
	require.Contains(t, errs, "do not give 3 sites")
}

// TestMigrate leaves Melbourne for Brisbane, and then the office, which decides.
func TestMigrate(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, three...)
	dir := tree(t)
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", dir)
	person := []string{"--person", "Dr Ada", "--cause", "contract-changed"}
	migrate := func(want int, args ...string) (string, string) {
		t.Helper()
		return g.run(want, append(append([]string{"sites", "migrate"}, args...), person...)...)
	}
	g.run(exitUsage, "sites", "migrate", "--from", "melbourne")
	migrate(exitFailed, "--from", "melbourne", "--to", "brisbane")
	g.write(`{"copies": 3, "mustReach": 2}`, append(three, places{"brisbane", "AU-QLD", `, "operator": "three", "exposure": {"operator": "AU"}`})...)
	out, _ := migrate(exitComplete, "--from", "melbourne", "--to", "brisbane", "--dry-run")
	require.Contains(t, out, "the sites are then brisbane, office, sydney\n")
	require.NoDirExists(t, filepath.Join(g.path("brisbane"), "p"))
	out, _ = migrate(exitComplete, "--from", "melbourne", "--to", "brisbane", "--json")
	done := last(t, out, "migrated")
	require.Equal(t, true, done["done"])
	require.NotZero(t, done["copied"])
	require.NotEmpty(t, done["proof"].(map[string]any)["digest"])
	left, err := filepath.Glob(filepath.Join(g.path("melbourne"), "[a-z]*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
	one := &caller{t: t, repo: g.path("brisbane"), host: t.TempDir()}
	out, _ = one.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "checked 1 snapshots")

	_, errs := migrate(exitFailed, "--from", "office")
	require.Contains(t, errs, "say which site is to be promoted")
	out, _ = migrate(exitComplete, "--from", "office", "--promote", "sydney", "--rate", "10M")
	require.Contains(t, out, "sydney will decide")
	g.run(exitComplete, "backup", dir)
	out, _ = g.run(exitComplete, "sites", "migrate", "--resume")
	require.Contains(t, out, "no migration is under way")
	_, errs = migrate(exitFailed, "--from", "sydney", "--promote", "brisbane")
	require.Contains(t, errs, "do not give 2 sites")
}

// TestSitesOnS3 keeps a copy on a server of the interface, whose host is no provider's: it is where the file says.
func TestSitesOnS3(t *testing.T) {
	url := servertest.S3(t)
	g := newGroup(t, `{"mustReach": 2, "offsite": 1}`, three[0], three[1])
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	at := func(url string) {
		file := bytes.Replace(text, []byte(`"bucket": "sydney"`), fmt.Appendf(nil, `"bucket": %q, "timeout": "30s"`, url), 1)
		require.NoError(t, os.WriteFile(g.path("sites.json"), file, 0o600))
	}
	at(url)
	dir := tree(t)
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", dir)
	out, _ := g.run(exitComplete, "sites", "decide")
	require.Contains(t, out, "sydney: allowed in AU-NSW")
	out, _ = g.run(exitComplete, "sites", "status", "--json")
	status := last(t, out, "status")["sites"].([]any)
	require.NotContains(t, status[0], "probed", "nobody can ask a folder")
	require.Equal(t, lawful.Format(time.RFC3339), status[1].(map[string]any)["probed"])
	out, _ = g.run(exitComplete, "compact", "--dry-run")
	require.Contains(t, out, "1 snapshot: ")
	one := &caller{t: t, repo: url, host: t.TempDir()}
	out, _ = one.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "checked 1 snapshots")

	// Another bucket under the name of the site: its provider's answer, not the file, is believed.
	at("s3://somewhere?region=us-east-1&accelerate=true&" + strings.SplitN(url, "?", 2)[1])
	out, _ = g.run(exitFailed, "sites", "decide", "sydney")
	require.Contains(t, out, "sydney: unknown")
}

// TestExit rehearses to leave Melbourne.
func TestExit(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, three...)
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(g.path("sites.json"), bytes.Replace(text, []byte(`"placement"`), []byte(
		`"rehearsals": [{"name": "spare", "bucket": "spare", "location": {"level": "declared", "places": ["AU-NSW"]}, "custody": {"holder": "customer"}},
			{"name": "far", "bucket": "far", "operator": "four", "location": {"level": "declared", "places": ["US-OR"]}, "exposure": {"operator": "US"}}], "placement"`), 1), 0o600))
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", tree(t))
	out, _ := g.run(exitComplete, "sites", "exit", "plan", "melbourne")
	require.Regexp(t, `^melbourne holds [1-9]\d* objects, `, out)
	require.Contains(t, out, "the others are enough")
	require.Contains(t, out, "sydney        can stand in for it\n")
	out, _ = g.run(exitComplete, "sites", "exit", "plan", "melbourne", "--json")
	require.Len(t, last(t, out, "exit-plan")["targets"], 2)

	out, _ = g.run(exitComplete, "sites", "exit", "drill", "melbourne", "--at", "spare", "--rate", "10M", "--json")
	require.Equal(t, true, last(t, out, "drill")["restored"])
	left, err := filepath.Glob(filepath.Join(g.path("spare"), "*", "*"))
	require.NoError(t, err)
	require.Empty(t, left, "the copy is deleted")
	_, errs := g.run(exitFailed, "sites", "exit", "drill", "melbourne", "--at", "far")
	require.Contains(t, errs, "far: unknown in US-OR")
	_, errs = g.run(exitUsage, "sites", "exit", "drill", "melbourne", "--at", "moon")
	require.Contains(t, errs, `no rehearsal site "moon"`)

	// A copy that cannot be restored is a drill that failed.
	packs, err := filepath.Glob(filepath.Join(g.path("melbourne"), "p", "*", "*"))
	require.NoError(t, err)
	data, err := os.ReadFile(packs[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(packs[0], data, 0o600))
	_, errs = g.run(exitFailed, "sites", "exit", "drill", "melbourne", "--at", "spare")
	require.Contains(t, errs, "could not be restored")
}
