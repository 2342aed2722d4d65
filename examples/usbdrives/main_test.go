package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 10, 5, 9, 0, 0, 0, time.UTC)

func call(t *testing.T, args ...string) (code int, out, dir string) {
	dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	code = run(append([]string{"-out", dir, "-today", "2026-10-05"}, args...), now, &stdout, &stderr)
	return code, stdout.String() + stderr.String(), dir
}

func TestASoundRoutine(t *testing.T) {
	code, out, dir := call(t, "-drives", "2", "-routine", "same-day", "-staff", "Ann, Ben", "-practice", "Hill Street")
	require.Equal(t, exitGood, code, out)
	require.Contains(t, out, "Tonight")
	require.Contains(t, out, "takes home BLUE-")
	require.Contains(t, out, "Nothing offsite:                0.0 % of the time")
	page, err := os.ReadFile(filepath.Join(dir, "fridge.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "Hill Street")
	require.NotContains(t, string(page), "<script")
	ics, err := os.ReadFile(filepath.Join(dir, "swaps.ics"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(ics), "BEGIN:VCALENDAR\r\n"))
	require.Contains(t, string(ics), "Ben: take the backup drive BLUE-")
	svg, err := os.ReadFile(filepath.Join(dir, "calendar.svg"))
	require.NoError(t, err)
	require.Contains(t, string(svg), "BLUE-2")
}

func TestALeakyRoutineIsRefused(t *testing.T) {
	code, out, dir := call(t, "-drives", "2", "-routine", "next-day")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "Nothing offsite:                26.8 % of the time")
	require.Contains(t, out, "REFUSED")
	require.Contains(t, out, "take a third medium")
	require.FileExists(t, filepath.Join(dir, "fridge.html"), "to show what happens")
}

func TestWrongCalls(t *testing.T) {
	for want, args := range map[string][]string{"no media": {"-drives", "0"}, "expected next-day": {"-routine", "often"},
		"three numbers": {"-gfs", "4+4"}, "-today": {"-today", "5/10/2026"}, "-zone": {"-zone", "Melbourne"}, "-weeks": {"-weeks", "9"},
		"unexpected argument": {"tonight"}} {
		code, out, _ := call(t, args...)
		require.Equal(t, exitUsage, code, want)
		require.Contains(t, out, want)
	}
}

// The page fits one sheet of A4, also when it is full. It takes a browser, so it runs with the long tests.
func TestThePagePrintsOnOneSheet(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if os.Getenv("CAREKEEP_LONG") != "1" || err != nil {
		t.Skip("needs CAREKEEP_LONG=1 and chromium")
	}
	staff := "Dr Nguyen,Maria Papadopoulos-Whitfield,Ben,Chris"
	for _, args := range [][]string{{"-drives", "2"}, {"-drives", "64", "-weeks", "6"},
		{"-gfs", "4+5+12", "-routine", "early-friday", "-weeks", "6", "-staff", staff, "-contact", strings.Repeat("Harbour IT ", 12),
			"-practice", strings.Repeat("Kurrajong Road Medical Centre ", 4)}} {
		for weeks := range 6 {
			_, out, dir := call(t, append(args, "-weeks", string(rune('1'+weeks)))...)
			pdf := filepath.Join(dir, "fridge.pdf")
			cmd := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--user-data-dir="+t.TempDir(),
				"--print-to-pdf="+pdf, filepath.Join(dir, "fridge.html"))
			require.NoError(t, cmd.Run(), out)
			data, err := os.ReadFile(pdf)
			require.NoError(t, err)
			require.Len(t, regexp.MustCompile(`/Type\s*/Page\b`).FindAll(data, -1), 1, "%v, %d weeks", args, weeks+1)
		}
	}
}
