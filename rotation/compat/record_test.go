package compat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
	"github.com/carekeep/carekeep/rotation/compat"
)

var record = flag.Bool("record", false, "record testdata again with the programs on the PATH; needs Linux and takes minutes")

// place is where the recorded machines stand.
const place = "Australia/Sydney"

// recorded are the series that the programs are asked about.
func recorded(t *testing.T) map[string][]time.Time {
	loc, err := time.LoadLocation(place)
	require.NoError(t, err)
	at := func(y int, m time.Month, d, h, min int) time.Time { return time.Date(y, m, d, h, min, 0, 0, loc) }
	series := map[string][]time.Time{}
	add := func(name string, times ...time.Time) { series[name] = append(series[name], times...) }
	// Around two turns of the year: 2020 has an ISO week 53, and 1 January 2026 is in week 1 with days of December.
	for d := range 22 {
		add("new-year", at(2020, 12, 22+d, 20, 0))
	}
	for d := range 22 {
		add("new-year", at(2025, 12, 22+d, 20, 0))
	}
	// The clocks change at 03:00 on 5 April and at 02:00 on 4 October 2026.
	fold := time.Date(2026, 4, 4, 13, 30, 0, 0, time.UTC)
	for h := range 6 {
		add("clocks", fold.Add(time.Duration(h)*time.Hour), fold.Add(time.Duration(h)*time.Hour+15*time.Minute))
	}
	gap := time.Date(2026, 10, 3, 13, 30, 0, 0, time.UTC)
	for h := range 6 {
		add("clocks", gap.Add(time.Duration(h)*time.Hour), gap.Add(time.Duration(h)*time.Hour+15*time.Minute))
	}
	// Ends of months, at an hour that is another day in UTC, with holes.
	for m := range 40 {
		if m%7 != 3 {
			add("months", at(2023, time.Month(m+2), 0, 8, 30))
		}
	}
	// A weekly run for a year: the numbers of weeks look like months.
	for w := range 52 {
		add("weeks", at(2025, 1, 5+7*w, 21, 0))
	}
	// A month of nights, and one point from the future.
	for d := range 31 {
		add("future", at(2026, 9, 20+d, 20, 0))
	}
	add("future", at(2090, 1, 1, 20, 0))
	for _, times := range series {
		slices.SortFunc(times, time.Time.Compare)
		for i := range times {
			times[i] = times[i].UTC()
		}
	}
	return series
}

// rules are the cases for every series.
func rules(program string) (list []any) {
	zone := rotation.Zone{Location: must(time.LoadLocation(place))}
	switch program {
	case "restic":
		for _, r := range []compat.Restic{
			{Last: 3}, {Hourly: 5}, {Daily: 7}, {Weekly: 4}, {Monthly: 6}, {Yearly: 2}, {Daily: 7, Weekly: 5, Monthly: 12, Yearly: 3},
			{Weekly: compat.Unlimited}, {Within: compat.Duration{Days: 14}}, {Within: compat.Duration{Months: 1, Hours: 12}},
			{WithinDaily: compat.Duration{Days: 10}, WithinWeekly: compat.Duration{Months: 2}, WithinYearly: compat.Duration{Years: 10}},
			{WithinHourly: compat.Duration{Hours: 30}, WithinMonthly: compat.Duration{Years: 1, Months: 1}, Last: 1},
		} {
			r.Zone = zone
			list = append(list, r)
		}
	case "borg":
		for _, r := range []compat.Borg{
			{Secondly: 3}, {Minutely: 4}, {Hourly: 5}, {Daily: 7}, {Weekly: 4}, {Monthly: 6}, {Yearly: 2},
			{Daily: 7, Weekly: 5, Monthly: 12, Yearly: 3}, {Daily: 3, Yearly: 20}, {Weekly: compat.Unlimited},
			{Within: 70 * 24 * time.Hour}, {Within: 70 * 24 * time.Hour, Daily: 2, Monthly: 3},
		} {
			r.Zone = zone
			list = append(list, r)
		}
	case "kopia":
		for _, r := range []compat.Kopia{
			{Latest: 3}, {Hourly: 5}, {Daily: 7}, {Weekly: 4}, {Weekly: 52}, {Monthly: 6}, {Annual: 2},
			{Latest: 10, Hourly: 48, Daily: 7, Weekly: 4, Monthly: 24, Annual: 3}, {Weekly: 52, Monthly: 24}, {Daily: 30, Annual: 9},
		} {
			r.Zone = zone
			list = append(list, r)
		}
	}
	return list
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestRecord asks the programs themselves:
//
//	go test ./rotation/compat -run TestRecord -record -timeout 60m -v
func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("give -record to record testdata again")
	}
	for _, p := range []program{restic{}, borg{}, kopia{}} {
		t.Run(p.name(), func(t *testing.T) {
			t.Parallel()
			g := golden{Program: p.name(), Version: p.version(t), Series: recorded(t)}
			for _, name := range slices.Sorted(mapKeys(g.Series)) {
				m := machine{t: t, dir: t.TempDir()}
				require.NoError(t, os.Mkdir(filepath.Join(m.dir, "src"), 0o700))
				p.fill(m, g.Series[name])
				g.Recorded = time.Now().UTC().Truncate(time.Second)
				for _, r := range rules(p.name()) {
					b, err := json.Marshal(r)
					require.NoError(t, err)
					options, kept := p.keep(m, r)
					slices.SortFunc(kept, time.Time.Compare)
					g.Cases = append(g.Cases, goldenCase{name, options, b, kept})
				}
			}
			b, err := json.MarshalIndent(g, "", " ")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join("testdata", p.name()+".json"), append(compact(b), '\n'), 0o600))
		})
	}
}

func mapKeys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// compact puts lists of times and options on few lines.
func compact(b []byte) []byte {
	var out bytes.Buffer
	for i, line := range strings.Split(string(b), "\n") {
		text := strings.TrimLeft(line, " ")
		if deep := len(line) - len(text); i > 0 && (deep < 4) {
			out.WriteString("\n" + line[:deep])
		}
		out.WriteString(text)
	}
	return out.Bytes()
}

type program interface {
	name() string
	version(t *testing.T) string
	fill(m machine, times []time.Time)
	keep(m machine, rules any) (options []string, kept []time.Time)
}

// machine runs programs in a folder of its own, in the zone of the place.
type machine struct {
	t   *testing.T
	dir string
}

func (m machine) run(tz string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "TZ="+tz, "HOME="+m.dir, "RESTIC_REPOSITORY="+m.dir+"/repo", "RESTIC_PASSWORD=x",
		"BORG_REPO="+m.dir+"/repo", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "KOPIA_PASSWORD=x", "KOPIA_CHECK_FOR_UPDATES=false")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(m.t, cmd.Run(), "%v: %s", args, stderr.String())
	if args[0] == "borg" {
		return stderr.String() // its lists are log lines
	}
	return stdout.String()
}

// flags turns numbers that are not zero into options.
func flags(format string, numbers map[string]int) (options []string) {
	for _, name := range slices.Sorted(mapKeys(numbers)) {
		if n := numbers[name]; n != 0 {
			options = append(options, fmt.Sprintf(format, name, n))
		}
	}
	return options
}

type restic struct{}

func (restic) name() string { return "restic" }

func (restic) version(t *testing.T) string {
	return strings.Fields(machine{t, t.TempDir()}.run("UTC", "restic", "version"))[1]
}

func (restic) fill(m machine, times []time.Time) {
	m.run("UTC", "restic", "init", "-q")
	loc := must(time.LoadLocation(place))
	for _, at := range times {
		// The zone's offset at that time, so that the second of two equal civil times can be named.
		at = at.In(loc)
		_, offset := at.Zone()
		m.run(fmt.Sprintf("Etc/GMT-%d", offset/3600), "restic", "backup", "-q", "--time", at.Format(time.DateTime), "src")
	}
}

func (restic) keep(m machine, rules any) (options []string, kept []time.Time) {
	r := rules.(compat.Restic)
	options = flags("--keep-%s=%d", map[string]int{
		"last": r.Last, "hourly": r.Hourly, "daily": r.Daily, "weekly": r.Weekly, "monthly": r.Monthly, "yearly": r.Yearly,
	})
	for i, o := range options {
		options[i] = strings.Replace(o, "=-1", "=unlimited", 1)
	}
	within := map[string]compat.Duration{
		"": r.Within, "-hourly": r.WithinHourly, "-daily": r.WithinDaily, "-weekly": r.WithinWeekly, "-monthly": r.WithinMonthly,
		"-yearly": r.WithinYearly,
	}
	for _, name := range slices.Sorted(mapKeys(within)) {
		if d := within[name]; d != (compat.Duration{}) {
			options = append(options, fmt.Sprintf("--keep-within%s=%dy%dm%dd%dh", name, d.Years, d.Months, d.Days, d.Hours))
		}
	}
	var groups []struct {
		Keep []struct{ Time time.Time } `json:"keep"`
	}
	out := m.run(place, slices.Concat([]string{"restic", "forget", "--dry-run", "--json"}, options)...)
	out, _, _ = strings.Cut(out, "\n") // a sentence follows
	require.NoError(m.t, json.Unmarshal([]byte(out), &groups), out)
	require.Len(m.t, groups, 1)
	for _, s := range groups[0].Keep {
		kept = append(kept, s.Time.UTC())
	}
	return options, kept
}

type borg struct{}

func (borg) name() string { return "borg" }

func (borg) version(t *testing.T) string {
	m := machine{t, t.TempDir()}
	out, err := exec.Command("borg", "--version").Output()
	require.NoError(m.t, err)
	return strings.Fields(string(out))[1]
}

func (borg) fill(m machine, times []time.Time) {
	m.run("UTC", "borg", "init", "-e", "none")
	for _, at := range times {
		m.run("UTC", "borg", "create", "--timestamp", at.UTC().Format("2006-01-02T15:04:05"), "::"+strconv.FormatInt(at.Unix(), 10), "src")
	}
}

func (borg) keep(m machine, rules any) (options []string, kept []time.Time) {
	r := rules.(compat.Borg)
	options = flags("--keep-%s=%d", map[string]int{
		"secondly": r.Secondly, "minutely": r.Minutely, "hourly": r.Hourly, "daily": r.Daily, "weekly": r.Weekly, "monthly": r.Monthly,
		"yearly": r.Yearly,
	})
	if r.Within > 0 {
		options = append(options, fmt.Sprintf("--keep-within=%dH", int(r.Within.Hours())))
	}
	out := m.run(place, slices.Concat([]string{"borg", "prune", "--dry-run", "--list"}, options)...)
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); strings.HasPrefix(line, "Keeping archive") {
			i := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "):") })
			sec, err := strconv.ParseInt(words[i+1], 10, 64)
			require.NoError(m.t, err, line)
			kept = append(kept, time.Unix(sec, 0).UTC())
		}
	}
	return options, kept
}

type kopia struct{}

func (kopia) name() string { return "kopia" }

func (kopia) version(t *testing.T) string {
	return strings.Fields(machine{t, t.TempDir()}.run("UTC", "kopia", "--version"))[0]
}

func (kopia) fill(m machine, times []time.Time) {
	m.run(place, "kopia", "repository", "create", "filesystem", "--path", m.dir+"/repo")
	kopiaPolicy(m, compat.Kopia{Latest: 100_000})
	for _, at := range times {
		at := at.UTC().Format("2006-01-02 15:04:05 MST")
		m.run(place, "kopia", "snapshot", "create", "--no-progress", "--start-time", at, "--end-time", at, "src")
	}
}

func kopiaPolicy(m machine, r compat.Kopia) (options []string) {
	for _, o := range []struct {
		name string
		n    int
	}{{"latest", r.Latest}, {"hourly", r.Hourly}, {"daily", r.Daily}, {"weekly", r.Weekly}, {"monthly", r.Monthly}, {"annual", r.Annual}} {
		options = append(options, fmt.Sprintf("--keep-%s=%d", o.name, o.n))
	}
	m.run(place, slices.Concat([]string{"kopia", "policy", "set", "--global"}, options)...)
	return options
}

func (kopia) keep(m machine, rules any) (options []string, kept []time.Time) {
	options = kopiaPolicy(m, rules.(compat.Kopia))
	var list []struct {
		StartTime        time.Time `json:"startTime"`
		RetentionReasons []string  `json:"retentionReason"`
	}
	require.NoError(m.t, json.Unmarshal([]byte(m.run(place, "kopia", "snapshot", "list", "--json", "-n", "100000")), &list))
	for _, s := range list {
		if len(s.RetentionReasons) > 0 {
			kept = append(kept, s.StartTime.UTC())
		}
	}
	return options, kept
}
