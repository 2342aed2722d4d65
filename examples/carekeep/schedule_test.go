package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scheduled calls the command without a repository.
func scheduled(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	c := &caller{t: t, host: t.TempDir()}
	return c.run(want, append([]string{"schedule"}, args...)...)
}

func TestSchedule(t *testing.T) {
	out, _ := scheduled(t, exitComplete, "--file", "schedule.json", "--at", "2026-12-24 20:10", "--next", "3")
	require.Contains(t, out, "at Thu 2026-12-24 20:10 AEDT\n")
	require.Contains(t, out, "due   nightly@2026-12-24        opened Thu 2026-12-24 20:00 AEDT, ends by Fri 2026-12-25 06:00 AEDT\n")
	require.Contains(t, out, "due   noon@2026-12-24           opened Thu 2026-12-24 12:30 AEDT, ends by Fri 2026-12-25 06:00 AEDT; missed, and caught up")
	require.Equal(t, 3, strings.Count(out, "\nnext  nightly@"), "noon does not run on Christmas Day and on the weekend")

	out, _ = scheduled(t, exitComplete, "--file", "schedule.json", "--at", "2026-12-24T09:10:00Z", "--done", "noon@2026-12-24", "--done", "nightly@2026-12-24", "--json")
	runs := records(t, out)
	require.Len(t, runs, 5)
	require.Equal(t, "next", runs[0]["type"])
	require.Equal(t, "nightly@2026-12-25", runs[0]["id"])
	out, _ = scheduled(t, exitComplete, "--file", "schedule.json", "--at", "2026-12-24 19:00", "--next", "0",
		"--done", "noon@2026-12-24", "--done", "nightly@2026-12-23")
	require.Contains(t, out, "due   nothing\nnext  nothing\n")
}

func TestScheduleOfOtherNotations(t *testing.T) {
	ics := filepath.Join(t.TempDir(), "holidays.ics")
	require.NoError(t, os.WriteFile(ics, []byte("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261127\r\nSUMMARY:Show Day\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"), 0o600))
	out, _ := scheduled(t, exitComplete, "--cron", "0 20 * * 1-5", "--calendar", "Sat 12:00", "--length", "2h", "--ics", ics, "--print")
	require.Contains(t, out, `"2026-11-27": "Show Day"`)
	// What is printed is read again, and says the same.
	name := file(t, out)
	again, _ := scheduled(t, exitComplete, "--file", name, "--print")
	require.Equal(t, out, again)
	out, _ = scheduled(t, exitComplete, "--file", name, "--at", "2026-11-26 12:00", "--next", "3")
	require.Contains(t, out, "next  cron@2026-11-26           starts Thu 2026-11-26 20:00 UTC, ends by Thu 2026-11-26 22:00 UTC")
	require.Contains(t, out, "next  cron@2026-11-27 ", "a holiday alone suppresses nothing")
	require.Contains(t, out, "next  calendar@2026-11-28       starts Sat 2026-11-28 12:00 UTC")
}

func TestWrongSchedules(t *testing.T) {
	const window = `{"name":"n","opens":"20:00","length":"10h","holidays":"run"}`
	for content, reason := range map[string]string{
		"":                               "empty or breaks off",
		`{"windows":[` + window:          "empty or breaks off",
		`{"windows":[` + window + `]}{}`: "more after its end",
		`{"windows":[]}`:                 "at least one window",
		`{"window":[` + window + `]}`:    "unknown field",
		`{"windows":[],"Windows":[]}`:    "given twice",
		`[]`:                             "cannot unmarshal array",
		`{"windows":[{"name":"n"}]}`:     "length is missing",
		`{"windows":[` + window + "," + window + `]}`:                 "two windows of this name",
		`{"zone":{"location":"Atlantis"},"windows":[` + window + `]}`: "Atlantis",
	} {
		_, errs := scheduled(t, exitUsage, "--file", file(t, content))
		require.Contains(t, errs, reason, content)
	}
	good := file(t, `{"windows":[`+window+`]}`)
	for reason, args := range map[string][]string{
		"at least one window": nil,
		"gone":                {"--file", filepath.Join(t.TempDir(), "gone")},
		"--at":                {"--file", good, "--at", "tomorrow"},
		"not negative":        {"--file", good, "--next=-1"},
		"calendar file":       {"--file", good, "--ics", good},
		"--cron":              {"--cron", "@reboot"},
		"--calendar":          {"--calendar", "sometimes"},
	} {
		_, errs := scheduled(t, exitUsage, args...)
		require.Contains(t, errs, reason, args)
	}
}
