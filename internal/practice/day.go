package practice

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// DaySummary says what one lived day did.
type DaySummary struct {
	Added   map[Kind]Count // new files
	Changed map[Kind]Count // files that existed: Bytes are those appended or rewritten, for the database the changed pages
	Removed int            // files deleted
	Renamed int            // files renamed or moved, with the same bytes
	// BytesChanged is the sum of Added and Changed: what a perfect backup of the day has to look at, in bytes.
	BytesChanged int64
	RowsInserted int64         // in all tables
	RowsUpdated  int64         // in all tables
	PagesChanged int64         // database pages of 4096 bytes, new or different
	Elapsed      time.Duration // wall time
}

// LiveDay lives one day in dir, in place: consultations and scattered updates in the database, new scans, images,
// messages and dictations, FHIR resources appended, a few letters changed, a document and a message deleted, two
// documents renamed. The options must be those that made the practice. Days are lived once each, from 1 upwards;
// a day that was lived already is refused. A day cut short by ctx or an error leaves a folder fit only for deletion.
func LiveDay(ctx context.Context, dir string, day int, opts *Options) (*DaySummary, error) {
	start := time.Now()
	c, err := newClinic(opts)
	if err != nil {
		return nil, err
	}
	if day < 1 {
		return nil, errors.New("practice: days to live are numbered from 1")
	}
	t := newTree(dir, closing(day), progressOf(opts))
	if _, err := os.Stat(t.file(dayFolder(day))); err == nil {
		return nil, errors.New("practice: this day was lived already; live the next one")
	}
	before, err := pageSums(t.file(databaseFile))
	if err != nil {
		return nil, err
	}
	l := &living{c: c, t: t, day: day, r: c.rng("day", day), changed: map[string]int64{}, sum: &DaySummary{Added: map[Kind]Count{}, Changed: map[Kind]Count{}}}
	if err := l.live(ctx); err != nil {
		return nil, err
	}
	if err := t.stamp(databaseFile, closing(day)); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	return l.summary(before, start)
}

func dayFolder(day int) string { return "hl7/in/" + dayZero.AddDate(0, 0, day).Format("2006/01/02") }

// living is one day in progress.
type living struct {
	c   *clinic
	t   *tree
	day int
	r   *rand.Rand
	sum *DaySummary

	had     map[string]int64 // last id of each table at the start of the day
	changed map[string]int64 // bytes appended to or rewritten in each file that existed
}

// live does everything in one transaction of the database, which is committed last.
func (l *living) live(ctx context.Context) error {
	db, err := openDatabase(l.t.root, "_pragma=foreign_keys(1)&_pragma=cache_size(-16384)&_pragma=synchronous(OFF)")
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("practice: cannot write the database: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	w := l.c.newWriter(ctx, tx)
	for _, name := range tables {
		var last int64
		if w.err == nil {
			w.fail(tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM "+name).Scan(&last))
		}
		w.next[name] = last
	}
	if w.err != nil {
		return w.err
	}
	l.had = maps.Clone(w.next)
	l.consult(w)
	for _, step := range []func(context.Context, *writer) error{l.arrivals, l.correctLetters, l.tidy} {
		if err := step(ctx, w); err != nil {
			return err
		}
	}
	if err := l.exportFHIR(ctx, int(l.had["patients"]), int(w.next["patients"])); err != nil {
		return err
	}
	if err := w.finish(false); err != nil {
		return err
	}
	for name, last := range w.next {
		l.sum.RowsInserted += last - l.had[name]
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("practice: cannot close the database: %w", err)
	}
	return nil
}

// scaled is n for a practice of 1 GiB, in proportion for others, and at least one.
func (l *living) scaled(n int64) int { return int(max(n*l.c.size>>30, 1)) }

// consult adds the day's rows and updates rows all over the database.
func (l *living) consult(w *writer) {
	for range l.scaled(6) {
		w.patient(int(w.next["patients"]))
	}
	for range l.scaled(260) {
		w.consultation(l.r, on(l.day)(l.r))
	}
	update := func(times int, table, set string, value func() any) {
		for range times {
			if w.err != nil {
				return
			}
			_, err := w.tx.ExecContext(w.ctx, "UPDATE "+table+" SET "+set+" WHERE id = ?", value(), 1+l.r.Int64N(w.next[table]))
			w.fail(err)
			l.sum.RowsUpdated++
		}
	}
	update(l.scaled(120), "patients", "phone = ?", func() any { return fmt.Sprintf("03 5550 %04d", l.r.IntN(10000)) })
	update(l.scaled(260), "appointments", "billing = ?", func() any { return fmt.Sprintf("item %d, paid", 3+l.r.IntN(960)) })
	update(l.scaled(160), "medications", "repeats = ?", func() any { return l.r.IntN(6) })
	update(l.scaled(220), "observations", "flag = ?", func() any { return pick(l.r, []string{"L", "N", "H"}) })
	for range l.scaled(60) {
		l.amendNote(w)
	}
}

// amendNote rewrites an old note with an addendum, as an audit trail would.
func (l *living) amendNote(w *writer) {
	if w.err != nil {
		return
	}
	id := 1 + l.r.Int64N(w.next["notes"])
	var body string
	w.fail(w.tx.QueryRowContext(w.ctx, "SELECT body FROM notes WHERE id = ?", id).Scan(&body))
	body += "\nAddendum " + closing(l.day).Format(dateForm) + ": " + string(l.c.prose.expand(nil, l.r, "aside"))
	digest := sha256.Sum256([]byte(body))
	if w.err == nil {
		_, err := w.tx.ExecContext(w.ctx, "UPDATE notes SET body = ?, digest = ? WHERE id = ?", body, digest[:], id)
		w.fail(err)
		l.sum.RowsUpdated++
	}
}

// arrivals makes the new files of the day.
func (l *living) arrivals(ctx context.Context, w *writer) error {
	c, p, today := l.c, newPlan(l.c.size), on(l.day)
	name := func(what string) string { return fmt.Sprintf("d%03d%s", l.day, what) }
	images := planStudies(p.images * 26 / 1000)
	audio := planAudio(max(p.audio*26/1000, 16<<10))
	batches := []struct {
		n    int
		make func(i int) (item, error)
	}{
		{max(p.scans*26/1000, 1), func(i int) (item, error) { return c.scan(name("s"), i, today) }},
		{len(images), func(i int) (item, error) { return c.slice(name("i"), images[i], today) }},
		{max(p.hl7*18/1000, 3), func(i int) (item, error) { return c.message(name("m"), i, today) }},
		{max(p.letters*10/1000, 1), func(i int) (item, error) { return c.letter(name("l"), i, today) }},
		{len(audio), func(i int) (item, error) { return c.dictation(name("a"), i, audio[i], today) }},
	}
	for _, b := range batches {
		docs := make(chan document, b.n)
		if err := writeItems(ctx, l.t, c.workers, b.n, b.make, docs); err != nil {
			return err
		}
		close(docs)
		for d := range docs {
			w.document(d)
			l.add(l.sum.Added, d.kind, d.size)
		}
	}
	return w.err
}

func (l *living) add(m map[Kind]Count, k Kind, size int64) {
	n := m[k]
	n.Files++
	n.Bytes += size
	m[k] = n
}

// someDocument draws a document of an earlier day whose path is like a pattern. id is 0 when there is none.
func (l *living) someDocument(w *writer, like string) (id int64, rel string) {
	if w.err != nil {
		return 0, ""
	}
	from := 1 + l.r.Int64N(l.had["documents"])
	const next = "SELECT id, path FROM documents WHERE path LIKE ? AND id <= ? ORDER BY id < ?, id LIMIT 1"
	err := w.tx.QueryRowContext(w.ctx, next, like, l.had["documents"], from).Scan(&id, &rel)
	if !errors.Is(err, sql.ErrNoRows) {
		w.fail(err)
	}
	return id, rel
}

// correctLetters rewrites a few plain letters with a correction in the middle.
func (l *living) correctLetters(_ context.Context, w *writer) error {
	for range min(l.scaled(6), 40) + 1 {
		id, rel := l.someDocument(w, "letters/____/%.txt")
		if id == 0 {
			return w.err
		}
		old, err := os.ReadFile(l.t.file(rel))
		if err != nil {
			return hidePath("read a letter", err)
		}
		at := bytes.Index(old, []byte("\n\n")) + 2
		at += bytes.Index(old[at:], []byte("\n\n")) + 2
		text := slices.Concat(old[:at], l.c.prose.expand([]byte("CORRECTED: "), l.r, "history"), []byte("\n\n"), old[at:])
		d, err := l.t.write(item{Letters, rel, text, closing(l.day), -1})
		if err != nil {
			return err
		}
		_, err = w.tx.ExecContext(w.ctx, "UPDATE documents SET size = ?, sha256 = ?, saved_at = ? WHERE id = ?", d.size, d.sum[:], d.when.Format(stampForm), id)
		w.fail(err)
		l.sum.RowsUpdated++
		l.changed[rel] = d.size
	}
	return w.err
}

// tidy deletes an RTF letter and a message, moves a scan to an archive and renames a message.
func (l *living) tidy(_ context.Context, w *writer) error {
	for _, like := range []string{"letters/____/%.rtf", "hl7/in/%_ADT_A01_%.hl7"} {
		id, rel := l.someDocument(w, like)
		if id == 0 {
			continue
		}
		if err := l.t.parent(rel); err != nil {
			return err
		}
		if err := os.Remove(l.t.file(rel)); err != nil {
			return hidePath("delete a file", err)
		}
		_, err := w.tx.ExecContext(w.ctx, "DELETE FROM documents WHERE id = ?", id)
		w.fail(err)
		l.sum.Removed++
	}
	id, rel := l.someDocument(w, "scans/____/__/%.pdf")
	if err := l.rename(w, id, rel, strings.Replace(rel, "scans/", "scans/archive/", 1)); err != nil {
		return err
	}
	id, rel = l.someDocument(w, "hl7/in/%_ORU_R01_%.hl7")
	return l.rename(w, id, rel, strings.TrimSuffix(rel, ".hl7")+fmt.Sprintf("_seen%03d.hl7", l.day))
}

func (l *living) rename(w *writer, id int64, from, to string) error {
	if id == 0 {
		return w.err
	}
	for _, rel := range []string{from, to} {
		if err := l.t.parent(rel); err != nil {
			return err
		}
	}
	if err := os.Rename(l.t.file(from), l.t.file(to)); err != nil {
		return hidePath("rename a file", err)
	}
	_, err := w.tx.ExecContext(w.ctx, "UPDATE documents SET path = ? WHERE id = ?", to, id)
	w.fail(err)
	l.sum.RowsUpdated++
	l.sum.Renamed++
	return w.err
}

// pageSums is a checksum of each page of the database.
func pageSums(file string) ([]uint32, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, hidePath("read the database", err)
	}
	defer f.Close()
	table := crc32.MakeTable(crc32.Castagnoli)
	var sums []uint32
	for buf := make([]byte, 256*pageSize); ; {
		n, err := io.ReadFull(f, buf)
		for at := 0; at+pageSize <= n; at += pageSize {
			sums = append(sums, crc32.Checksum(buf[at:at+pageSize], table))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return sums, nil
		}
		if err != nil {
			return nil, hidePath("read the database", err)
		}
	}
}

func (l *living) summary(before []uint32, start time.Time) (*DaySummary, error) {
	after, err := pageSums(l.t.file(databaseFile))
	if err != nil {
		return nil, err
	}
	s := l.sum
	for i, sum := range after {
		if i >= len(before) || sum != before[i] {
			s.PagesChanged++
		}
	}
	l.sum.Changed[Database] = Count{Files: 1, Bytes: s.PagesChanged * pageSize}
	for rel, size := range l.changed {
		kind, _, _ := strings.Cut(rel, "/")
		l.add(s.Changed, Kind(kind), size)
	}
	for _, m := range []map[Kind]Count{s.Added, s.Changed} {
		for _, n := range m {
			s.BytesChanged += n.Bytes
		}
	}
	s.Elapsed = time.Since(start)
	return s, nil
}
