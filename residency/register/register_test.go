package register_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/register"
)

func day(y, m, d int) residency.Day { return residency.Day{Year: y, Month: time.Month(m), Day: d} }

var zone = time.FixedZone("NZDT", 13*60*60)

func date(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 9, 30, 0, 0, zone) }

const ruleset = "3f0c6f7b2b2b7b2bb7f1a4f2c3f0c6f7b2b2b7b2bb7f1a4f2c3f0c6f7b2b2b7b"

// sample is a register with something of everything.
func sample() register.Register {
	now := date(2026, 11, 26)
	override := residency.Override{ID: "ov-1", Person: "Dr Mere Parata", Reason: "the server room is flooded & this is the only copy left",
		From: date(2026, 11, 25), Until: date(2026, 12, 1), Write: false}
	return register.Register{
		Practice: "Harbour & Hills Medical Centre", At: now, Encryption: "AES-256-GCM, before it leaves the practice", Ruleset: ruleset,
		Subject: residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"NZ"}, Tags: []residency.Tag{"nz-health-agency"}},
		Wanted:  register.Wanted{Copies: 3, MustReach: 2, Operators: 2, Subdivisions: 2, Offsite: 1},
		Names:   map[residency.Place]string{"NZ": "New Zealand", "AU": "Australia", "US": "United States", "IN": "India", "NZ-AUK": "Auckland"},
		Heads:   []string{"practice-1/42/" + ruleset},
		Sites: []register.Site{
			{Name: "backroom", Home: true, Onsite: true, Since: date(2024, 3, 1), Objects: 12345, Bytes: 812_300_000_000, Counted: now,
				Target: residency.Target{Location: residency.Location{Places: []residency.Place{"NZ-AUK"}}, Custody: residency.Custody{Holder: residency.CustomerHeld, Places: []residency.Place{"NZ"}}},
				Decision: residency.Decision{Verdict: residency.Allowed, Rules: residency.Allowed, Places: []residency.Place{"NZ-AUK"}, Now: now,
					Reasons: []residency.Reason{{Regime: "nz-hipc", Rule: "nz-hipc.onshore", Place: "NZ-AUK", Verdict: residency.Allowed, Text: "Within New Zealand.", Ref: "HIPC 2020 rule 12"}}}},
			{Name: "sydney", Operator: "Example Web Services", Since: date(2025, 7, 2), Objects: 12001, Bytes: 799_000_000_000, Counted: now, Owed: 344, OwedSince: date(2026, 11, 24),
				Target: residency.Target{
					Location: residency.Location{Provider: "aws", Region: "ap-southeast-2", Level: residency.Observed, At: now},
					Exposure: residency.Exposure{Operator: "AU", Parent: "US", Support: []residency.Place{"AU", "IN", "US"}},
					Custody:  residency.Custody{Holder: residency.CustomerHeld, Places: []residency.Place{"NZ"}},
					Papers: []residency.Paper{{Kind: "dpa", Scope: []string{"storage"}, Issuer: "Example Web Services", Ref: "C-2024-17", From: day(2024, 1, 1), Until: day(2027, 1, 1)},
						{Kind: "iso-27001", Issuer: "Example Certifiers", From: day(2023, 1, 1), Until: day(2026, 6, 30)},
						{Kind: "cloud-exemption", Refuted: true, Until: day(2027, 1, 1)}, {Kind: "listing", Checked: day(2026, 11, 1)}}},
				Decision: residency.Decision{Verdict: residency.Allowed, Rules: residency.Allowed, Places: []residency.Place{"AU-NSW"}, Now: now, Expires: date(2027, 1, 1), ExpiresBy: "paper dpa", Endings: []residency.Ending{{At: date(2027, 1, 1), By: "paper dpa"}, {At: date(2027, 5, 23), By: "review of nz-policy.risk-assessment"}},
					Obligations: []residency.Obligation{{Rule: "nz-policy.offshore", Code: "record-risk-assessment", Text: "Record a risk assessment and review it each year."}},
					Reasons:     []residency.Reason{{Regime: "nz-policy", Rule: "nz-policy.offshore", Verdict: residency.Allowed, Text: "Offshore with a risk assessment.", Ref: "MoH letter 2017-04-12"}},
					Warnings:    []string{"The agreement ends in 36 days."}, Unconfirmed: []string{"nz-nsw.hrip"}}},
			{Name: "oregon", Operator: "Example Cloud", Since: date(2025, 1, 5), Objects: 900, Bytes: 5_400_000_000, Counted: date(2026, 11, 20), Quarantined: date(2026, 11, 21), Why: "the probe found another region",
				Target: residency.Target{Location: residency.Location{Provider: "example", Region: "west"}, Custody: residency.Custody{Holder: residency.ProviderHeld}},
				Decision: residency.Decision{Verdict: residency.Denied, Rules: residency.Denied, Places: []residency.Place{"US-OR", "AU-NSW"}, Now: now, Override: &override,
					Reasons: []residency.Reason{{Regime: "nz-policy", Rule: "nz-policy.us", Place: "US-OR", Verdict: residency.Denied, Text: "Not on the list."}}}},
			{Name: "courier-disk", Removable: true, Operator: "Kiwi Couriers", Decision: residency.Decision{Now: now,
				Missing: []residency.Missing{{Rule: "evidence.level", Fact: "the place"}, {Rule: "nz-policy.offshore", Fact: "paper dpa"}}}},
			{Name: "vault", ReadOnly: true, Operator: "Bank", Target: residency.Target{Exposure: residency.Exposure{Operator: "NZ", Parent: "NZ"}, Custody: residency.Custody{Holder: residency.ThirdPartyHeld}},
				Decision: residency.Decision{Verdict: residency.Allowed, Rules: residency.Allowed, Places: []residency.Place{"NZ-WGN"}, Expires: date(2031, 12, 28), ExpiresBy: "nz-policy.review", Endings: []residency.Ending{{At: date(2031, 12, 28), By: "nz-policy.review"}}}},
		},
		Overrides: []register.Override{{Site: "oregon", Override: override}, {Site: "vault", Override: residency.Override{Person: "Sam Lee", Reason: "a drill",
			From: date(2026, 11, 1), Until: date(2026, 11, 3), Write: true}}},
		Moves: []register.Move{{From: "oregon", To: "sydney", Stage: "copied", Why: "the rule changed", Objects: 900, Bytes: 5_400_000_000, Began: date(2026, 11, 22)}},
		Residuals: []register.Residual{{Site: "oregon", Objects: 40, Bytes: 1_234_567, Release: date(2027, 2, 1), Shredded: true},
			{Site: "sydney", Objects: 1, Bytes: 999, Release: date(2026, 11, 1)}},
	}
}

func page(t testing.TB, r register.Register) string {
	var b bytes.Buffer
	require.NoError(t, register.WriteHTML(&b, r))
	return b.String()
}

func text(t testing.TB, r register.Register) string {
	var b bytes.Buffer
	require.NoError(t, register.WriteText(&b, r))
	return b.String()
}

// Where a rule is believed on somebody's own word, the page says whose.
func TestReviewer(t *testing.T) {
	r := sample()
	require.NotContains(t, page(t, r)+text(t, r), "reviewed by")
	r.Sites[0].Decision.Reasons[0].ReviewedBy = "Example <Clinical> Software"
	require.Contains(t, page(t, r), "Within New Zealand. (reviewed by Example &lt;Clinical&gt; Software)")
	require.Contains(t, strings.Join(strings.Fields(text(t, r)), " "), "Within New Zealand. (reviewed by Example <Clinical> Software)")
}

// The whole of all three forms, so that a change of a word is seen. CAREKEEP_GOLDEN=write makes them anew.
func TestGolden(t *testing.T) {
	var data bytes.Buffer
	require.NoError(t, register.WriteJSON(&data, sample()))
	for name, got := range map[string]string{"register.html": page(t, sample()), "register.txt": text(t, sample()), "register.json": data.String()} {
		path := filepath.Join("testdata", name)
		if os.Getenv("CAREKEEP_GOLDEN") == "write" {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(string(want), "\r\n", "\n"), got, name)
	}
}

func TestItAnswersTheQuestionsOfTheGuidance(t *testing.T) {
	for _, got := range []string{visible(t, page(t, sample())), strings.Join(strings.Fields(text(t, sample())), " ")} {
		for question, answers := range map[string][]string{
			"where, in which country":      {"AU-NSW, Australia; aws ap-southeast-2", "Auckland (NZ-AUK)", "seen at the provider's interface (E2)", "declared by the operator (E0)", "Where not known"},
			"who can reach it":             {"Run by Example Web Services, established in Australia (AU); its parent is in United States (US); its staff can reach it from Australia (AU), India (IN) and United States (US)", "Run by the practice", "not known who else can be made to hand it over"},
			"is it encrypted, whose keys":  {"AES-256-GCM, before it leaves the practice", "You hold the keys; nobody at the provider can decrypt; they are in New Zealand (NZ)", "The provider holds the keys and can decrypt", "A third party holds the keys", "Not known who holds the keys"},
			"since when":                   {"1 March 2024", "2 July 2025", "nothing yet"},
			"until when":                   {"The answer stands until 1 January 2027, when this ends: paper dpa", "Nothing that the answer rests on has an end", "until 31 December 2026", "no end given", "does not hold"},
			"what must be done":            {"A rule denies site oregon (nz-policy.us). It holds 900 objects, 5.4 GB. Move the data to another site.", "Record a risk assessment and review it each year.", "Of site courier-disk not enough is known. Find out: the place, and 1 more.", "Sites in good order: 1; copies wanted: 3.", "Site sydney lacks 344 objects, the oldest since 24 November 2026", "Site oregon has been shut since 21 November 2026 (the probe found another region)", "What remained at site sydney (1 object, 999 B) can be deleted since 1 November 2026"},
			"what is held":                 {"12,345 objects, 812.3 GB, counted on 26 November 2026", "not counted"},
			"what ends soon":               {"has ended", "in 36 days", "override by Dr Mere Parata", "paper iso-27001"},
			"what a person excepted":       {"the only copy left", "holds: what is there may stay; nothing is added", "has ended: new data may be written"},
			"what remains under lock":      {"40 objects, 1.2 MB", "1 February 2027", "Nobody: the keys were destroyed"},
			"what was asked, and why":      {"No rule in this ruleset denies", ruleset, "HIPC 2020 rule 12", "MoH letter 2017-04-12", "It is not legal advice", "nz-nsw.hrip", "practice-1/42/"},
			"what the data is, and wanted": {"patient records with names, from New Zealand (NZ); bound also as nz-health-agency", "Wanted: 3 copies, on 2 before a backup counts as done, with at least 2 different operators, in at least 2 different places and at least 1 offsite."},
		} {
			for _, a := range answers {
				require.Contains(t, got, a, question)
			}
		}
		require.NotContains(t, strings.ToLower(got), "compliant")
		require.NotContains(t, got, "exception by Sam Lee", "what has ended is no task")
		require.NotContains(t, got, "its parent is in New Zealand", "a parent in the operator's own country is not named")
	}
}

// visible is the text of a page, which must be well formed.
func visible(t testing.TB, doc string) string {
	doc = regexp.MustCompile(`<(meta|col)( [^>]*)?>`).ReplaceAllString(doc, "")
	doc = strings.ReplaceAll(doc, "<br>", " ")
	doc = regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(doc, "")
	doc = strings.Replace(doc, "<!DOCTYPE html>", "", 1)
	d := xml.NewDecoder(strings.NewReader(doc))
	var b strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return strings.Join(strings.Fields(b.String()), " ")
		}
		require.NoError(t, err)
		switch tok := token.(type) {
		case xml.CharData:
			b.Write(tok)
		case xml.EndElement:
			b.WriteByte(' ')
		}
	}
}

func TestThePageLoadsNothingAndIsAccessible(t *testing.T) {
	s := page(t, sample())
	for _, never := range []string{"<script", "http:", "https:", "@import", "url(", "<link", "<img", "href", "src=", "ZgotmplZ", "onload"} {
		require.NotContains(t, strings.ReplaceAll(s, `xmlns="http://www.w3.org/2000/svg"`, ""), never)
	}
	for _, want := range []string{`lang="en"`, "size: A4", "prefers-color-scheme: dark", "<main>", "<caption>", `role="img"`, `<title id="maptitle">`,
		`tabindex="0"`, "@media print"} {
		require.Contains(t, s, want)
	}
	require.Equal(t, strings.Count(s, "<th>"), 0, "each head of a table says for what")
	require.Equal(t, 1, strings.Count(s, "<h1"))
	require.Equal(t, 4, strings.Count(s, `class="country"`), "New Zealand, Australia, the United States, and not known")
	require.Equal(t, 6+1, strings.Count(s, `<rect class="site`)-1, "a box for each site and place, two in the legend")
	require.Equal(t, 3+1, strings.Count(s, ">!</text>"), "trouble is not said by colour alone")
}

// Whatever a value says, it stays a value: in the page, the drawing and the terminal.
func TestCanariesAreEscaped(t *testing.T) {
	canary := "\"'><script>alert(1)</script><svg/onload=x>&amp;\x1b[2J\u202e{{.}}"
	r := fill(reflect.ValueOf(sample()), canary).Interface().(register.Register)
	r.Names = map[residency.Place]string{residency.Place(canary): canary, "NZ": canary}
	s := page(t, r)
	visible(t, s)
	for _, never := range []string{"<script", "<svg/", "\x1b", "\u202e", "&amp;amp;script"} {
		require.NotContains(t, s, never)
	}
	require.Contains(t, s, "&lt;script&gt;alert(1)")
	require.Contains(t, visible(t, s), "&amp;", "what looks escaped is escaped again")
	got := text(t, r)
	require.NotContains(t, got, "\x1b")
	require.NotContains(t, got, "\u202e")
	var b bytes.Buffer
	require.NoError(t, register.WriteJSON(&b, r))
	require.NotContains(t, b.String(), "\x1b")
}

// fill returns v with every text in it replaced.
func fill(v reflect.Value, s string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch {
	case v.Kind() == reflect.String:
		out.SetString(s)
	case v.Kind() == reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(fill(v.Index(i), s))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(fill(v.Elem(), s))
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			out.Field(i).Set(fill(v.Field(i), s))
		}
	}
	return out
}

func TestAnEmptyRegister(t *testing.T) {
	r := register.Register{At: date(2026, 11, 26)}
	for _, got := range []string{visible(t, page(t, r)), text(t, r)} {
		require.Contains(t, got, "nothing is kept anywhere")
		require.Contains(t, got, "not classified, so judged as patient records with names")
		require.Contains(t, got, "Encryption: not stated")
		require.Contains(t, got, "Sites in good order: none; copies wanted: 1.")
	}
	require.NotContains(t, page(t, r), "<svg")
	r.At = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, write := range []func(io.Writer, register.Register) error{register.WriteHTML, register.WriteText, register.WriteJSON} {
		require.ErrorContains(t, write(io.Discard, r), "cannot be written")
		require.ErrorIs(t, write(fullDisk{}, sample()), errFull)
	}
}

var errFull = errors.New("full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestJSONComesBackAndHasTheDigestOnThePage(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, register.WriteJSON(&b, sample()))
	sum := sha256.Sum256(b.Bytes())
	require.Contains(t, page(t, sample()), hex.EncodeToString(sum[:]))
	require.Contains(t, text(t, sample()), hex.EncodeToString(sum[:]))
	var back register.Register
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&back))
	var again bytes.Buffer
	require.NoError(t, register.WriteJSON(&again, back))
	require.Equal(t, sha256.Sum256(again.Bytes()), sum)
}

func TestGoodOrderSaysSo(t *testing.T) {
	r := sample()
	r.Sites, r.Overrides, r.Moves, r.Residuals = r.Sites[:1], nil, nil, nil
	r.Wanted = register.Wanted{Copies: 1}
	got := visible(t, page(t, r))
	require.Contains(t, got, "To do now: nothing.")
	require.Contains(t, got, "Nothing within 180 days.")
	require.Contains(t, got, "in use")
	r.Wanted = register.Wanted{Copies: 2, Operators: 2, Subdivisions: 2, Offsite: 1}
	got = visible(t, page(t, r))
	for _, want := range []string{"Sites in good order: 1; copies wanted: 2", "Operators of the sites in good order: 1; wanted: 2",
		"Different places of the sites in good order: 1; wanted: 2", "Offsite sites in good order: none; wanted: 1"} {
		require.Contains(t, got, want)
	}
	r = sample()
	r.Sites = r.Sites[2:3]
	r.Sites[0].Quarantined = time.Time{}
	r.Sites[0].Decision.Verdict = residency.Allowed
	require.Contains(t, visible(t, page(t, r)), "By the rules alone: a rule denies. An exception by Dr Mere Parata holds until 1 December 2026, 09:30 NZDT.")
	require.Contains(t, text(t, r), "no rule in this ruleset denies new data: none of 1.")
	require.Contains(t, text(t, r), "Sites in good order: 1; copies wanted: 3.", "an exception counts for as long as it holds")
	r = sample()
	r.Sites = r.Sites[:1]
	r.Sites[0].Decision.Expires = r.At
	require.Contains(t, text(t, r), "The answer about site backroom ended on 26 November 2026.")
	require.Contains(t, text(t, r), "no rule in this ruleset denies new data: none of 1.")
}

// A warning has the narrowest threshold that was passed, and time only narrows it.
func TestWarningsNarrowWithTime(t *testing.T) {
	end := date(2027, 6, 1)
	at := func(before time.Duration) []register.Warning {
		return register.Expiring(register.Register{At: end.Add(-before), Sites: []register.Site{{Name: "x", Decision: residency.Decision{Endings: []residency.Ending{{At: end.Add(-time.Hour), By: "evidence.age"}, {At: end, By: "r"}}}}}})
	}
	hours := func(days int) time.Duration { return time.Duration(days) * 24 * time.Hour }
	require.Empty(t, at(hours(180)+time.Second))
	for days, want := range map[int]int{180: 180, 91: 180, 90: 90, 31: 90, 30: 30, 1: 30, 0: 0, -400: 0} {
		require.Equal(t, []register.Warning{{Site: "x", What: "decision, by r", Ends: end, Days: want}}, at(hours(days)), "%d days before", days)
	}
	all := register.Expiring(sample())
	require.Equal(t, "paper iso-27001", all[0].What)
	require.Len(t, all, 7)
	r := sample()
	r.Warnings = []register.Warning{{Site: "s", What: "a thing", Ends: date(2026, 11, 27)}}
	require.Contains(t, text(t, r), "in 1 day: s, a thing (27 November 2026)")
	require.NotContains(t, text(t, r), "override by")
	rapid.Check(t, func(t *rapid.T) {
		r := sample()
		r.At = r.At.Add(time.Duration(rapid.Int64Range(-1000, 3000).Draw(t, "hours")) * time.Hour)
		early := register.Expiring(r)
		for i := 1; i < len(early); i++ {
			require.False(t, early[i].Ends.Before(early[i-1].Ends))
		}
		r.At = r.At.Add(time.Duration(rapid.Int64Range(0, 3000).Draw(t, "later")) * time.Hour)
		late := map[string]int{}
		for _, w := range register.Expiring(r) {
			late[w.Site+w.What] = w.Days
		}
		for _, w := range early {
			if now, ok := late[w.Site+w.What]; ok {
				require.LessOrEqual(t, now, w.Days)
			} else {
				require.Contains(t, w.What, "override", "only an exception goes away when it has ended")
			}
		}
	})
}

// The page prints on sheets of A4. It takes a browser, so it runs with the long tests.
func TestThePagePrints(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if os.Getenv("CAREKEEP_LONG") != "1" || err != nil {
		t.Skip("needs CAREKEEP_LONG=1 and chromium")
	}
	many := sample()
	for range 5 {
		many.Sites = append(many.Sites, many.Sites[:5]...)
	}
	small := sample()
	small.Sites, small.Overrides, small.Moves, small.Residuals = small.Sites[:2], nil, nil, nil
	long := fill(reflect.ValueOf(sample()), strings.Repeat("Kurrajong", 30)).Interface().(register.Register)
	for name, c := range map[string]struct {
		r    register.Register
		most int
	}{"small": {small, 3}, "sample": {sample(), 5}, "many": {many, 24}, "long": {long, 30}} {
		dir := t.TempDir()
		from, pdf := filepath.Join(dir, "register.html"), filepath.Join(dir, "register.pdf")
		require.NoError(t, os.WriteFile(from, []byte(page(t, c.r)), 0o600))
		out, err := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--user-data-dir="+t.TempDir(),
			"--print-to-pdf="+pdf, from).CombinedOutput()
		require.NoError(t, err, string(out))
		data, err := os.ReadFile(pdf)
		require.NoError(t, err)
		pages := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(data, -1))
		require.Positive(t, pages)
		require.LessOrEqual(t, pages, c.most, name)
		for _, box := range regexp.MustCompile(`/MediaBox\s*\[([^\]]*)\]`).FindAllSubmatch(data, -1) {
			require.Regexp(t, `^0 0 (594\.9|595|596)[0-9.]* (841\.9|842|842\.)[0-9.]*$`, strings.TrimSpace(string(box[1])), "A4, upright")
		}
	}
}
