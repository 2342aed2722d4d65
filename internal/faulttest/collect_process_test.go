package faulttest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/source"
)

// dayOf returns what a run holds by its name, which ends in v and a number.
func dayOf(run string) files {
	n, _ := strconv.Atoi(run[strings.LastIndexByte(run, 'v')+1:])
	return day(n)
}

// childCollect is a process that backs up, forgets, compacts, restores and checks at random, and tells what it begins
// before it does, and what has been done after.
func childCollect(repo, host, seed string) error {
	ctx := context.Background()
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(n, 7))
	b, err := dirblob.OpenBucket(repo, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	c := tiny(host)
	c.Store.Requests = 0
	c.Limits.PartialEvery = int(n % 2) // 0 for the default
	r, err := engine.Open(ctx, b, key("main"), c)
	if err != nil {
		return err
	}
	defer r.Close()
	for i := range 4 {
		switch rnd.IntN(8) {
		case 0:
			err = childForget(ctx, r, rnd)
		case 1, 2, 3:
			o := atOnce
			o.Shred = rnd.IntN(3) == 0
			if _, err = r.Compact(ctx, o); errors.Is(err, ledger.ErrMoved) {
				err = nil
			}
		case 4:
			err = childRestore(ctx, r, rnd)
		default:
			run := fmt.Sprintf("p%s.%d v%d", seed, i, rnd.IntN(6))
			fmt.Println("begin", run)
			var res *engine.Result
			if res, err = r.Backup(ctx, source.FromFS(dayOf(run).fs()), options(run)); err == nil {
				fmt.Printf("kept %x %s\n", res.Ref.ID[:], run)
			} else if errors.Is(err, engine.ErrCondemned) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func childForget(ctx context.Context, r *engine.Repo, rnd *rand.Rand) error {
	refs, _, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	var ids []format.SnapID
	for _, s := range refs {
		if rnd.IntN(3) > 0 {
			ids = append(ids, s.ID)
			fmt.Printf("doom %x\n", s.ID[:])
		}
	}
	err = r.Forget(ctx, r.Head(), format.Hash{}, ids, nil)
	if errors.Is(err, engine.ErrStale) {
		return nil
	}
	for _, id := range ids {
		if err == nil {
			fmt.Printf("gone %x\n", id[:])
		}
	}
	return err
}

// childRestore reads a snapshot. An error is told of only if the snapshot is still kept.
func childRestore(ctx context.Context, r *engine.Repo, rnd *rand.Rand) error {
	refs, _, err := r.Snapshots(ctx)
	if err != nil || len(refs) == 0 {
		return err
	}
	ref := refs[rnd.IntN(len(refs))]
	s, err := r.Snapshot(ctx, ref)
	if err != nil {
		return err
	}
	err = same(ctx, s, dayOf(runOf(s.Description)))
	if err == nil || errors.Is(err, errWrong) {
		return err
	}
	now, _, lerr := r.Snapshots(ctx)
	if lerr != nil {
		return lerr
	}
	for _, k := range now {
		if k.ID == ref.ID {
			return fmt.Errorf("restore of what is kept: %w", err)
		}
	}
	return nil
}

// hear takes what a process tells.
func (x *truth) hear(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	id := func(s string) (id format.SnapID) {
		b, _ := hex.DecodeString(s)
		copy(id[:], b)
		return id
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch word {
	case "begin":
		x.saw[rest] = dayOf(rest)
	case "kept":
		h, run, _ := strings.Cut(rest, " ")
		x.done[run] = id(h)
	case "doom":
		x.doomed[id(rest)] = true
	case "gone":
		x.gone[id(rest)] = true
	case "end":
	default:
		return errors.New(line)
	}
	return nil
}

// TestCollectorProcesses has two to eight processes work on one folder at once, with grace and age of no length, and
// kills some of them at random moments (C3, P1).
func TestCollectorProcesses(t *testing.T) {
	t.Parallel()
	rounds := 4
	if long() {
		rounds = 200
	}
	seed := uint64(time.Now().UnixNano()) % 1e9
	rnd := rand.New(rand.NewPCG(seed, 8))
	var c tally
	kills, kept := 0, 0
	var repo, hosts string
	var x *truth
	for round := range rounds {
		if round%10 == 0 {
			repo, hosts, x = t.TempDir(), t.TempDir(), newTruth()
			b, err := dirblob.OpenBucket(repo, nil)
			require.NoError(t, err)
			r, err := engine.Create(t.Context(), b, key("main"), tiny(""))
			require.NoError(t, err)
			r.Close()
			require.NoError(t, b.Close())
		}
		var wg sync.WaitGroup
		for i := range 2 + rnd.IntN(7) {
			host := ""
			if i%2 == 0 {
				host = filepath.Join(hosts, strconv.Itoa(i))
				require.NoError(t, os.MkdirAll(host, 0o700))
			}
			cmd, pipe := process(t, "collect", repo, host, strconv.FormatUint(seed+uint64(round*100+i), 10))
			c.add("process")
			die := time.Duration(-1)
			if rnd.IntN(2) == 0 {
				die = time.Duration(rnd.IntN(1500)) * time.Millisecond
				kills++
			}
			wg.Go(func() {
				if die >= 0 {
					timer := time.AfterFunc(die, func() { _ = cmd.Process.Kill() })
					defer timer.Stop()
				}
				for sc := bufio.NewScanner(pipe); sc.Scan(); {
					if err := x.hear(sc.Text()); err != nil {
						c.lost("round %d, process %d: %v", round, i, err)
					}
				}
				_ = cmd.Wait()
			})
		}
		wg.Wait()
		b, err := dirblob.OpenBucket(repo, nil)
		require.NoError(t, err)
		if err := x.audit(t.Context(), b); err != nil {
			c.lost("round %d: %v", round, err)
		}
		require.NoError(t, b.Close())
		kept += len(x.done)
	}
	t.Logf("seed=%d rounds=%d kills=%d snapshots promised=%d", seed, rounds, kills, kept)
	c.report(t)
}
