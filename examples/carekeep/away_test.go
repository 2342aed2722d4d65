package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMigrateWithoutADisk: a disk that is not connected is not made anew, as an empty one would have lost everything.
func TestMigrateWithoutADisk(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, three...)
	dir := tree(t)
	g.run(exitComplete, "init")
	g.run(exitComplete, "backup", dir)
	g.write(`{"copies": 3, "mustReach": 2}`, append(three, places{"brisbane", "AU-QLD", `, "operator": "three", "exposure": {"operator": "AU"}`})...)
	person := []string{"--person", "Dr Ada", "--cause", "contract-changed"}
	move := append([]string{"sites", "migrate", "--from", "melbourne", "--to", "brisbane"}, person...)
	g.run(exitComplete, append(move, "--dry-run")...)
	require.NoDirExists(t, g.path("brisbane"), "a plan makes nothing")

	require.NoError(t, os.Rename(g.path("sydney"), g.path("unplugged")))
	_, errs := g.run(exitComplete, "sites", "migrate", "--resume", "--to", "sydney")
	require.Contains(t, errs, "site sydney: its folder does not exist")
	require.Contains(t, errs, "site brisbane: its folder does not exist")
	require.NoDirExists(t, g.path("sydney"))
	require.NoDirExists(t, g.path("brisbane"))
	_, errs = g.run(exitFailed, move...)
	require.Contains(t, errs, "site sydney: its folder does not exist")
	require.NoDirExists(t, g.path("sydney"))
	require.DirExists(t, g.path("brisbane"))

	require.NoError(t, os.Rename(g.path("unplugged"), g.path("sydney")))
	g.run(exitComplete, "sites", "migrate", "--resume")
	left, err := filepath.Glob(filepath.Join(g.path("melbourne"), "[a-z]*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestNotedHeads: a head that was noted is of the chain of one site, and must be there.
func TestNotedHeads(t *testing.T) {
	g := newGroup(t, `{"mustReach": 2}`, three...)
	g.run(exitComplete, "init")
	evidence := func(want int, heads ...string) (string, string) {
		t.Helper()
		args := []string{"sites", "evidence", "--out", g.path("trail.jsonl")}
		for _, h := range heads {
			args = append(args, "--head", h)
		}
		return g.run(want, args...)
	}
	out, _ := evidence(exitComplete)
	var heads []string
	for line := range strings.Lines(out) {
		if h, ok := strings.CutPrefix(line, "  head "); ok {
			heads = append(heads, strings.TrimSpace(h))
		}
	}
	require.Len(t, heads, 3, "one for each site")
	evidence(exitComplete, heads...)

	chain := filepath.Join(g.path("sydney"), "%2erouter", "evidence")
	require.DirExists(t, chain)
	require.NoError(t, os.RemoveAll(chain))
	_, errs := evidence(exitFailed, heads...)
	require.Contains(t, errs, "the head "+heads[1]+" is in the sound evidence of no site")
	require.NotContains(t, errs, heads[0])
	require.NotContains(t, errs, heads[2])
	evidence(exitComplete, heads[0], heads[2])

	for _, s := range three {
		blocks, err := filepath.Glob(filepath.Join(g.path(s.name), "%2erouter", "evidence", "*", "*"))
		require.NoError(t, err)
		require.NotEmpty(t, blocks)
		for _, b := range blocks {
			require.NoError(t, os.WriteFile(b, []byte("not a block"), 0o600))
		}
	}
	_, errs = evidence(exitFailed, heads[0])
	require.Contains(t, errs, "the head "+heads[0]+" is in the sound evidence of no site")
	evidence(exitFailed)
}

// TestOverridesOfOneSite: the one that holds counts, else the next to begin, whatever their order.
func TestOverridesOfOneSite(t *testing.T) {
	abroad := places{"oregon", "US-OR", `, "operator": "three", "exposure": {"operator": "US"}, "papers": [
		{"kind": "au-similar-protection", "refuted": true}, {"kind": "patient-consent", "refuted": true}]`}
	g := newGroup(t, `{"copies": 2, "mustReach": 1}`, three[0], abroad)
	text, err := os.ReadFile(g.path("sites.json"))
	require.NoError(t, err)
	overrides := func(all ...exception) {
		for i := range all {
			all[i].Person, all[i].Reason, all[i].Write = "Dr Ada", "flood", true
		}
		list, err := json.Marshal(all)
		require.NoError(t, err)
		changed := strings.Replace(string(text), `"placement"`, `"overrides": `+string(list)+`, "placement"`, 1)
		require.NoError(t, os.WriteFile(g.path("sites.json"), []byte(changed), 0o600))
	}
	exempt := func(site, id string, from, until int) exception {
		return exception{Site: site, ID: id, From: lawful.AddDate(0, 0, from), Until: lawful.AddDate(0, 0, until)}
	}
	overrides(exempt("oregon", "later", 20, 21), exempt("oregon", "older", -9, -8), exempt("oregon", "first", -2, -1),
		exempt("oregon", "second", 1, 2), exempt("office", "other", 0, 7), exempt("oregon", "third", 3, 4))
	for at, want := range map[int]string{
		-10: "override older has no effect yet", -9: "override older allows this until",
		-8: "override first has no effect yet", -2: "override first allows this until",
		-1: "override second has no effect yet", 0: "override second has no effect yet",
		1: "override second allows this until", 2: "override third has no effect yet", 3: "override third allows this until",
		4: "override later has no effect yet", 20: "override later allows this until", 21: "override later has no effect any more",
	} {
		g.at = lawful.AddDate(0, 0, at)
		code := exitFailed
		if strings.Contains(want, "allows") {
			code = exitComplete
		}
		out, _ := g.run(code, "sites", "decide", "oregon")
		require.Contains(t, out, want, "day %d", at)
	}

	g.at = lawful.AddDate(0, 0, 3)
	g.run(exitComplete, "init")
	require.DirExists(t, filepath.Join(g.path("oregon"), "keys"), "the router heeds the one that holds")
	g.run(exitComplete, "sites", "register", "--out", g.path("places.json"))
	page, err := os.ReadFile(g.path("places.json"))
	require.NoError(t, err)
	for _, id := range []string{"older", "first", "second", "third", "later", "other"} {
		require.Contains(t, string(page), `"`+id+`"`)
	}

	overrides(exempt("perth", "o-1", 0, 1))
	for _, args := range [][]string{{"sites", "decide"}, {"sites", "status"}} {
		_, errs := g.run(exitUsage, args...)
		require.Contains(t, errs, `the override "o-1": the file of sites has no site "perth"`)
	}
}
