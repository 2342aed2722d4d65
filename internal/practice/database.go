package practice

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const databaseFile = "clinical.db"

const pageSize = 4096

const schema = `
CREATE TABLE patients(
  id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, mrn TEXT NOT NULL UNIQUE, family TEXT NOT NULL, given TEXT NOT NULL,
  sex TEXT NOT NULL CHECK (sex IN ('F','M')), born TEXT NOT NULL, phone TEXT, email TEXT, street TEXT, suburb TEXT,
  region TEXT, postcode TEXT, problem TEXT, registered_at TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE appointments(
  id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients(id), practitioner TEXT NOT NULL,
  starts_at TEXT NOT NULL, minutes INTEGER NOT NULL, reason TEXT, status TEXT NOT NULL, billing TEXT);
CREATE TABLE notes(
  id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients(id),
  appointment_id INTEGER NOT NULL REFERENCES appointments(id), author TEXT NOT NULL, written_at TEXT NOT NULL,
  body TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE observations(
  id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients(id),
  appointment_id INTEGER NOT NULL REFERENCES appointments(id), code TEXT NOT NULL, label TEXT NOT NULL,
  value REAL NOT NULL, unit TEXT NOT NULL, flag TEXT NOT NULL, taken_at TEXT NOT NULL);
CREATE TABLE medications(
  id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients(id), drug TEXT NOT NULL, dose TEXT NOT NULL,
  started_on TEXT NOT NULL, stopped_on TEXT, repeats INTEGER NOT NULL);
CREATE TABLE allergies(
  id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients(id), agent TEXT NOT NULL, reaction TEXT NOT NULL,
  severity TEXT NOT NULL, recorded_at TEXT NOT NULL);
CREATE TABLE documents(
  id INTEGER PRIMARY KEY, patient_id INTEGER REFERENCES patients(id), kind TEXT NOT NULL, path TEXT NOT NULL,
  size INTEGER NOT NULL, sha256 BLOB NOT NULL, saved_at TEXT NOT NULL);
CREATE TABLE row_counts(name TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
`

// The indexes are made after the rows, as a bulk load would.
const indexes = `
CREATE INDEX patients_by_name ON patients(family, given);
CREATE INDEX appointments_by_time ON appointments(starts_at);
CREATE INDEX appointments_by_patient ON appointments(patient_id);
CREATE INDEX notes_by_patient ON notes(patient_id, written_at);
CREATE INDEX observations_by_patient ON observations(patient_id, code);
CREATE INDEX medications_by_patient ON medications(patient_id);
CREATE INDEX allergies_by_patient ON allergies(patient_id);
CREATE UNIQUE INDEX documents_by_path ON documents(path);
`

// rowsBeforeIndexes is the share of the database, in per cent, that is rows and not indexes. Measured.
const rowsBeforeIndexes = 86

// tables are the tables whose rows are counted.
var tables = []string{"patients", "appointments", "notes", "observations", "medications", "allergies", "documents"}

// openDatabase opens clinical.db with one connection. The query part of the name sets up the connection.
func openDatabase(dir, query string) (*sql.DB, error) {
	full, err := filepath.Abs(filepath.Join(dir, databaseFile))
	if err != nil {
		return nil, hidePath("find the database", err)
	}
	name := filepath.ToSlash(full)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // a drive letter
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: name, RawQuery: query}).String())
	if err != nil {
		return nil, fmt.Errorf("practice: cannot open the database: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// writer holds the statements and the totals of one transaction.
type writer struct {
	c    *clinic
	ctx  context.Context
	tx   *sql.Tx
	next map[string]int64 // last id used in each table
	err  error            // the first error; everything after it does nothing

	patientRow, appointmentRow, noteRow, observationRow, medicationRow, allergyRow, documentRow *sql.Stmt

	text []byte
}

func (c *clinic) newWriter(ctx context.Context, tx *sql.Tx) *writer {
	w := &writer{c: c, ctx: ctx, tx: tx, next: map[string]int64{}}
	prepare := func(table string, columns int) *sql.Stmt {
		s, err := tx.PrepareContext(ctx, "INSERT INTO "+table+" VALUES (?"+strings.Repeat(",?", columns-1)+")")
		w.fail(err)
		return s
	}
	w.patientRow = prepare("patients", 16)
	w.appointmentRow = prepare("appointments", 8)
	w.noteRow = prepare("notes", 7)
	w.observationRow = prepare("observations", 9)
	w.medicationRow = prepare("medications", 7)
	w.allergyRow = prepare("allergies", 6)
	w.documentRow = prepare("documents", 7)
	return w
}

func (w *writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("practice: cannot write the database: %w", err)
	}
}

// add inserts a row and gives its id.
func (w *writer) add(table string, s *sql.Stmt, values ...any) int64 {
	if w.err != nil {
		return 0
	}
	w.next[table]++
	id := w.next[table]
	_, err := s.ExecContext(w.ctx, append([]any{id}, values...)...)
	w.fail(err)
	return id
}

// patient registers person n with medicines and allergies. Row ids start at 1, persons at 0.
func (w *writer) patient(n int) {
	p := w.c.patient(n)
	at := p.registered.Format(stampForm)
	id := w.add("patients", w.patientRow, p.uuid, p.mrn, p.family, p.given, p.sex, p.born.Format(dateForm), p.phone, p.email,
		p.street, p.suburb, p.region, p.postcode, p.problem, at, 1)
	r := w.c.rng("chart", n)
	for range 1 + r.IntN(6) {
		d := pick(r, drugs)
		var stopped any
		if r.IntN(3) == 0 {
			stopped = historical(r).Format(dateForm)
		}
		w.add("medications", w.medicationRow, id, d.name, d.dose, historical(r).Format(dateForm), stopped, r.IntN(6))
	}
	if p.allergyAgent != "" {
		w.add("allergies", w.allergyRow, id, p.allergyAgent, p.allergyReaction, pick(r, []string{"mild", "moderate", "severe"}), at)
	}
}

// consultation adds an appointment with its observations and note.
func (w *writer) consultation(r *rand.Rand, when time.Time) {
	who := int64(1 + r.IntN(w.c.patients))
	doctor, at := pick(r, practitioners), when.Format(stampForm)
	id := w.add("appointments", w.appointmentRow, who, doctor, at, 15*(1+r.IntN(2)), pick(r, reasons), "seen", fmt.Sprintf("item %d, invoice %08x", 3+r.IntN(960), r.Uint32()))
	for range r.IntN(8) {
		x, v := draw(r)
		w.add("observations", w.observationRow, who, id, x.code, x.label, float64(v)/10, x.unit, x.flag(v), at)
	}
	if r.IntN(5) > 0 {
		w.text = w.c.note(w.text[:0], r)
		digest := sha256.Sum256(w.text)
		w.add("notes", w.noteRow, who, id, doctor, at, string(w.text), digest[:])
	}
}

func (w *writer) document(d document) {
	var who any
	if d.patient >= 0 {
		who = d.patient + 1
	}
	w.add("documents", w.documentRow, who, string(d.kind), d.path, d.size, d.sum[:], d.when.Format(stampForm))
}

// pages is the size of the database so far.
func (w *writer) pages() int64 {
	var n int64
	if w.err == nil {
		w.fail(w.tx.QueryRowContext(w.ctx, "PRAGMA page_count").Scan(&n))
	}
	return n
}

// buildDatabase fills clinical.db in one transaction: people, then consultations in order of time until the size is
// reached, then documents as they come. It returns the rows of each table.
func (c *clinic) buildDatabase(ctx context.Context, t *tree, p plan, docs <-chan document) (map[string]int64, error) {
	db, err := openDatabase(t.root, "_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)&_pragma=cache_size(-32768)")
	if err != nil {
		return nil, err
	}
	rows, err := c.fillDatabase(ctx, db, p, docs)
	if cerr := db.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("practice: cannot close the database: %w", cerr)
	}
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(t.file(databaseFile))
	if err != nil {
		return nil, hidePath("look at the database", err)
	}
	t.count(Database, fi.Size())
	return rows, t.stamp(databaseFile, closing(0))
}

func (c *clinic) fillDatabase(ctx context.Context, db *sql.DB, p plan, docs <-chan document) (map[string]int64, error) {
	for _, s := range []string{fmt.Sprintf("PRAGMA page_size = %d", pageSize), schema} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return nil, fmt.Errorf("practice: cannot lay out the database: %w", err)
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("practice: cannot write the database: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	w := c.newWriter(ctx, tx)
	for n := range c.patients {
		w.patient(n)
	}
	r := c.rng("consultations", 0)
	limit := p.database/pageSize*rowsBeforeIndexes/100 - int64(p.hl7+p.scans)/24
	for filled := w.pages(); filled < limit && w.err == nil; filled = w.pages() {
		// Time runs with the share of the database that is full, so that consultations come in order.
		day := dayZero.AddDate(0, 0, -int(3*365*(limit-filled)/limit))
		for range 16 {
			w.consultation(r, moment(r, day))
		}
	}
	for d := range docs {
		w.document(d)
	}
	if err := w.finish(true); err != nil {
		return nil, err
	}
	return w.next, nil
}

// finish records the number of rows and commits.
func (w *writer) finish(fresh bool) error {
	exec := func(s string, args ...any) {
		if w.err == nil {
			_, err := w.tx.ExecContext(w.ctx, s, args...)
			w.fail(err)
		}
	}
	for _, name := range tables {
		exec("INSERT OR REPLACE INTO row_counts SELECT ?, count(*) FROM "+name, name)
	}
	if fresh {
		exec(indexes)
	}
	if w.err == nil {
		w.fail(w.tx.Commit())
	}
	return w.err
}
