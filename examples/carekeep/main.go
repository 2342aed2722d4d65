// Command carekeep is the operator's and rescuer's tool for Carekeep repositories. It is built on the
// public packages alone, so it also shows how they are used.
//
//	carekeep init      --repo R
//	carekeep backup    --repo R PATH... [--stdin NAME] [--label k=v] [--exclude GLOB] [--full-read]
//	carekeep snapshots --repo R [--host HOST] [--name NAME] [--label k=v]
//	carekeep ls        --repo R SNAPSHOT [PATH]
//	carekeep cat       --repo R SNAPSHOT PATH
//	carekeep diff      --repo R OLD NEW
//	carekeep restore   --repo R SNAPSHOT --to DIR [PATH...]
//	carekeep check     --repo R [--read-all]
//	carekeep forget    --repo R --policy FILE [--dry-run | --diff OLDFILE] [--no-check | --read-all]
//	carekeep compact   --repo R [--shred] [--grace AGE] [--abandoned AGE] [--dry-run]
//	carekeep accept-loss --repo R OBJECT...
//	carekeep hold      --repo R list|place|release
//	carekeep key       --repo R list|add|remove
//	carekeep schedule  --file FILE [--at TIME] [--next N] [--ics FILE] [--cron LINE] [--calendar LINE]
//	carekeep sites     --sites F status|decide|reconcile|promote|quarantine|release
//	carekeep sites     --sites F reevaluate [--as-of DAY] | what-if RULE --ends DAY | migrate --from A [--to B]
//	carekeep sites     --sites F exit plan SITE | exit drill SITE --at NAME
//	carekeep sites     --sites F evidence --out FILE | register --out FILE.html
//
// R is a folder or a URL of file, s3, gs or azblob. SNAPSHOT is an id, the beginning of one, or "latest", which is the
// newest of all; with --host, --name or --label the newest of those that "snapshots" lists with the same options.
//
// With --sites F instead of --repo R, every command works on several sites as one: F says whose data it is, where the
// sites are and who runs them, and each write goes only where the rules of package residency let it. What is denied is
// explained. Any one site is a repository by itself, for --repo.
//
// Sites, a policy of retention and a schedule are JSON files, read strictly; an example of each is in this folder.
//
// The password comes from CAREKEEP_PASSWORD or the terminal. A backup on a host that holds its writer
// credential asks for none. The exit status is 0 when the work is complete, 1 when it failed, 2 for a wrong
// call, and 3 when it is incomplete: something could not be read, or could not be restored.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/residency/router"
)

// Exit statuses.
const (
	exitComplete   = 0
	exitFailed     = 1
	exitUsage      = 2
	exitIncomplete = 3
)

type command struct {
	Repo     string `help:"Folder or URL of the repository." placeholder:"URL-OR-FOLDER" env:"CAREKEEP_REPO"`
	Sites    string `help:"File of the sites that hold the repository together, instead of --repo." placeholder:"FILE" env:"CAREKEEP_SITES"`
	JSON     bool   `help:"Write JSON lines."`
	HostDir  string `help:"Folder for what this host keeps; by default carekeep in the user's configuration folder." env:"CAREKEEP_HOST_DIR" placeholder:"DIR"`
	NoHost   bool   `help:"Keep nothing on this host."`
	Upload   string `help:"Limit uploads, bytes per second (suffixes k, M, G)." placeholder:"RATE"`
	Download string `help:"Limit downloads likewise." placeholder:"RATE"`

	Init       initCmd       `cmd:"" help:"Make a repository."`
	Backup     backupCmd     `cmd:"" help:"Make a snapshot."`
	Snapshots  snapshotsCmd  `cmd:"" help:"List the snapshots."`
	Ls         lsCmd         `cmd:"" help:"List what a snapshot holds."`
	Cat        catCmd        `cmd:"" help:"Write one file of a snapshot to standard output."`
	Diff       diffCmd       `cmd:"" help:"Show what changed between two snapshots."`
	Restore    restoreCmd    `cmd:"" help:"Restore a snapshot, or parts of it."`
	Check      checkCmd      `cmd:"" help:"Check the repository."`
	Forget     forgetCmd     `cmd:"" help:"Take snapshots out of the repository that a policy does not keep."`
	Compact    compactCmd    `cmd:"" help:"Give back the space of what no snapshot needs any more."`
	AcceptLoss acceptLossCmd `cmd:"" help:"Give entries of the commit log up for lost that no copy of the store has any more."`
	Hold       holdCmd       `cmd:"" help:"List, place and release holds, which keep snapshots whatever policies say."`
	Key        keyCmd        `cmd:"" help:"List, add and remove keys."`
	Schedule   scheduleCmd   `cmd:"" help:"Show which backups are due by a schedule, and when the next are."`
	Places     sitesCmd      `cmd:"" name:"sites" help:"Where copies may be, where they are, and how to change that."`
}

// app is what a command works with.
type app struct {
	*command
	world
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	routes *sites         // of --sites, once they are open
	ends   []func() error // what has to be closed, the last first
}

func main() {
	// Buffers are reused, so a small heap costs little time. The limit is soft: it makes the collector work
	// harder near it and refuses nothing.
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(88 << 20)
	ctx, stop := interruptible(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// interruptible returns a context that the first signal to stop ends. The second one ends the process, which a program
// that gives standard input nothing would otherwise keep alive.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return runIn(ctx, world{now: time.Now}, args, stdin, stdout, stderr)
}

// world is what a command takes from elsewhere than its call. Tests have one of their own.
type world struct {
	now  func() time.Time    // by which the law is asked
	cost backup.PasswordCost // of the password of a new repository; zero means the default
}

func runIn(ctx context.Context, w world, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &command{}
	exited := -1
	parser, err := kong.New(c, kong.Name("carekeep"), kong.Vars{"causes": causes}, kong.Writers(stdout, stderr),
		kong.Description("Encrypted, deduplicated backups of clinical systems."),
		kong.Exit(func(code int) { exited = code }), kong.UsageOnError(), kong.KindMapper(reflect.String, kong.MapperFunc(verbatim)))
	if err != nil {
		fmt.Fprintln(stderr, "carekeep:", err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "carekeep:", err)
		return exitUsage
	}
	out := &output{w: stdout}
	a := &app{command: c, ctx: ctx, world: w, stdin: stdin, stdout: out, stderr: stderr}
	err = k.Run(a)
	for _, end := range slices.Backward(a.ends) {
		err = errors.Join(err, end())
	}
	code := a.exit(err)
	if out.err != nil && !errors.Is(err, out.err) { // what was to be told was not
		fmt.Fprintln(stderr, "carekeep: standard output:", out.err)
		code = exitFailed
	}
	return code
}

// verbatim takes a text as it was given. The parser's own way leads through JSON, which changes names that are not UTF-8.
func verbatim(ctx *kong.DecodeContext, target reflect.Value) error {
	t, err := ctx.Scan.PopValue("string")
	if err == nil {
		target.SetString(t.String())
	}
	return err
}

// output remembers that something could not be written, so that a listing cut short is not taken for a whole one.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// atEnd closes something when the command is done.
func (a *app) atEnd(end func() error) { a.ends = append(a.ends, end) }

// usageError is a call that cannot be right.
type usageError struct{ error }

func (a *app) exit(err error) int {
	var usage usageError
	var paths *backup.PathsError
	if errors.As(err, &paths) {
		for _, p := range paths.Paths {
			fmt.Fprintf(a.stderr, "%s: not in the snapshot\n", show(p))
		}
	}
	switch {
	case err == nil:
		return exitComplete
	case errors.As(err, &usage):
		fmt.Fprintln(a.stderr, "carekeep:", err)
		return exitUsage
	case errors.Is(err, backup.ErrIncomplete):
		a.incomplete(err)
		return exitIncomplete
	}
	if errors.As(err, new(residueError)) {
		fmt.Fprintln(a.stderr, "carekeep:", err)
		return exitIncomplete
	}
	var denied *router.DeniedError
	if errors.As(err, &denied) {
		a.denied(denied)
	}
	if a.JSON {
		a.line(map[string]any{"type": "error", "error": err.Error()})
	}
	fmt.Fprintln(a.stderr, "carekeep:", err)
	if errors.Is(err, backup.ErrNoSpace) {
		a.full()
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "carekeep: stopped; running the same command again goes on from here")
	}
	return exitFailed
}

// full says what becomes of what a run has stored before the store was full, and how to have its space back.
func (a *app) full() {
	if !a.NoHost {
		fmt.Fprintln(a.stderr, "carekeep: what a backup has stored so far is kept for the next one, which goes on from there once there is room")
	}
	fmt.Fprintln(a.stderr, "carekeep: its space comes back at once, while no backup and no restore is at work and a little room is left, by: carekeep compact --abandoned 0 --grace 0")
}

// incomplete shows the operator, and nobody else, what is missing.
func (a *app) incomplete(err error) {
	var inc *backup.IncompleteError
	if !errors.As(err, &inc) {
		fmt.Fprintln(a.stderr, "carekeep:", err)
		return
	}
	for _, p := range inc.Problems {
		if a.JSON {
			a.line(map[string]any{"type": "problem", "path": p.Path, "reason": p.Reason.String(), "detail": p.Detail})
		} else {
			fmt.Fprintf(a.stderr, "%s: %s: %s\n", show(p.Path), p.Reason, p.Detail)
		}
	}
	fmt.Fprintf(a.stderr, "carekeep: incomplete: %d problems\n", inc.Total)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
