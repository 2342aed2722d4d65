package practice

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Fault is one thing that [Check] found wrong.
type Fault struct {
	Kind Kind
	// Path is the file below the practice folder, slash-separated. It may name a patient, so it is kept out of Error.
	Path string
	Err  error // what is wrong, without names
}

// CheckError lists what [Check] found wrong, in order of path. Its text holds no names.
type CheckError struct {
	Faults []Fault // at least one, at most MaxFaults
	Total  int     // how many there were
}

// MaxFaults is how many faults a [CheckError] lists.
const MaxFaults = 1000

// Error gives the number of faults and the first one.
func (e *CheckError) Error() string {
	f := e.Faults[0]
	return fmt.Sprintf("practice: %d faults, the first in %s: %v", e.Total, f.Kind, f.Err)
}

// Unwrap gives the causes.
func (e *CheckError) Unwrap() []error {
	var all []error
	for _, f := range e.Faults {
		all = append(all, f.Err)
	}
	return all
}

// Check proves that the practice in dir is usable: it parses every file in its format, runs SQLite's own checks of
// integrity and foreign keys, compares row counts and the digests of notes, and compares every document with the size
// and SHA-256 that the database holds; a missing or unknown document is a fault. It only reads. It returns nil, a
// *CheckError, or the error that stopped it. Memory grows with the number of files, by a few hundred bytes each.
func Check(ctx context.Context, dir string) error {
	k := &checker{root: dir}
	docs, err := k.database(ctx)
	if err != nil {
		return err
	}
	patients, err := k.manifest(ctx)
	if err != nil {
		return err
	}
	if err := k.files(ctx, docs, patients); err != nil {
		return err
	}
	for _, rel := range sortedKeys(docs) {
		k.fault(docs[rel].kind, rel, errors.New("a document that the database lists is missing"))
	}
	if len(k.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(k.faults, func(a, b Fault) int { return strings.Compare(a.Path, b.Path) })
	return &CheckError{Faults: k.faults[:min(len(k.faults), MaxFaults)], Total: len(k.faults)}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checker collects faults. Safe for concurrent use.
type checker struct {
	root   string
	mu     sync.Mutex
	faults []Fault
}

func (k *checker) fault(kind Kind, rel string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = append(k.faults, Fault{kind, rel, err})
}

func (k *checker) file(rel string) string { return filepath.Join(k.root, filepath.FromSlash(rel)) }

// database checks clinical.db and returns the documents it lists. A database too damaged to be read is a fault.
func (k *checker) database(ctx context.Context) (map[string]document, error) {
	docs := map[string]document{}
	if _, err := os.Stat(k.file(databaseFile)); err != nil {
		k.fault(Database, databaseFile, hidePath("find the database", err))
		return docs, nil
	}
	// "immutable" keeps SQLite from writing or locking anything beside the file.
	db, err := openDatabase(k.root, "mode=ro&immutable=1&_pragma=cache_size(-16384)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	for _, check := range []func(context.Context, *sql.DB) error{checkPragmas, checkCounts, checkNotes} {
		if err := check(ctx, db); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			k.fault(Database, databaseFile, err)
		}
	}
	rows, err := db.QueryContext(ctx, "SELECT kind, path, size, sha256 FROM documents")
	for err == nil && rows.Next() {
		var d document
		var sum []byte
		if err = rows.Scan(&d.kind, &d.path, &d.size, &sum); err == nil {
			copy(d.sum[:], sum)
			docs[d.path] = d
		}
	}
	if err == nil {
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err != nil {
		k.fault(Database, databaseFile, fmt.Errorf("the documents cannot be listed: %w", err))
	}
	return docs, ctx.Err()
}

// checkPragmas runs SQLite's own checks.
func checkPragmas(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("integrity_check: %w", err)
	}
	if verdict != "ok" {
		return errors.New("integrity_check found damage")
	}
	rows, err := db.QueryContext(ctx, "PRAGMA foreign_key_check")
	if err != nil {
		return fmt.Errorf("foreign_key_check: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		return errors.New("foreign_key_check found a dangling reference")
	}
	return rows.Err()
}

func checkCounts(ctx context.Context, db *sql.DB) error {
	for _, name := range tables {
		var want, got int64
		err := db.QueryRowContext(ctx, "SELECT rows, (SELECT count(*) FROM "+name+") FROM row_counts WHERE name = ?", name).Scan(&want, &got)
		if err != nil {
			return fmt.Errorf("the rows of %s cannot be counted: %w", name, err)
		}
		if want != got || got == 0 {
			return fmt.Errorf("%s has %d rows, not %d", name, got, want)
		}
	}
	return nil
}

// checkNotes compares each note with its digest: SQLite's checks do not look inside text.
func checkNotes(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT body, digest FROM notes")
	if err != nil {
		return fmt.Errorf("the notes cannot be read: %w", err)
	}
	defer rows.Close()
	var body, digest sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&body, &digest); err != nil {
			return fmt.Errorf("a note cannot be read: %w", err)
		}
		if sum := sha256.Sum256(body); !bytes.Equal(sum[:], digest) {
			return errors.New("a note does not match its digest")
		}
	}
	return rows.Err()
}

// files parses every file and takes those it has seen off the list of documents.
func (k *checker) files(ctx context.Context, docs map[string]document, patients map[string]bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := filepath.WalkDir(k.root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return hidePath("walk the folder", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rel, err := filepath.Rel(k.root, name)
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		rel = filepath.ToSlash(rel)
		top, _, _ := strings.Cut(rel, "/")
		switch Kind(top) {
		case Scans, Images, HL7, Letters, Audio:
			d, known := docs[rel]
			delete(docs, rel)
			g.Go(func() error { return k.document(Kind(top), rel, d, known) })
		case FHIR:
			g.Go(func() error { return k.resources(ctx, rel, patients) })
		}
		return nil
	})
	return errors.Join(err, g.Wait())
}

// document parses one file and compares it with the database's record.
func (k *checker) document(kind Kind, rel string, d document, known bool) error {
	f, err := os.Open(k.file(rel))
	if err != nil {
		return hidePath("read a file", err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return hidePath("read a file", err)
	}
	if err := parse(rel, data); err != nil {
		k.fault(kind, rel, err)
		return nil
	}
	switch {
	case !known:
		k.fault(kind, rel, errors.New("the database does not list this document"))
	case d.size != int64(len(data)) || d.sum != sha256.Sum256(data):
		k.fault(kind, rel, errors.New("the document differs from the database's record"))
	}
	return nil
}

// parse checks a document in the format that its name promises.
func parse(rel string, data []byte) error {
	switch path.Ext(rel) {
	case ".pdf":
		return checkPDF(data)
	case ".dcm":
		return checkDICOM(data)
	case ".hl7":
		return checkHL7(data)
	case ".rtf":
		return checkRTF(data)
	case ".txt":
		return checkText(data)
	case ".wav":
		return checkWAV(data)
	}
	return nil // a lock or a reserved file: any bytes are good
}
