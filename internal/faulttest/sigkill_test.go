package faulttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/source"
)

// childEnv tells the test binary that it is a child: what it does, and its arguments.
const childEnv = "FAULTTEST_CHILD"

// child runs in a process of its own. What it tells goes to its output, a line for each fact.
func child(what string) int {
	a := strings.Split(what, "|")
	var err error
	switch a[0] {
	case "act":
		err = childAct(a[1], a[2], a[3], a[4])
	case "check":
		err = childCheck(a[1], a[2], a[3])
	case "big":
		err = childBig(a[1], a[2])
	case "many":
		err = childMany(a[1], a[2], a[3])
	case "collect":
		err = childCollect(a[1], a[2], a[3])
	}
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("end")
	return 0
}

// childAct does one thing to the repository in the folder repo, between the lines "ready" and "done".
func childAct(phase, repo, host, run string) error {
	ctx := context.Background()
	b, err := dirblob.OpenBucket(repo, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	if phase == "create" {
		fmt.Println("ready")
		if _, err := engine.Create(ctx, b, key("main"), config(host)); err != nil {
			return err
		}
		fmt.Println("done")
		return nil
	}
	v, err := strconv.Atoi(run[strings.IndexByte(run, 'v')+1:])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	r, err := engine.Open(ctx, b, key("main"), config(host))
	if err != nil {
		return err
	}
	if _, err := r.Backup(ctx, source.FromFS(version(v, 1).fs()), options(run)); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// childCheck is a new process with nothing but the store: it looks at every snapshot, completes a creation
// that was cut off, runs a backup with the host folder (if any) and restores that to a folder. It tells which
// runs it found at first.
func childCheck(repo, host, run string) error {
	ctx := context.Background()
	b, err := dirblob.OpenBucket(repo, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := tellRuns(ctx, b); errors.Is(err, engine.ErrNoRepository) {
		fmt.Println("norepo")
		r, err := engine.Create(ctx, b, key("main"), config(""))
		if err != nil {
			return err
		}
		r.Close()
	} else if err != nil {
		return err
	}
	r, err := engine.Open(ctx, b, key("main"), config(host))
	if err != nil {
		return err
	}
	defer r.Close()
	v := version(7, 2)
	res, err := r.Backup(ctx, source.FromFS(v.fs()), options(run))
	if err != nil {
		return err
	}
	fmt.Println("recovered")
	s, err := r.Snapshot(ctx, res.Ref)
	if err != nil {
		return err
	}
	to, err := os.MkdirTemp(filepath.Dir(repo), "to")
	if err != nil {
		return err
	}
	if err := restored(ctx, r, s, to, v); err != nil {
		return err
	}
	rep, err := r.Check(ctx, engine.CheckOptions{ReadAll: true})
	if err != nil || !rep.OK() {
		return fmt.Errorf("check: %d findings: %w", rep.Found, err)
	}
	return nil
}

// tellRuns verifies every snapshot and prints a line for each.
func tellRuns(ctx context.Context, b *blob.Bucket) error {
	r, err := engine.Open(ctx, b, key("main"), config(""))
	if err != nil {
		return err
	}
	defer r.Close()
	refs, sure, err := r.Snapshots(ctx)
	if err != nil || !sure {
		return fmt.Errorf("sure %v: %w", sure, err)
	}
	for i, ref := range refs {
		s, err := r.Snapshot(ctx, ref)
		if err != nil {
			return err
		}
		run := runOf(s.Description)
		fmt.Println("found", run)
		if i < len(refs)-4 {
			continue // the long log's snapshots are alike
		}
		v, err := strconv.Atoi(run[strings.IndexByte(run, 'v')+1:])
		if err != nil {
			return err
		}
		if err := same(ctx, s, version(v, 1)); err != nil {
			return fmt.Errorf("%s: %w", run, err)
		}
	}
	return nil
}

// process starts a child.
func process(t testing.TB, args ...string) (*exec.Cmd, io.Reader) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, "|"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, out
}

// lines runs a child to its end and returns what it told.
func lines(t testing.TB, args ...string) []string {
	cmd, out := process(t, args...)
	var all []string
	for sc := bufio.NewScanner(out); sc.Scan(); {
		all = append(all, sc.Text())
	}
	_ = cmd.Wait()
	return all
}

// phase is a state of a repository in a folder, and how long the operation takes that is killed in it.
type phase struct {
	name, dir, run string
	runs           map[string]bool // in the repository before
	takes          time.Duration
}

// phases prepares the folders.
func phases(t *testing.T) []*phase {
	var out []*phase
	dir, runs := t.TempDir(), map[string]bool{}
	add := func(name, run string) {
		p := &phase{name: name, dir: copyDir(t, dir), run: run, runs: map[string]bool{}}
		for r := range runs {
			p.runs[r] = true
		}
		out = append(out, p)
	}
	act := func(phase, run string) {
		require.Contains(t, lines(t, "act", phase, filepath.Join(dir, "repo"), filepath.Join(dir, "host"), run), "done")
		runs[run] = phase != "create"
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "repo"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "host"), 0o700))
	add("create", "create")
	act("create", "create")
	delete(runs, "create")
	add("cold", "cold v0")
	act("cold", "cold v0")
	add("unchanged", "unchanged v0")
	add("changed", "changed v1")
	b, err := dirblob.OpenBucket(filepath.Join(dir, "repo"), nil)
	require.NoError(t, err)
	r, err := engine.Open(t.Context(), b, key("main"), config(filepath.Join(dir, "host")))
	require.NoError(t, err)
	for i := range 61 {
		run := fmt.Sprintf("long%d v%d", i, i/16)
		_, err := r.Backup(t.Context(), source.FromFS(version(i/16, 1).fs()), options(run))
		require.NoError(t, err)
		runs[run] = true
	}
	r.Close()
	require.NoError(t, b.Close())
	add("checkpoint", "checkpoint v5")
	for _, p := range out { // how long the operation takes here and now
		to := copyDir(t, p.dir)
		cmd, pipe := process(t, "act", p.name, filepath.Join(to, "repo"), filepath.Join(to, "host"), p.run)
		var at time.Time
		for sc := bufio.NewScanner(pipe); sc.Scan(); {
			if sc.Text() == "ready" {
				at = time.Now()
			}
		}
		require.NoError(t, cmd.Wait())
		p.takes = time.Since(at)
	}
	return out
}

// killOne runs the phase's operation in a process, kills it after the delay, and has another process look
// at what is left. It returns whether the kill came before the operation's end.
func (p *phase) killOne(t *testing.T, delay time.Duration, keepHost bool) (before bool, err error) {
	dir := copyDir(t, p.dir)
	defer os.RemoveAll(dir)
	repo, host := filepath.Join(dir, "repo"), filepath.Join(dir, "host")
	cmd, pipe := process(t, "act", p.name, repo, host, p.run)
	done := false
	var once sync.Once
	for sc := bufio.NewScanner(pipe); sc.Scan(); {
		switch line := sc.Text(); {
		case line == "ready":
			go once.Do(func() {
				time.Sleep(delay)
				_ = cmd.Process.Kill()
			})
		case line == "done":
			done = true
		case strings.HasPrefix(line, "error"):
			err = errors.New(line)
		}
	}
	once.Do(func() {}) // waits for the goroutine, which the pipe's end may have overtaken
	_ = cmd.Wait()
	if err != nil {
		return false, err
	}
	if !keepHost {
		host = ""
	}
	found := map[string]int{}
	recovered, end := false, false
	for _, line := range lines(t, "check", repo, host, "recovery") {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "found":
			found[rest]++
		case "recovered":
			recovered = true
		case "end":
			end = true
		case "norepo":
			if p.name != "create" || done {
				return !done, errors.New("the repository is gone")
			}
		default:
			return !done, errors.New(line)
		}
	}
	want := map[string]bool{}
	for run := range p.runs {
		want[run] = true
	}
	if done && p.name != "create" {
		want[p.run] = true
	}
	for run := range want {
		if found[run] != 1 {
			return !done, fmt.Errorf("%s: %d snapshots", run, found[run])
		}
	}
	if len(found) > len(p.runs)+1 || found[p.run] > 1 {
		return !done, fmt.Errorf("%d runs have %d snapshots", len(p.runs)+1, len(found))
	}
	if !recovered || !end {
		return !done, errors.New("the next run failed")
	}
	return !done, nil
}

// TestSIGKILL kills processes that work on a folder, at a random moment of every phase of a repository's
// life (C3). Another process then finds every snapshot that was promised, and the next run succeeds.
func TestSIGKILL(t *testing.T) {
	t.Parallel()
	kills := 40
	if long() {
		kills = 1000
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FAULTTEST_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	all := phases(t)
	hits := map[string]int{}
	var mu sync.Mutex
	var c tally
	kill := func(i int, p *phase, span time.Duration) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		delay := time.Duration(r.Int64N(int64(span)))
		before, err := p.killOne(t, delay, i/len(all)%2 == 0)
		c.add(p.name)
		mu.Lock()
		defer mu.Unlock()
		if before {
			hits[p.name]++
		}
		if err != nil {
			c.lost("kill %d, %s, after %v: %v", i, p.name, delay, err)
		}
	}
	// The operation takes longer beside others, so the moments reach beyond what it took alone.
	workers(kills, func(i int) { kill(i, all[i%len(all)], all[i%len(all)].takes*3/2) })
	for i, p := range all { // or less, if the machine was busy when it was measured
		for n := kills + i; hits[p.name] == 0 && n < kills+30*len(all); n += len(all) {
			kill(n, p, p.takes/4)
		}
	}
	t.Logf("seed=%d kills before the end of the operation, by phase: %v", seed, hits)
	for _, p := range all {
		require.Positive(t, hits[p.name], "no kill hit %s, which takes %v", p.name, p.takes)
	}
	c.report(t)
}
