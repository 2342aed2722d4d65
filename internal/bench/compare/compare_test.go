package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary stand in for this program where it starts itself.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childEnv) != "":
		os.Exit(child(context.Background(), os.Stdin, os.Stdout))
	case os.Getenv("COMPARE_TEST_EXIT") == "1":
		os.Stderr.WriteString("out of luck\n")
		os.Exit(1)
	case os.Getenv("COMPARE_TEST_MEMORY") == "1":
		b := make([]byte, 64<<20)
		for i := range b {
			b[i] = 1
		}
		runtime.KeepAlive(b)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o640))
	old := time.Date(2020, 1, 2, 3, 4, 5, 600, time.UTC)
	require.NoError(t, os.Chtimes(path, old, old))
	return path
}

func sample(t *testing.T) string {
	dir := t.TempDir()
	for _, n := range []string{"a", "b", "c/d", "c/e", "c/f/g", "h"} {
		write(t, dir, n, strings.Repeat(n, 20_000))
	}
	write(t, dir, "empty", "")
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "link")))
	return dir
}

func things(t *testing.T, dir string) map[string]thing {
	t.Helper()
	m, err := inventory(t.Context(), dir)
	require.NoError(t, err)
	return m
}

func TestMirrorIsExactAndTouchesOnlyWhatDiffers(t *testing.T) {
	src, dst := sample(t), filepath.Join(t.TempDir(), "copy")
	require.NoError(t, mirror(t.Context(), dst, src))
	require.Equal(t, things(t, src), things(t, dst))
	before, err := os.Stat(filepath.Join(dst, "c", "d"))
	require.NoError(t, err)

	require.NoError(t, liveDay(t.Context(), dst))
	require.NotEqual(t, things(t, src), things(t, dst))
	require.NoError(t, os.Remove(filepath.Join(dst, "link")))
	write(t, dst, "link/now-a-folder", "x")
	require.NoError(t, mirror(t.Context(), dst, src))
	require.Equal(t, things(t, src), things(t, dst))

	after, err := os.Stat(filepath.Join(dst, "c", "d"))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
}

func TestLiveDayIsTheSameEveryTime(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	src := sample(t)
	for _, dir := range []string{a, b} {
		require.NoError(t, mirror(t.Context(), dir, src))
		require.NoError(t, liveDay(t.Context(), dir))
	}
	x, y := things(t, a), things(t, b)
	for _, m := range []map[string]thing{x, y} {
		for name, v := range m {
			v.time = time.Time{}
			m[name] = v
		}
	}
	require.Equal(t, x, y)
	sorts := map[string]int{}
	for name := range x {
		sorts[filepath.Ext(name)]++
	}
	require.Equal(t, map[string]int{"": 8, ".renamed": 1, ".new": 1}, sorts, "10 names, 1 deleted, 1 new")
}

func TestDifferencesFindsEverySort(t *testing.T) {
	src := sample(t)
	for what, damage := range map[string]func(dir string) error{
		"missing":            func(dir string) error { return os.Remove(filepath.Join(dir, "h")) },
		"too many":           func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"with other content": func(dir string) error { return flip(filepath.Join(dir, "a")) },
		"with another time":  func(dir string) error { return os.Chtimes(filepath.Join(dir, "b"), time.Now(), time.Now()) },
		folderTimes:          func(dir string) error { return os.Chtimes(filepath.Join(dir, "c"), time.Now(), time.Now()) },
		"of another kind": func(dir string) error {
			os.Remove(filepath.Join(dir, "b"))
			return os.Mkdir(filepath.Join(dir, "b"), 0o750)
		},
		"with another mode": func(dir string) error { return os.Chmod(filepath.Join(dir, "b"), 0o400) },
		"such as \"link\"": func(dir string) error {
			os.Remove(filepath.Join(dir, "link"))
			return os.Symlink("b", filepath.Join(dir, "link"))
		},
	} {
		dst := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, mirror(t.Context(), dst, src))
		list, grave := differences(things(t, src), things(t, dst))
		require.Empty(t, list)
		require.False(t, grave)
		require.NoError(t, damage(dst))
		list, grave = differences(things(t, src), things(t, dst))
		require.Len(t, list, 1)
		require.Contains(t, list[0], what)
		require.Equal(t, what != folderTimes, grave)
	}
}

// flip changes one byte and nothing else that a file shows.
func flip(name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o640); err != nil {
		return err
	}
	return os.Chtimes(name, fi.ModTime(), fi.ModTime())
}

func TestMeasure(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	s := spec{Program: self, Env: []string{"COMPARE_TEST_MEMORY=1"}, Dir: t.TempDir(), Log: filepath.Join(t.TempDir(), "log")}
	u, err := measure(t.Context(), s)
	require.NoError(t, err)
	require.Positive(t, u.Wall)
	require.Positive(t, u.CPU)
	if runtime.GOOS == "linux" {
		require.Greater(t, u.Memory, int64(64<<20))
		require.Less(t, u.Memory, int64(128<<20))
	}
	s.Env = []string{"COMPARE_TEST_EXIT=1"}
	_, err = measure(t.Context(), s)
	require.ErrorContains(t, err, "out of luck")
}

func TestSpan(t *testing.T) {
	var s span[int]
	for _, v := range []int{9, 1, 5} {
		s.add(v)
	}
	require.Equal(t, span[int]{Median: 5, Min: 1, Max: 9, All: []int{9, 1, 5}}, s)
}

// contest makes a report in which every figure of a row is the given number of seconds or MiB.
func contest(rows map[string]float64) *report {
	r := &report{Runs: 1}
	for _, name := range []string{"ours", "peer", "raw peer"} {
		v, ok := rows[name]
		if !ok {
			continue
		}
		w := &row{Name: name, Ours: name == "ours", Compresses: name != "raw peer", Stages: map[string]*figures{}}
		r.Rows = append(r.Rows, w)
		for _, s := range stages {
			d := time.Duration(v * float64(time.Second))
			r.add(name, s, usage{Wall: d, CPU: d, Memory: int64(v * (1 << 20))}, 0, int64(v*(1<<20)))
		}
	}
	return r
}

func TestJudge(t *testing.T) {
	r := contest(map[string]float64{"ours": 1, "peer": 2, "raw peer": 0.5})
	r.close()
	require.Empty(t, r.Shortfalls, "a peer that does not compress is none to beat")
	require.Contains(t, r.markdown(), "| cold, wall | peer: 2.00 s | 2.00× | 2× |")

	r = contest(map[string]float64{"ours": 2, "peer": 2})
	r.close()
	require.Len(t, r.Shortfalls, len(columns()), "as good is not better")

	r = contest(map[string]float64{"ours": 129, "peer": 200})
	r.close()
	require.Len(t, r.Shortfalls, len(stages))
	require.Contains(t, r.Shortfalls[0], "129.0 MiB of memory")

	b, err := r.json()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &report{}))
}

func TestEveryContenderHasEveryStage(t *testing.T) {
	for _, c := range contenders() {
		for _, s := range append([]string{"init"}, stages...) {
			require.NotEmpty(t, c.stages[s], "%s: %s", c.name, s)
			for _, call := range c.stages[s] {
				s := c.spec(call, place{home: "/home dir", src: "/source dir", out: "/out dir"})
				for _, v := range append(append(s.Args, s.Env...), s.Dir) {
					if !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "PATHEXT=") {
						require.NotContains(t, v, "$")
					}
				}
			}
		}
	}
}

func TestNoPeerIsAnError(t *testing.T) {
	self, err := os.Executable() // any Go program
	require.NoError(t, err)
	t.Setenv("PATH", t.TempDir())
	_, err = choose(t.Context(), &config{bin: self}, t.TempDir())
	require.ErrorContains(t, err, "no peer")
}
