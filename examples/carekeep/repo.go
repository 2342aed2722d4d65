package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"golang.org/x/term"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
)

// bucket opens the bucket that --repo names, or the sites of --sites as one.
func (a *app) bucket(create bool) (*blob.Bucket, error) {
	switch {
	case a.Repo != "" && a.Sites != "":
		return nil, usageError{errors.New("--repo and --sites (or CAREKEEP_REPO and CAREKEEP_SITES) exclude each other")}
	case a.Sites != "":
		return a.routed(create)
	case a.Repo == "":
		return nil, usageError{errors.New("which repository? name it with --repo or CAREKEEP_REPO, or its sites with --sites")}
	}
	b, err := a.openBucket(a.Repo, create)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the folder of the repository does not exist: is the disk connected? %w", err)
	}
	return b, err
}

// isURL tells a URL from a folder. One letter before the colon is a drive of Windows.
func isURL(place string) bool {
	u, err := url.Parse(place)
	return err == nil && len(u.Scheme) > 1
}

// folderOf tells which folder of this computer a place is, if it is one.
func folderOf(place string) (dir string, local bool, err error) {
	if !isURL(place) {
		return place, true, nil
	}
	u, err := url.Parse(place)
	if err != nil {
		return "", false, usageError{errors.New("the URL cannot be read")}
	}
	if u.Scheme != "file" {
		return "", false, nil
	}
	if u.Host != "" && u.Host != "localhost" {
		return "", false, usageError{errors.New("a file URL names a folder of this computer: file:///path")}
	}
	dir = filepath.FromSlash(u.Path)
	if runtime.GOOS == "windows" {
		dir = strings.TrimPrefix(dir, `\`)
	}
	return dir, true, nil
}

// openBucket opens a folder or a URL. Folders and file URLs are dirblob's.
func (a *app) openBucket(place string, create bool) (*blob.Bucket, error) {
	dir, local, err := folderOf(place)
	if err != nil {
		return nil, err
	}
	if !local {
		return blob.OpenBucket(a.ctx, place)
	}
	return dirblob.OpenBucket(dir, &dirblob.Options{CreateDir: create})
}

func (a *app) options() (*backup.Options, error) {
	if a.HostDir == "" && !a.NoHost {
		if _, err := os.UserConfigDir(); err != nil {
			return nil, usageError{errors.New("this account has no configuration folder: give --host-dir DIR, or --no-host")}
		}
	}
	up, err := rate(a.Upload)
	if err != nil {
		return nil, usageError{err}
	}
	down, err := rate(a.Download)
	if err != nil {
		return nil, usageError{err}
	}
	return &backup.Options{HostDir: a.HostDir, Stateless: a.NoHost, UploadRate: up, DownloadRate: down}, nil
}

// open opens the repository with the password; with credential also with what this host holds, if no
// password is given. The caller closes the bucket.
func (a *app) open(credential bool, progress func(backup.Progress)) (*backup.Repository, *blob.Bucket, error) {
	opts, err := a.options()
	if err != nil {
		return nil, nil, err
	}
	opts.Progress = progress
	b, err := a.bucket(false)
	if err != nil {
		return nil, nil, err
	}
	var r *backup.Repository
	password, given := os.LookupEnv("CAREKEEP_PASSWORD")
	if credential && !given && !a.NoHost {
		r, err = backup.Open(a.ctx, b, backup.Credential(), opts)
		if err == nil || !errors.Is(err, backup.ErrNoCredential) {
			return r, b, closing(b, err)
		}
	}
	if !given {
		if password, err = a.ask("Password: "); err != nil {
			return nil, nil, closing(b, err)
		}
	}
	r, err = backup.Open(a.ctx, b, backup.Password(password), opts)
	return r, b, closing(b, err)
}

// with opens the repository by its password for a command, and closes it afterwards.
func (a *app) with(progress func(backup.Progress), f func(*backup.Repository, *blob.Bucket) error) error {
	r, b, err := a.open(false, progress)
	if err != nil {
		return err
	}
	defer b.Close()
	defer r.Close()
	return f(r, b)
}

// closing closes a bucket that could not be used.
func closing(b *blob.Bucket, err error) error {
	if err != nil {
		b.Close()
	}
	return err
}

// ask reads a secret from the terminal.
func (a *app) ask(prompt string) (string, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usageError{errors.New("no password: set CAREKEEP_PASSWORD, or call from a terminal")}
	}
	fmt.Fprint(a.stderr, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	return string(b), err
}

// askNew reads a new secret twice, or takes it from the environment variable.
func (a *app) askNew(env string) (string, error) {
	p, given := os.LookupEnv(env)
	if !given {
		var err error
		if p, err = a.ask("New password: "); err != nil {
			return "", err
		}
		again, err := a.ask("The same again: ")
		if err != nil {
			return "", err
		}
		if p != again {
			return "", usageError{errors.New("the passwords differ")}
		}
	}
	if p == "" {
		return "", usageError{errors.New("the password is empty")}
	}
	return p, nil
}

// rate reads a number of bytes with an optional suffix.
func rate(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	unit := int64(1)
	switch s[len(s)-1] {
	case 'k', 'K':
		unit = 1 << 10
	case 'm', 'M':
		unit = 1 << 20
	case 'g', 'G':
		unit = 1 << 30
	}
	if unit > 1 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 40)
	if err != nil || n <= 0 {
		return 0, errors.New("a rate is a number with an optional k, M or G")
	}
	return n * unit, nil
}

// line writes one JSON line.
func (a *app) line(v any) { lineTo(a.stdout, v) }

func lineTo(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		fmt.Fprintln(w, string(b))
	}
}

// show makes a name safe for a terminal.
func show(name string) string {
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

func size(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}

type initCmd struct {
	FIPS      bool   `help:"Use the suite whose primitives Go's FIPS 140-3 module approves."`
	Residency string `help:"Tag of where the data must rest, stored in clear." placeholder:"TAG"`
	Single    bool   `name:"single-writer" help:"Allow a store that cannot create exclusively; one writer only."`
}

func (c *initCmd) Run(a *app) error {
	opts, err := a.options()
	if err != nil {
		return err
	}
	b, err := a.bucket(true)
	if err != nil {
		return err
	}
	defer b.Close()
	password, err := a.askNew("CAREKEEP_PASSWORD")
	if err != nil {
		return err
	}
	r, err := backup.Create(a.ctx, b, backup.Password(password), &backup.CreateOptions{
		FIPS: c.FIPS, Residency: c.Residency, SingleWriter: c.Single, PasswordCost: a.cost, Options: *opts,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	if a.JSON {
		a.line(map[string]any{"type": "repository", "id": r.ID()})
		return nil
	}
	fmt.Fprintf(a.stdout, "repository %s\nWithout the password the data is lost: keep it where fire and thieves do not come.\n", r.ID())
	return nil
}

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List the keys."`
	Add    keyAddCmd    `cmd:"" help:"Add a password, from CAREKEEP_NEW_PASSWORD or the terminal."`
	Remove keyRemoveCmd `cmd:"" help:"Remove a key."`
}

type keyListCmd struct{}

func (c *keyListCmd) Run(a *app) error {
	r, b, err := a.open(true, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	defer r.Close()
	for _, k := range r.Keys() {
		if a.JSON {
			a.line(map[string]any{"type": "key", "id": k.ID, "kind": k.Kind, "added": k.Added})
		} else {
			fmt.Fprintf(a.stdout, "%s  %-8s  added %s\n", k.ID, k.Kind, k.Added.Format("2006-01-02 15:04"))
		}
	}
	return nil
}

type keyAddCmd struct{}

func (c *keyAddCmd) Run(a *app) error {
	return a.with(nil, func(r *backup.Repository, _ *blob.Bucket) error { return c.add(a, r) })
}

func (c *keyAddCmd) add(a *app, r *backup.Repository) error {
	p, err := a.askNew("CAREKEEP_NEW_PASSWORD")
	if err != nil {
		return err
	}
	k, err := r.AddKey(a.ctx, backup.Password(p))
	if err != nil {
		return err
	}
	if a.JSON {
		a.line(map[string]any{"type": "key", "id": k.ID, "kind": k.Kind, "added": k.Added})
	} else {
		fmt.Fprintln(a.stdout, "key", k.ID)
	}
	return nil
}

type keyRemoveCmd struct {
	ID string `arg:"" help:"The key's id, as key list shows it."`
}

func (c *keyRemoveCmd) Run(a *app) error {
	return a.with(nil, func(r *backup.Repository, _ *blob.Bucket) error { return r.RemoveKey(a.ctx, c.ID) })
}

// buffered gives a listing a buffer and flushes it.
func (a *app) buffered(f func(w io.Writer) error) error {
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	err := f(w)
	return errors.Join(err, w.Flush())
}
