package residency_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/residency"
)

// regimeFile is what the tests below read of a file that ships.
type regimeFile struct {
	Regime string
	Binds  struct {
		Origins []residency.Place
		Tags    []residency.Tag
		All     bool
	}
	InForce      []residency.Value
	MaybeEarlier bool
	Rules        []ruleInFile
}

type ruleInFile struct {
	ID, Strength string
	Values       []residency.Value
}

// shippedFiles returns the files that ship, by their names.
func shippedFiles(t *testing.T) map[string][]byte {
	names, err := filepath.Glob("rules/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	files := map[string][]byte{}
	for _, name := range names {
		files[name], err = os.ReadFile(name)
		require.NoError(t, err)
	}
	return files
}

// alone returns what ships with one regime that binds somebody: what the others cover would hide what it does not.
func alone(t *testing.T, files map[string][]byte, id string) *residency.Ruleset {
	var out []residency.RuleFile
	var rules []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var f map[string]any
		require.NoError(t, json.Unmarshal(files[name], &f))
		switch f["regime"] {
		case nil:
		case id:
			for _, r := range f["rules"].([]any) {
				rules = append(rules, r.(map[string]any)["id"].(string))
			}
		default:
			f["binds"] = map[string]any{"tags": []string{"nobody"}}
			tags, _ := f["tags"].(map[string]any)
			f["tags"] = map[string]any{"nobody": "data of nobody"}
			maps.Copy(f["tags"].(map[string]any), tags)
		}
		text, err := json.Marshal(f)
		require.NoError(t, err)
		out = append(out, residency.RuleFile{Name: name, Data: text})
	}
	r, err := residency.NewRuleset(out...)
	require.NoError(t, err)
	r, err = r.Enable(rules...)
	require.NoError(t, err)
	return r
}

// Nothing is covered or bound on the day before a regime began, and on the day itself it is; where nobody knows since when,
// the days before are not known.
func TestFirstDays(t *testing.T) {
	files := shippedFiles(t)
	for name, text := range files {
		var f regimeFile
		require.NoError(t, json.Unmarshal(text, &f))
		if f.Regime == "" {
			continue
		}
		t.Run(f.Regime, func(t *testing.T) {
			require.NotEmpty(t, f.InForce, name)
			first := f.InForce[0].From
			for _, one := range f.Rules {
				for _, v := range one.Values {
					require.False(t, v.From.Before(first), "%s speaks from %s, before its regime", one.ID, v.From)
				}
			}
			r := alone(t, files, f.Regime)
			place := slices.Concat(f.Binds.Origins, places("DE"))[0]
			if one, ok := map[residency.Place]residency.Place{"@EEA": "IE", "@US": "US-OR", "@FR": "FR"}[place]; ok {
				place = one
			}
			q := ask(string(place), string(place), "")
			q.Target.Location.Level, q.Target.Location.At = residency.Observed, now
			q.Target.Exposure = residency.Exposure{Operator: place, Parent: place}
			if len(f.Binds.Origins) == 0 || f.Binds.All {
				q.Subject.Tags = f.Binds.Tags[:1]
			}
			covers := len(f.Binds.Origins) > 0 && slices.ContainsFunc(f.Rules, func(one ruleInFile) bool { return one.Strength != "guidance" })
			for _, eve := range []bool{true, false} {
				q.AsOf = first
				if eve {
					q.AsOf = first.AddDays(-1)
				}
				d := decide(t, r, q)
				uncovered := slices.ContainsFunc(d.Missing, func(m residency.Missing) bool { return m.Rule == "carekeep.origin" })
				require.Equal(t, eve || !covers, uncovered, "%s: %s", q.AsOf, explain(d))
				spoke := slices.ContainsFunc(d.Reasons, func(s residency.Reason) bool { return s.Regime == f.Regime })
				require.Equal(t, !eve || f.MaybeEarlier, spoke, "%s: %s", q.AsOf, explain(d))
				doubt := residency.Missing{Rule: f.Regime, Fact: "whether " + f.Regime + " bound on " + q.AsOf.String() + " already"}
				require.Equal(t, eve && f.MaybeEarlier, slices.Contains(d.Missing, doubt), "%s: %s", q.AsOf, explain(d))
			}
		})
	}
}

// Before its first day no rule denies, allows or asks, whatever is asked; on the day itself it does.
func TestFirstDaysOfRules(t *testing.T) {
	r := rules(t)
	w := newWorld(r)
	var unconfirmed []string
	for _, one := range r.Rules() {
		if !one.Confirmed {
			unconfirmed = append(unconfirmed, one.ID)
		}
	}
	r, err := r.Enable(unconfirmed...)
	require.NoError(t, err)
	// Data of everybody, in places that each regime has something to say about.
	q := ask("", "", "")
	q.Subject.Origins, q.Subject.Tags = append(places("DK NL CA-NB AU-QLD SA"), w.places[:len(w.places)-1]...), w.tags
	q.Target.Location = residency.Location{Places: places("DE US-HI CN CA-ON GB NZ"), Level: residency.Observed, At: now}
	q.Target.Exposure = residency.Exposure{Operator: "US", Parent: "CN", Support: places("IN")}
	type asked struct {
		on residency.Day
		of residency.Purpose
	}
	answers := map[asked]residency.Decision{} // many rules begin together
	answer := func(on residency.Day, of residency.Purpose) residency.Decision {
		if d, ok := answers[asked{on, of}]; ok {
			return d
		}
		q.AsOf, q.Purpose = on, of
		answers[asked{on, of}] = decide(t, r, q)
		return answers[asked{on, of}]
	}
	for _, one := range r.Rules() {
		first := slices.MinFunc(one.Values, func(a, b residency.Value) int { return a.From.Sub(b.From) }).From
		spoke := false
		for _, purpose := range []residency.Purpose{residency.Storage, residency.Recovery} {
			d := answer(first.AddDays(-1), purpose)
			for _, s := range d.Reasons {
				if s.Rule == one.ID {
					require.Contains(t, s.Text, "not yet in force", "%s", one.ID)
				}
			}
			spoke = spoke || slices.Contains(rulesOf(answer(first, purpose)), one.ID)
		}
		if one.Kind == "demand" || one.Kind == "forbid" { // an oblige speaks where all is allowed, and a permit where no earlier one does
			require.True(t, spoke, "%s on %s", one.ID, first)
		}
	}
}

// A regime says since when it binds, also where it allows by default.
func TestFirstDayIsAsked(t *testing.T) {
	for _, byDefault := range []string{"allow", "deny"} {
		_, err := residency.NewRuleset(residency.RuleFile{Name: "ke.json", Data: []byte(`{"regime": "ke", "title": "Kenya", "zone": "Africa/Nairobi",
			"binds": {"origins": ["KE"]}, "default": "` + byDefault + `", "rules": [
			{"id": "ke.china", "kind": "forbid", "strength": "law", "title": "not there", "places": ["CN"],
			"values": [{"from": "2020-01-01", "known": "2020-01-01", "ref": "an act"}], "confirmed": true,
			"checked": "2026-11-01", "reviewBy": "2027-02-01", "sources": ["the act"]}]}`)})
		require.ErrorContains(t, err, "inForce: expected since when the regime binds")
	}
}
