package dirblob

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const (
	racerEnv   = "DIRBLOB_TEST_RACER" // the folder and the way of a racing process
	raceKeys   = 60
	racers     = 4 // processes
	raceLanes  = 3 // goroutines in each
	raceLength = 3000
)

// payload is what a racer writes; it names the racer and is long enough to be mixed up.
func payload(id string) []byte { return []byte(strings.Repeat(id+" ", raceLength/(len(id)+1))) }

// race tries to create all keys exclusively, and returns "key id" for each one won.
func race(b *blob.Bucket, id string) ([]string, error) {
	var won []string
	for k := range raceKeys {
		key := fmt.Sprintf("race/%02d/key%d", k%7, k)
		err := b.WriteAll(context.Background(), key, payload(id), &blob.WriterOptions{
			ContentType: defaultType, IfNotExist: true,
		})
		switch {
		case err == nil:
			won = append(won, key+" "+id)
		case gcerrors.Code(err) != gcerrors.FailedPrecondition:
			return won, err
		}
	}
	return won, nil
}

// racer is the main function of a racing process: it waits for the start on
// its standard input and prints what it won.
func racer() int {
	dir, way, _ := strings.Cut(os.Getenv(racerEnv), "|")
	d, err := open(faultyFS{fault: ways()[way]}, dir, nil)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	b := blob.NewBucket(d)
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var lanes sync.WaitGroup
	var mu sync.Mutex
	for lane := range raceLanes {
		lanes.Go(func() {
			won, err := race(b, strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(lane))
			mu.Lock()
			defer mu.Unlock()
			for _, w := range won {
				fmt.Println("won", w)
			}
			if err != nil {
				fmt.Println("error", err)
			}
		})
	}
	lanes.Wait()
	_ = b.Close()
	return 0
}

// oneWinner checks that every key was won once, and has the winner's bytes.
func oneWinner(t *testing.T, dir string, won []string) {
	t.Helper()
	b, err := OpenBucket(dir, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	winner := map[string]string{}
	for _, w := range won {
		key, id, _ := strings.Cut(w, " ")
		require.Empty(t, winner[key], "two winners of one key")
		winner[key] = id
	}
	require.Len(t, winner, raceKeys)
	for key, id := range winner {
		data, err := b.ReadAll(t.Context(), key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload(id), data), "not the winner's bytes")
	}
}

func TestExclusiveCreateAmongGoroutines(t *testing.T) {
	for way, fault := range ways() {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			var all sync.WaitGroup
			var mu sync.Mutex
			var won []string
			for id := range 8 {
				all.Go(func() {
					d, err := open(faultyFS{fault: fault}, dir, nil)
					if err != nil {
						t.Error(err)
						return
					}
					b := blob.NewBucket(d)
					defer func() { _ = b.Close() }()
					mine, err := race(b, strconv.Itoa(id))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					won = append(won, mine...)
				})
			}
			all.Wait()
			oneWinner(t, dir, won)
		})
	}
}

func TestExclusiveCreateAmongProcesses(t *testing.T) {
	for _, way := range []string{"rename", "link"} {
		t.Run(way, func(t *testing.T) {
			dir := t.TempDir()
			oneWinner(t, dir, runRacers(t, dir, way))
		})
	}
}

// runRacers starts the processes, lets them go together and collects what they won.
func runRacers(t *testing.T, dir, way string) []string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	var start []io.WriteCloser
	var outs []*bufio.Scanner
	var cmds []*exec.Cmd
	for range racers {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), racerEnv+"="+dir+"|"+way)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		start, outs, cmds = append(start, in), append(outs, bufio.NewScanner(out)), append(cmds, cmd)
	}
	for _, out := range outs {
		require.True(t, out.Scan())
		require.Equal(t, "ready", out.Text())
	}
	for _, in := range start {
		_, err := io.WriteString(in, "go\n")
		require.NoError(t, err)
	}
	var won []string
	for i, out := range outs {
		for out.Scan() {
			line, ok := strings.CutPrefix(out.Text(), "won ")
			require.True(t, ok, "%s", out.Text())
			won = append(won, line)
		}
		require.NoError(t, cmds[i].Wait())
	}
	return won
}
