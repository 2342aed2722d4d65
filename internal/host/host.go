// Package host is what a computer keeps between runs about one repository, in a folder only its owner can
// read: the writer's credential, the last verified position of the commit log, the entries of the last
// snapshot (so that unchanged files are not read again), copies of index segments, and the journal of a
// run under way (so that an interrupted one does not upload again).
//
// Nothing here is needed to restore. A folder that is lost costs a slower next run; one that is damaged is
// noticed, because all but the credential is sealed under a key in the credential, and is then treated as
// lost.
package host

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// Folder is the folder of one repository on this host.
type Folder struct {
	dir   string
	suite seal.Suite
	repo  format.RepoID
	key   []byte // seals everything but the credential
}

const credentialFile = "credential"

var credentialMagic = []byte("CKC\x01")

// DefaultDir is where hosts keep their folders unless told otherwise.
func DefaultDir() (string, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("this account has no configuration folder: name a host folder: %w", err)
	}
	return filepath.Join(base, "carekeep"), nil
}

// Open returns the folder of repo below dir and the credential in it. Without one the error wraps
// fs.ErrNotExist.
func Open(dir string, repo format.RepoID) (*Folder, *format.Keyset, error) {
	f := &Folder{dir: filepath.Join(dir, hex.EncodeToString(repo[:])), repo: repo}
	b, err := os.ReadFile(filepath.Join(f.dir, credentialFile))
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	body, ok := bytes.CutPrefix(b, credentialMagic)
	if !ok || len(body) < seal.KeySize {
		return nil, nil, errors.New("the writer credential of this host is damaged: open once with the password to renew it")
	}
	ks, err := format.DecodeKeyset(body[seal.KeySize:])
	if err != nil || ks.Repo != repo {
		return nil, nil, errors.New("the writer credential of this host is damaged: open once with the password to renew it")
	}
	f.key, f.suite = body[:seal.KeySize:seal.KeySize], seal.Suite(ks.Suite)
	return f, ks, nil
}

// Enrol makes or keeps the folder of ks.Repo below dir and leaves a credential that holds the writer's role
// alone. An existing credential of the same keys keeps its sealing key and so the rest of the folder.
func Enrol(dir string, ks *format.Keyset) (*Folder, error) {
	writer := *ks
	writer.Reader, writer.Admin = nil, nil
	want := writer.Append(nil)
	if f, have, err := Open(dir, ks.Repo); err == nil && bytes.Equal(have.Append(nil), want) {
		return f, nil
	}
	f := &Folder{dir: filepath.Join(dir, hex.EncodeToString(ks.Repo[:])), repo: ks.Repo, suite: seal.Suite(ks.Suite)}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, withoutPath(err)
	}
	f.key = make([]byte, seal.KeySize)
	seal.Random(f.key)
	b := append(bytes.Clone(credentialMagic), f.key...)
	if err := f.write(credentialFile, append(b, want...)); err != nil {
		return nil, err
	}
	return f, nil
}

// Temporary makes a folder for one process, which forgets it when done.
func Temporary(suite seal.Suite, repo format.RepoID) (*Folder, error) {
	dir, err := os.MkdirTemp("", "carekeep-*")
	if err != nil {
		return nil, withoutPath(err)
	}
	f := &Folder{dir: dir, repo: repo, suite: suite, key: make([]byte, seal.KeySize)}
	seal.Random(f.key)
	return f, nil
}

// withoutPath drops the path from an error: a folder's name can be a person's.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("host folder: %s: %w", pe.Op, pe.Err)
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return fmt.Errorf("host folder: %s: %w", le.Op, le.Err)
	}
	return err
}

// write replaces a small file at once: a crash leaves the old or the new one.
func (f *Folder) write(name string, b []byte) error {
	tmp, err := os.CreateTemp(f.dir, "."+name+".*") // mode 0600
	if err != nil {
		return withoutPath(err)
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(f.dir, name))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return withoutPath(err)
	}
	return nil
}

func (f *Folder) aad(what string) []byte {
	return append([]byte("carekeep/v1 host "+what+" "), f.repo[:]...)
}

// Save seals and keeps one small value under name.
func (f *Folder) Save(name string, value []byte) error {
	sealed, err := f.suite.Seal(f.key, f.aad(name), value)
	if err != nil {
		return err
	}
	return f.write(name, sealed)
}

// Load returns a value that Save kept. One that is missing or damaged is reported as missing.
func (f *Folder) Load(name string) ([]byte, bool) {
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		return nil, false
	}
	v, err := f.suite.Open(f.key, f.aad(name), b)
	return v, err == nil
}

// TryLock takes the lock of this name, which one holder at a time can have on this host. It does not wait: ok
// is false while another holder, in this process or another, has it.
func (f *Folder) TryLock(name string) (unlock func(), ok bool, err error) {
	l := flock.New(filepath.Join(f.dir, name))
	if ok, err = l.TryLock(); err != nil || !ok {
		return nil, false, withoutPath(err)
	}
	return func() { _ = l.Close() }, true, nil
}

// IndexDir is where copies of index segments may be kept, sealed as they are in the bucket.
func (f *Folder) IndexDir() string { return filepath.Join(f.dir, "index") }

// Lineage names, without telling, the series of snapshots that a description of sources belongs to.
func (f *Folder) Lineage(sources []string) string {
	m := hmac.New(sha256.New, f.key)
	for _, s := range sources {
		m.Write([]byte(s))
		m.Write([]byte{0})
	}
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// Forget removes the whole folder: the host has no credential afterwards.
func (f *Folder) Forget() error { return pathless(os.RemoveAll(f.dir)) }
