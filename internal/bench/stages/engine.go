package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
	"github.com/carekeep/carekeep/backup/dirblob"
)

// engineLines measures whole runs of the engine. Opening is not part of them: neither the password's
// derivation nor reading the log.
func engineLines(ctx context.Context, t *table, files *fileSet, work string) error {
	t.head("engine")
	e := &engine{files: files, dir: filepath.Join(work, "engine")}
	defer e.close()
	if err := t.line("cold backup", func() error { return e.fresh(ctx) }, func() error { return e.backup(ctx) }); err != nil {
		return err
	}
	// A file is not taken as unchanged when it changed less than two seconds before the run that recorded it.
	settled := func() error { time.Sleep(2500 * time.Millisecond); return e.backup(ctx) }
	if err := t.names("backup, nothing changed", len(e.files.names), settled, func() error { return e.backup(ctx) }); err != nil {
		return err
	}
	check := func() error {
		_, err := e.repo.Check(ctx, &backup.CheckOptions{ReadAll: true})
		return err
	}
	if err := t.line("check of all data", nil, check); err != nil {
		return err
	}
	var out string
	empty := func() (err error) { out, err = os.MkdirTemp(work, "restored-*"); return err }
	return t.line("restore", empty, func() error {
		_, err := e.last.Restore(ctx, out, nil)
		return err
	})
}

// engine is a repository and its last snapshot.
type engine struct {
	files  *fileSet
	dir    string
	bucket *blob.Bucket
	repo   *backup.Repository
	last   *backup.Snapshot
}

// fresh makes a new repository in place of the one before.
func (e *engine) fresh(ctx context.Context) (err error) {
	e.close()
	if err := os.RemoveAll(e.dir); err != nil {
		return err
	}
	e.bucket, err = dirblob.OpenBucket(filepath.Join(e.dir, "repo"), &dirblob.Options{CreateDir: true})
	if err != nil {
		return err
	}
	e.repo, err = backup.Create(ctx, e.bucket, backup.Password("bench-only"),
		&backup.CreateOptions{Options: backup.Options{HostDir: filepath.Join(e.dir, "host")}})
	return err
}

func (e *engine) backup(ctx context.Context) (err error) {
	e.last, err = e.repo.Backup(ctx, backup.Dir(e.files.dir), nil)
	return err
}

func (e *engine) close() {
	if e.repo != nil {
		e.repo.Close()
		e.repo = nil
	}
	if e.bucket != nil {
		e.bucket.Close()
		e.bucket = nil
	}
}
