// Command clinic shows Carekeep's main job on a sample practice: two days are backed up, restored and
// compared with what they were. Then a month of nights passes under a policy of retention (policy.json), and
// every night that is kept comes back as it was. It needs no set-up.
//
//	go run ./examples/clinic
//
// The practice is invented, and is what a clinical system keeps: a SQLite database, scanned PDFs, DICOM
// images, FHIR resources, HL7 messages, letters and dictations. It lies in a temporary folder, the
// repository in another; both are removed at the end, also after Ctrl-C.
//
//	-size N    size of the practice in MB (default 12)
//	-seed N    another seed makes another practice
//	-keep DIR  work in DIR, which must be missing or empty, and leave everything there
//	-nights N  how many nights pass after the two days (default 30; 0 leaves them out)
//	-hurt      damage one stored byte after the backups, to see that the check and a restore notice; no nights
//
// The days pass in seconds, so the practice has a clock that is set forward. It is the only thing that is
// pretended: the same calls do the same in a practice whose days take a day.
//
// The exit status is 0 if all restored copies are identical and the repository is sound, 1 if not or if the
// run could not be finished, and 2 for a wrong call. With -hurt it is 0 only if the damage was noticed by
// the check and by a restore, and no file came back wrong without being named.
//
// Read on in day.go, which does the work of the two days, and month.go; report.go prints, and compare.go
// judges.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/carekeep/carekeep/backup"
)

// Exit statuses.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

type config struct {
	size   int64 // bytes
	seed   uint64
	keep   string // empty: a temporary folder, removed at the end
	nights int
	hurt   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It leaves nothing behind but what -keep asks for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitGood
	case err != nil:
		return exitUsage // the flag package has told why
	}
	start := time.Now()
	root, err := workplace(cfg.keep)
	if err != nil {
		fmt.Fprintln(stderr, "clinic:", err)
		return exitFailed
	}
	c, err := newClinic(cfg, root, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "clinic:", err)
		return exitFailed
	}
	err = c.work(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.New("stopped") // whatever the step that was cut short says of it
	}
	err = errors.Join(err, c.close(context.WithoutCancel(ctx)))
	if cfg.keep == "" {
		err = errors.Join(err, os.RemoveAll(root))
	}
	if err != nil {
		complain(stderr, err)
	} else {
		c.out.summary(c, time.Since(start))
	}
	if cfg.keep != "" {
		fmt.Fprintf(stdout, "\nEverything is kept in %s; the repository's password is %s\n", root, c.password)
	}
	if err != nil || !c.good() {
		return exitFailed
	}
	return exitGood
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("clinic", flag.ContinueOnError)
	f.SetOutput(stderr)
	mb := f.Int64("size", 12, "size of the practice in `MB`")
	f.Uint64Var(&c.seed, "seed", 1, "another seed makes another practice")
	f.StringVar(&c.keep, "keep", "", "work in `DIR`, which must be missing or empty, and leave everything there")
	f.IntVar(&c.nights, "nights", 30, "how many `nights` pass after the two days")
	f.BoolVar(&c.hurt, "hurt", false, "damage one stored byte, to see that check and restore notice")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	const (
		most       = 1 << 20 // a terabyte
		mostNights = 1000
	)
	if f.NArg() > 0 || *mb < 1 || *mb > most || c.nights < 0 || c.nights > mostNights {
		err := fmt.Errorf("wrong call: no arguments are taken, -size is 1 to %d, and -nights is 0 to %d", most, mostNights)
		fmt.Fprintln(stderr, "clinic:", err)
		f.Usage()
		return c, err
	}
	c.size = *mb * 1_000_000
	return c, nil
}

// workplace makes the folder that holds everything of this run.
func workplace(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "carekeep-clinic-")
	}
	dir, err := filepath.Abs(keep)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	there, err := os.ReadDir(dir)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%s is not empty", dir)
	}
	return dir, err
}

// newPassword makes one that nobody has to remember; a practice would keep its own in a safe.
func newPassword() string { return rand.Text() }

// complain tells the user, and nobody else, what went wrong, with the names that errors do not hold.
func complain(stderr io.Writer, err error) {
	fmt.Fprintln(stderr, "clinic:", err)
	var inc *backup.IncompleteError
	if errors.As(err, &inc) {
		for _, p := range inc.Problems[:min(len(inc.Problems), shown)] {
			fmt.Fprintf(stderr, "  %q: %s: %s\n", p.Path, p.Reason, p.Detail)
		}
	}
}
