package residency_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

func TestRulesThatShip(t *testing.T) {
	r := rules(t)
	seen := map[string]bool{}
	unconfirmed := []string{}
	for _, one := range r.Rules() {
		require.False(t, seen[one.ID], one.ID)
		seen[one.ID] = true
		require.NotEmpty(t, one.Sources, one.ID)
		require.NotEmpty(t, one.Values, one.ID)
		require.Equal(t, one.Confirmed, one.Enabled, one.ID)
		if !one.ReviewBy.IsZero() {
			require.LessOrEqual(t, one.ReviewBy.Sub(one.Checked), 366, "%s: reviewed once a year", one.ID)
		}
		if !one.Confirmed {
			require.NotEmpty(t, one.Note, one.ID)
			unconfirmed = append(unconfirmed, one.ID)
		}
	}
	for _, id := range []string{"uk-gdpr.adequate.fo", "ehds.article-86", "eu-gdpr.tool.scc-2021.equivalent", "ch-fadp.annex-1-rest"} {
		require.Contains(t, unconfirmed, id)
	}
	require.Contains(t, r.Tags(), residency.Tag("de-statutory"))
	require.Contains(t, r.PaperKinds(), "dpf-listing")

	// Whatever a caller changes, another does not see.
	r.Rules()[0].Values[0].Ref = "changed"
	r.Rules()[0].Sources[0] = "changed"
	r.Tags()["mine"] = "changed"
	clear(r.PaperKinds())
	again := rules(t)
	require.Equal(t, again.Rules(), r.Rules())
	require.Equal(t, again.Tags(), r.Tags())
	require.Equal(t, again.PaperKinds(), r.PaperKinds())
	require.Equal(t, again.Digest(), r.Digest())
}

// oneRegime has every field that a file can have.
const oneRegime = `{
  "regime": "xx",
  "title": "A regime",
  "zone": "Europe/Berlin",
  "binds": {"origins": ["@GROUP"], "tags": ["xx-tag"], "minClass": "demographic"},
  "default": "deny",
  "access": true,
  "papers": {"letter": "a letter", "stamp": "a stamp"},
  "tags": {"xx-tag": "a tag"},
  "inForce": [{"from": "2000-01-01", "known": "2000-01-01", "ref": "An Act"}],
  "note": "a note",
  "sets": [
    {
      "id": "GROUP",
      "title": "A group",
      "members": [
        {"place": "DE", "from": "2000-01-01", "known": "2000-01-01"},
        {"place": "@INNER", "from": "2000-01-01", "known": "2000-01-01"}
      ],
      "sources": ["a treaty"],
      "checked": "2026-01-01"
    },
    {"id": "INNER", "title": "Another", "members": [{"place": "FR", "from": "2000-01-01", "known": "2000-01-01"}], "sources": ["x"], "checked": "2026-01-01"}
  ],
  "rules": [
    {
      "id": "xx.one",
      "kind": "permit",
      "strength": "law",
      "title": "There",
      "places": ["@GROUP", "AU-NSW"],
      "exceptPlaces": ["DE-BY"],
      "where": "rest",
      "when": {"minClass": "clinical", "purposes": ["storage"], "origins": ["DE"], "exceptTags": ["xx-tag"], "hosted": true},
      "needs": ["paper:letter/sealed", "custody:customer", "custody-in:@GROUP,CH", "exposure-not-in:US", "level:observed"],
      "anyOf": [["paper:stamp"], ["operator-in:DE", "exposure-in:DE"]],
      "obliges": [{"code": "keep-it", "text": "Keep it."}],
      "values": [
        {"from": "2020-01-01", "until": "2021-01-01", "known": "2019-01-01", "ref": "An Act s 1", "boundary": "until 2020-12-31"},
        {"from": "2021-01-01", "known": "2020-06-01", "ref": "An Act s 2"}
      ],
      "ends": "sunset",
      "grandfather": {"papers": ["letter"], "before": "2020-06-01", "until": "2022-01-01"},
      "confirmed": true,
      "checked": "2026-01-01",
      "reviewBy": "2027-01-01",
      "sources": ["the Act"]
    },
    {"id": "xx.two", "kind": "demand", "strength": "policy", "title": "Two", "needs": ["permitted-by:xx.one"], "values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "r"}], "confirmed": true, "checked": "2026-01-01", "reviewBy": "2027-01-01", "sources": ["s"]}
  ]
}
`

func TestDecoderIsStrict(t *testing.T) {
	r, err := residency.NewRuleset(residency.RuleFile{Name: "xx.json", Data: []byte(oneRegime)})
	require.NoError(t, err)
	require.Len(t, r.Rules(), 2)
	for name, c := range map[string]struct {
		old, new string
		line     int
		want     string
	}{
		"unknown field":            {`"note": "a note"`, `"nota": "a note"`, 11, `unknown field "nota"`},
		"other case":               {`"title": "There"`, `"Title": "There"`, 30, `unknown field "Title"`},
		"twice":                    {`"strength": "law"`, `"strength": "law", "strength": "law"`, 29, `"strength" occurs twice`},
		"in the wrong place":       {`"strength": "law"`, `"strength": "law", "regime": "xx"`, 29, `unknown field "regime"`},
		"a paper called a field":   {`"papers": {"letter": "a letter"`, `"papers": {"reviewby": "x", "letter": "a letter"`, 8, `unknown field "reviewby"`},
		"a paper without meaning":  {`"letter": "a letter"`, `"letter": ""`, 8, "papers: expected"},
		"a tag without meaning":    {`"xx-tag": "a tag"`, `"xx-tag": ""`, 9, "tags: expected"},
		"zone":                     {`"Europe/Berlin"`, `"Berlin"`, 4, "zone of the IANA"},
		"zone of this machine":     {`"Europe/Berlin"`, `"Local"`, 4, "zone of the IANA"},
		"zone above the database":  {`"Europe/Berlin"`, `"../etc/passwd"`, 4, "zone of the IANA"},
		"default":                  {`"default": "deny"`, `"default": "maybe"`, 6, "default: expected allow"},
		"deny since when":          {`  "inForce": [{"from": "2000-01-01", "known": "2000-01-01", "ref": "An Act"}],` + "\n", ``, 1, "inForce: expected since when"},
		"a permit that is none":    {`"default": "deny"`, `"default": "allow"`, 28, "a permit changes nothing"},
		"binds nobody":             {`"binds": {"origins": ["@GROUP"], "tags": ["xx-tag"], "minClass": "demographic"}`, `"binds": {"minClass": "demographic"}`, 5, "binds: expected"},
		"all of one":               {`"binds": {"origins": ["@GROUP"], "tags": ["xx-tag"]`, `"binds": {"all": true, "tags": ["xx-tag"]`, 5, "all: expected"},
		"class":                    {`"minClass": "demographic"`, `"minClass": "Demographic"`, 5, "expected one of unclassified"},
		"unknown set":              {`"origins": ["@GROUP"]`, `"origins": ["@GROUPS"]`, 5, "set @GROUPS is in no file"},
		"unknown set in a rule":    {`"places": ["@GROUP", "AU-NSW"]`, `"places": ["@NONE"]`, 31, "set @NONE is in no file"},
		"unknown set in a need":    {`custody-in:@GROUP,CH`, `custody-in:@NONE`, 35, "set @NONE is in no file"},
		"unknown place":            {`"places": ["@GROUP", "AU-NSW"]`, `"places": ["UK"]`, 31, `"UK" is no code`},
		"place twice":              {`"places": ["@GROUP", "AU-NSW"]`, `"places": ["DE", "DE"]`, 31, "DE occurs twice"},
		"unknown except":           {`"exceptPlaces": ["DE-BY"]`, `"exceptPlaces": ["DE-XX"]`, 32, `"DE-XX" is no code`},
		"unknown origin":           {`"origins": ["DE"]`, `"origins": ["ZZ"]`, 34, `"ZZ" is no code`},
		"unknown tag":              {`"exceptTags": ["xx-tag"]`, `"exceptTags": ["xy-tag"]`, 34, `tag "xy-tag" is in no file`},
		"unknown purpose":          {`"purposes": ["storage"]`, `"purposes": ["store"]`, 34, "expected one of storage"},
		"unknown paper":            {`paper:stamp`, `paper:stomp`, 36, "papers of kind stomp are in no file"},
		"unknown need":             {`level:observed`, `level:seen`, 35, "expected one of declared"},
		"not a need":               {`level:observed`, `layer:observed`, 35, "expected paper:, custody:"},
		"no kind of paper":         {`paper:letter/sealed`, `paper:Letter`, 35, "expected a kind of paper"},
		"empty scope":              {`paper:letter/sealed`, `paper:letter/`, 35, "expected a kind of paper"},
		"a permit of nobody":       {`permitted-by:xx.one`, `permitted-by:xx.on`, 49, "no permit is called xx.on"},
		"permits in a circle":      {`"needs": ["paper:letter/sealed"`, `"needs": ["permitted-by:xx.one"`, 35, "itself needs permits"},
		"empty list":               {`[["paper:stamp"]`, `[[]`, 36, "none of them empty"},
		"obligation":               {`"code": "keep-it"`, `"code": "Keep"`, 37, "expected a code"},
		"no values":                {"[\n        {\"from\": \"2020-01-01\", \"until\": \"2021-01-01\", \"known\": \"2019-01-01\", \"ref\": \"An Act s 1\", \"boundary\": \"until 2020-12-31\"},\n        {\"from\": \"2021-01-01\", \"known\": \"2020-06-01\", \"ref\": \"An Act s 2\"}\n      ]", `[]`, 38, "values: expected at least one"},
		"overlap":                  {`"until": "2021-01-01"`, `"until": "2021-01-02"`, 38, "overlap by what was known on 2020-06-01"},
		"open overlap":             {`"until": "2021-01-01", "known": "2019-01-01", "ref": "An Act s 1", "boundary": "until 2020-12-31"`, `"known": "2019-01-01", "ref": "An Act s 1"`, 38, "overlap"},
		"backwards":                {`"until": "2021-01-01"`, `"until": "2019-01-01"`, 38, "before from"},
		"empty":                    {`"until": "2021-01-01"`, `"until": "2020-01-01"`, 38, "empty from"},
		"an end that is nothing":   {`"until": "2021-01-01"`, `"until": ""`, 39, "a date is empty"},
		"no such day":              {`"from": "2021-01-01"`, `"from": "2021-02-29"`, 40, "2021-02-29"},
		"no from":                  {`"from": "2021-01-01", `, ``, 38, "expected from"},
		"not known":                {`"known": "2020-06-01", `, ``, 38, "expected known"},
		"value without a source":   {`"ref": "An Act s 2"`, `"ref": ""`, 38, "a value has a source"},
		"ends":                     {`"ends": "sunset"`, `"ends": "sundown"`, 42, "ends: expected"},
		"grandfather":              {`"before": "2020-06-01", `, ``, 43, "grandfather: expected"},
		"grandfather's scope":      {`"papers": ["letter"]`, `"papers": ["letter/"]`, 43, "grandfather: expected kinds of papers"},
		"grandfather's paper":      {`"papers": ["letter"]`, `"papers": ["litter"]`, 43, "papers of kind litter"},
		"no source":                {`"sources": ["the Act"]`, `"sources": [""]`, 47, "at least one source"},
		"no sources":               {`      "sources": ["the Act"]`, `      "note": "n"`, 26, "at least one source"},
		"not checked":              {`"confirmed": true,` + "\n" + `      "checked": "2026-01-01",`, `"confirmed": true,`, 26, "checked: expected"},
		"review before":            {`"reviewBy": "2027-01-01",` + "\n", `"reviewBy": "2025-01-01",` + "\n", 46, "reviewBy: expected"},
		"review too far":           {`"reviewBy": "2027-01-01",` + "\n", `"reviewBy": "2099-01-01",` + "\n", 46, "within a year"},
		"no review":                {`      "reviewBy": "2027-01-01",` + "\n", ``, 26, "reviewBy: expected"},
		"unconfirmed without note": {`"confirmed": true,` + "\n", `"confirmed": false,` + "\n", 44, "expected a note"},
		"kind":                     {`"kind": "permit"`, `"kind": "allow"`, 28, "kind: expected"},
		"strength":                 {`"strength": "law"`, `"strength": "advice"`, 29, "strength: expected"},
		"where":                    {`"where": "rest"`, `"where": "there"`, 33, "where: expected"},
		"no title":                 {`"title": "There"`, `"title": ""`, 30, "title: expected"},
		"another regime's id":      {`"id": "xx.one"`, `"id": "yy.one"`, 27, "begins with xx."},
		"two of one id":            {`"id": "xx.two"`, `"id": "xx.one"`, 49, "another rule of that name"},
		"a lifting tag":            {`"kind": "permit"`, `"kind": "demand"`, 34, "a tag must never lift a demand"},
		"a demand of nothing":      {`"needs": ["permitted-by:xx.one"], `, ``, 49, "expected what the rule demands"},
		"an oblige of nothing":     {`"kind": "demand"`, `"kind": "oblige"`, 49, "expected what the rule obliges to"},
		"a forbid that obliges":    {`"kind": "permit"`, `"kind": "forbid"`, 34, "only in a permit"},
		"set: id":                  {`"id": "INNER"`, `"id": "inner"`, 23, "id: expected a name"},
		"set: two":                 {`"id": "INNER"`, `"id": "GROUP"`, 23, "another set of that name"},
		"set: unknown":             {`"@INNER"`, `"@OUTER"`, 16, "set @OUTER is in no file"},
		"set: circle":              {`{"place": "FR"`, `{"place": "@GROUP"`, 16, "within itself"},
		"set: for a time":          {`"@INNER", "from": "2000-01-01"`, `"@INNER", "from": "2000-01-01", "until": "2001-01-01"`, 16, "for a time only"},
		"set: no source":           {`"sources": ["a treaty"]`, `"sources": []`, 20, "sources: expected"},
		"set: not checked":         {"\"sources\": [\"a treaty\"],\n      \"checked\": \"2026-01-01\"", `"sources": ["a treaty"]`, 13, "checked: expected"},
		"set: place":               {`{"place": "DE"`, `{"place": "UK"`, 16, `"UK" is no code`},
		"set: overlap":             {`{"place": "@INNER"`, `{"place": "DE", "from": "2010-01-01", "known": "2010-01-01"}, {"place": "@INNER"`, 16, "overlap"},
		"a second file":            {"\n  ]\n}\n", "\n  ]\n}\n{}", 52, "after the closing brace"},
		"not closed":               {"\n  ]\n}\n", "\n  ]\n", 51, "ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, oneRegime, c.old)
			broken := strings.Replace(oneRegime, c.old, c.new, 1)
			_, err := residency.NewRuleset(residency.RuleFile{Name: "xx.json", Data: []byte(broken)})
			var where *residency.RuleError
			require.True(t, errors.As(err, &where), "%v", err)
			require.Equal(t, "xx.json", where.File)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.line, where.Line, "%v", err)
			require.ErrorContains(t, err, fmt.Sprintf("xx.json:%d: ", c.line))
		})
	}
}

// A vendor's files extend what ships: they add rules and append values, and never edit.
func TestExtend(t *testing.T) {
	r := rules(t)
	add := func(data string) (*residency.Ruleset, error) {
		return r.With(residency.RuleFile{Name: "vendor.json", Data: []byte(data)})
	}
	kenya := `{"extends": "eu-gdpr", "papers": {"ke-recipient": "a recipient"}, "rules": [{"id": "eu-gdpr.adequacy.ke", "kind": "permit", "strength": "law",
		"title": "Kenya", "places": ["KE"], "values": [{"from": "2027-02-01", "known": "2027-02-01", "ref": "a decision"}], "confirmed": true,
		"checked": "2026-11-22", "reviewBy": "2027-05-22", "sources": ["the decision"]}]}`
	more, err := add(kenya)
	require.NoError(t, err)
	q := ask("DE", "KE", "no:scc no:bcr")
	q.Target.Exposure.Operator = "KE"
	q.Subject.Tags = []residency.Tag{"de-statutory"}
	q.Target.Papers = append(q.Target.Papers, papers("c5/type-2 de-establishment location-attestation/KE")...)
	for asOf, want := range map[string]residency.Verdict{"2027-01-31": D, "2027-02-01": A} {
		q.AsOf = day(t, asOf)
		require.Equal(t, want, decide(t, more, q).Verdict, "%s: %s", asOf, explain(decide(t, more, q)))
		require.Equal(t, D, decide(t, r, q).Verdict)
	}

	// A judgment: the framework is void from a day on, and what was known before can still be asked.
	voided, err := add(`{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.adequacy.us-dpf", "amends": true,
		"values": [{"from": "2023-07-10", "until": "2026-11-20", "known": "2026-11-20", "ref": "a judgment"}],
		"checked": "2026-11-21", "reviewBy": "2027-11-21", "sources": ["the judgment"]}]}`)
	require.NoError(t, err)
	q = ask("IE", "aws us-east-1", "dpf-listing no:scc no:bcr")
	d := decide(t, voided, q)
	require.Equal(t, D, d.Verdict)
	require.Contains(t, explain(d), "no longer in force on 2026-11-22")
	q.Known = day(t, "2026-11-19")
	require.Equal(t, A, decide(t, voided, q).Verdict)

	// One that was void from the beginning.
	never, err := add(`{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.adequacy.us-dpf", "amends": true,
		"values": [{"from": "2023-07-10", "until": "2023-07-10", "known": "2026-11-20", "ref": "a judgment"}],
		"checked": "2026-11-21", "reviewBy": "2027-11-21", "sources": ["the judgment"]}]}`)
	require.NoError(t, err)
	q.Known, q.AsOf = residency.Day{}, day(t, "2024-01-01")
	require.Equal(t, D, decide(t, never, q).Verdict)
	require.Equal(t, A, decide(t, voided, q).Verdict)

	confirmed, err := r.With(residency.RuleFile{Name: "v.json", Data: []byte(`{"extends": "uk-gdpr", "rules": [{"id": "uk-gdpr.adequate.fo", "amends": true,
		"values": [], "confirmed": true, "checked": "2026-11-21", "reviewBy": "2027-11-21", "sources": ["Schedule 21"]}]}`)})
	require.NoError(t, err)
	require.Equal(t, A, decide(t, confirmed, ask("GB", "FO", "")).Verdict)

	for want, data := range map[string]string{
		"there is no regime":         strings.ReplaceAll(kenya, "eu-gdpr", "eu-gdp"),
		"another rule of that name":  strings.ReplaceAll(kenya, "eu-gdpr.adequacy.ke", "eu-gdpr.adequacy.ch"),
		"another meaning":            strings.Replace(kenya, `"ke-recipient"`, `"scc"`, 1),
		"expected a regime":          strings.Replace(kenya, `"extends": "eu-gdpr"`, `"extends": "eu-gdpr", "default": "allow"`, 1),
		"regime or extends":          strings.Replace(kenya, `"extends": "eu-gdpr"`, `"extends": "eu-gdpr", "regime": "eu-gdpr"`, 1),
		"no rule of that name":       `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.x", "amends": true, "values": [], "checked": "2026-11-21", "sources": ["s"]}]}`,
		"is not edited":              `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.union", "amends": true, "places": ["CN"], "values": [], "checked": "2026-11-21", "sources": ["s"]}]}`,
		"overlap by what was known":  `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.union", "amends": true, "values": [{"from": "2026-01-01", "known": "2026-01-01", "ref": "x"}], "checked": "2026-11-21", "reviewBy": "2027-01-01", "sources": ["s"]}]}`,
		"reviewBy: expected the day": `{"extends": "eu-gdpr", "rules": [{"id": "eu-gdpr.union", "amends": true, "values": [], "checked": "2026-11-22", "sources": ["s"]}]}`,
		"or sets alone":              `{"papers": {"x": "y"}}`,
		"another file of eu-gdpr":    strings.Replace(oneRegime, `"regime": "xx"`, `"regime": "eu-gdpr"`, 1),
	} {
		if want == "another file of eu-gdpr" {
			data = strings.ReplaceAll(data, `"xx.`, `"eu-gdpr.`)
			data = strings.ReplaceAll(data, `permitted-by:xx.`, `permitted-by:eu-gdpr.`)
		}
		_, err := add(data)
		var where *residency.RuleError
		require.True(t, errors.As(err, &where), "%s: %v", want, err)
		require.Equal(t, "vendor.json", where.File)
		require.ErrorContains(t, err, want)
	}

	// The order of files does not matter, nor what the caller does with the bytes afterwards.
	a := residency.RuleFile{Name: "a.json", Data: []byte(oneRegime)}
	b := residency.RuleFile{Name: "b.json", Data: []byte(strings.NewReplacer("xx", "yy", "GROUP", "GROUPS", "INNER", "INSIDE", `"letter"`, `"letters"`, "paper:letter", "paper:letters",
		`"stamp"`, `"stamps"`, "paper:stamp", "paper:stamps").Replace(oneRegime))}
	ab, err := residency.NewRuleset(a, b)
	require.NoError(t, err)
	ba, err := residency.NewRuleset(b)
	require.NoError(t, err)
	ba, err = ba.With(a)
	require.NoError(t, err)
	require.Equal(t, ab.Digest(), ba.Digest())
	clear(a.Data)
	_, err = ab.Enable("xx.one")
	require.NoError(t, err)
}

// Every word of every enumeration is read as it is written, and nothing else is.
func TestWords(t *testing.T) {
	check := func(all any, words ...string) {
		text, err := json.Marshal(all)
		require.NoError(t, err)
		require.JSONEq(t, `["`+strings.Join(words, `","`)+`"]`, string(text))
	}
	check([]residency.Verdict{U, D, A}, "unknown", "denied", "allowed")
	check([]residency.Class{0, 1, 2, 3, 4, 5, 6}, "unclassified", "operational", "deidentified", "business", "demographic", "clinical", "identifiable")
	check([]residency.Purpose{0, 1, 2, 3, 4}, "storage", "restore-test", "recovery", "migration", "exit")
	check([]residency.Level{0, 1, 2, 3}, "declared", "inferred", "observed", "attested")
	check([]residency.Holder{0, 1, 2, 3}, "unknown", "customer", "third-party", "provider")
	require.Equal(t, "invalid 9", residency.Class(9).String())
	require.Equal(t, "identifiable", fmt.Sprint(residency.Identifiable))
	for _, bad := range []any{residency.Verdict(3), residency.Class(-1), residency.Purpose(5), residency.Level(4), residency.Holder(4)} {
		_, err := json.Marshal(bad)
		require.Error(t, err)
	}
	for _, word := range []string{`"Allowed"`, `""`, `" allowed"`, `2`, `"e2"`} {
		for _, to := range []any{new(residency.Verdict), new(residency.Class), new(residency.Purpose), new(residency.Level), new(residency.Holder)} {
			require.Error(t, json.Unmarshal([]byte(word), to), word)
		}
	}
	var q residency.Request
	require.NoError(t, json.Unmarshal([]byte(`{"subject":{"class":"clinical"},"purpose":"exit","target":{"location":{"level":"attested"},"custody":{"holder":"third-party"}}}`), &q))
	require.Equal(t, residency.Clinical, q.Subject.Class)
	require.Equal(t, residency.ThirdPartyHeld, q.Target.Custody.Holder)
}

// Whatever decodes can be asked, and no input makes the decoder panic.
func FuzzNewRuleset(f *testing.F) {
	f.Add([]byte(oneRegime))
	f.Add([]byte(`{"sets":[{"id":"EU","title":"t","members":[{"place":"DE","from":"2000-01-01","known":"2000-01-01"}],"sources":["s"],"checked":"2026-01-01"}]}`))
	f.Add([]byte(`{"extends":"x","rules":[{"id":"x.y","amends":true}]}`))
	f.Add([]byte(`{"regime":"x","rules":[{}],"papers":{"é":"","reviewby":1}}`))
	f.Add([]byte("[[{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := slices.Clone(data)
		r, err := residency.NewRuleset(residency.RuleFile{Name: "fuzz.json", Data: data})
		require.Equal(t, before, data)
		if err != nil {
			var where *residency.RuleError
			require.True(t, errors.As(err, &where), "%v", err)
			require.GreaterOrEqual(t, where.Line, 1)
			require.LessOrEqual(t, where.Line, 1+strings.Count(string(data), "\n"))
			require.Nil(t, r)
			return
		}
		q := ask("DE", "FR", "letter")
		d, err := r.Decide(q)
		require.NoError(t, err)
		require.Len(t, d.Ruleset, 64)
		_, err = json.Marshal(d)
		require.NoError(t, err)
		for _, one := range r.Rules() {
			_, err := r.EndRule(one.ID, day(t, "2020-01-01"))
			require.NoError(t, err)
		}
	})
}
