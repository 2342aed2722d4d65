package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// childEnv makes this program start one command and measure it.
//
// A started program's peak memory is never reported below that of the program which started it, because
// until it has replaced its image it shares the memory of its parent. So a small process that has done
// nothing yet starts each command, and not the one that has made and compared the data.
const childEnv = "CAREKEEP_BENCH_CHILD"

// spec is a command ready to run.
type spec struct {
	Program string
	Args    []string
	Env     []string
	Dir     string
	Log     string // takes its output
}

// usage is what a command took.
type usage struct {
	Wall   time.Duration
	CPU    time.Duration // user and system, of the process and the children it waited for
	Memory int64         // largest resident set in bytes; 0 where the system does not tell
	Error  string        // why it did not succeed
}

// child reads a spec, runs it, and writes its usage.
func child(ctx context.Context, in io.Reader, out io.Writer) int {
	var s spec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		return 1
	}
	u := s.run(ctx)
	if err := json.NewEncoder(out).Encode(u); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		return 1
	}
	return 0
}

func (s *spec) run(ctx context.Context) usage {
	log, err := os.Create(s.Log)
	if err != nil {
		return usage{Error: err.Error()}
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, s.Program, s.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.Env, s.Dir, log, log
	start := time.Now()
	err = cmd.Run()
	u := usage{Wall: time.Since(start)}
	if cmd.ProcessState != nil {
		u.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		u.Memory = peakMemory(cmd.ProcessState)
	}
	if err != nil {
		u.Error = err.Error()
	}
	return u
}

// measure runs a command in a process of its own and returns what it took. A command that fails is an error
// with the end of its output.
func measure(ctx context.Context, s spec) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	in, err := json.Marshal(s)
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return usage{}, err
	}
	go func() {
		_, _ = stdin.Write(in) // a child that died says so by its status
		stdin.Close()
	}()
	out, err := cmd.Output()
	if err != nil {
		return usage{}, fmt.Errorf("measuring: %w", err)
	}
	var u usage
	if err := json.Unmarshal(out, &u); err != nil {
		return usage{}, fmt.Errorf("measuring: %w", err)
	}
	if u.Error != "" {
		return u, fmt.Errorf("%s\n%s", u.Error, tail(s.Log))
	}
	return u, nil
}

// tail returns the end of a log.
func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-4096):])
}
