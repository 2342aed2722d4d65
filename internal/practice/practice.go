// Package practice makes the data folder of an invented general practice, at any size, and lives days in it.
//
// The folder holds what a clinical system keeps: a SQLite database, scanned PDFs, DICOM images, FHIR resources,
// HL7 v2 messages, letters and dictations. Every file is valid in its format, and the database lists every document
// with its size and SHA-256, so that a restored folder can be proven usable by [Check]. All people are invented.
//
// The same [Options] give the same bytes, names and times on every run. [Generate] makes day 0, [LiveDay] lives one
// later day in place. Memory stays bounded whatever the size.
//
// The layout:
//
//	clinical.db                      patients, appointments, observations, medications, allergies, notes, documents
//	scans/YYYY/MM/*.pdf              scanned pages, one JPEG each
//	images/<study>/*.dcm             CT, CR, US and secondary capture
//	fhir/*.ndjson, fhir/<Type>/*.json, fhir/manifest.json
//	hl7/in/YYYY/MM/DD/*.hl7          ADT^A01, ORU^R01, SIU^S12
//	letters/…/*.rtf, *.txt           letters, with some long and non-ASCII names, and an empty file
//	audio/*.wav, audio/reserved.tmp  dictations, and a file of zeros
package practice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// DefaultSize is the size of a practice when [Options.Size] is zero: 24 MiB, made in a second or two.
const DefaultSize int64 = 24 << 20

// MinSize is the smallest practice that still holds every kind: 4 MiB. A smaller [Options.Size] is raised to it.
const MinSize int64 = 4 << 20

// Kind names one sort of data. It is also the top folder that holds it, except for [Database].
type Kind string

// The kinds, in the order in which [Kinds] lists them.
const (
	Database Kind = "database" // clinical.db
	Scans    Kind = "scans"    // PDF
	Images   Kind = "images"   // DICOM
	FHIR     Kind = "fhir"     // NDJSON and JSON
	HL7      Kind = "hl7"      // HL7 v2.4 messages
	Letters  Kind = "letters"  // RTF and plain text
	Audio    Kind = "audio"    // WAV, and one file of zeros
)

// Kinds returns every kind in a fixed order.
func Kinds() []Kind { return []Kind{Database, Scans, Images, FHIR, HL7, Letters, Audio} }

// Options chooses a practice. The zero value and nil are both usable.
type Options struct {
	// Seed selects the practice: another seed, other people and other bytes.
	Seed uint64
	// Size is the wanted size of day 0 in bytes, met within a few per cent. Zero means DefaultSize.
	Size int64
	// Canary, when set, is the family name of patient 0 and is worked into file names, folder names and contents of
	// every kind, so that a test can look for it where no patient data may appear. 1 to 40 of A-Z a-z 0-9 and '-'.
	Canary string
	// Workers is how many files are made at once. Zero means one for each processor. It does not change the result.
	Workers int
	// Progress, when set, is called after each file with the running total of its kind. Calls never overlap, but
	// come from several goroutines. It must be quick.
	Progress func(kind Kind, soFar Count)
}

// Count is a number of files and their bytes.
type Count struct {
	Files int   // regular files
	Bytes int64 // sum of their sizes, in bytes
}

// Summary says what [Generate] made.
type Summary struct {
	Total    Count            // all files
	Kinds    map[Kind]Count   // the same by kind
	Rows     map[string]int64 // rows of each database table
	Patients int              // patients in the database
	Elapsed  time.Duration    // wall time
}

// clinic is one practice: what is needed to derive anything in it from the seed. It is read-only after newClinic.
type clinic struct {
	seed     uint64
	canary   string
	size     int64
	workers  int
	patients int // how many patients can be referred to
	exported int // how many of them the FHIR export holds, from the first
	prose    *grammar
}

func newClinic(opts *Options) (*clinic, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if !canaryFits(o.Canary) {
		return nil, errors.New("practice: the canary must be 1 to 40 letters, digits or hyphens")
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	c := &clinic{seed: o.Seed, canary: o.Canary, size: max(o.Size, MinSize), workers: o.Workers}
	c.prose = compileGrammar(clinicalProse)
	p := newPlan(c.size)
	c.patients, c.exported = p.patients, min(p.fhirCount(0), p.patients)
	return c, nil
}

// canaryFits keeps to what is safe in a file name, an HL7 field, a DICOM name and a PDF string alike.
func canaryFits(s string) bool {
	return len(s) <= 40 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

// plan holds how much of each kind a practice of a given size has. The shares were measured so that 1.03 GiB
// comes to about 15.7 thousand files.
type plan struct {
	patients    int
	database    int64 // bytes
	scans       int
	images      int64 // bytes
	fhir        int64 // bytes
	fhirSingles int
	hl7         int
	letters     int
	audio       int64 // bytes, without the zeros
	zeros       int64 // bytes
}

func newPlan(size int64) plan {
	p := plan{
		patients:    int(max(size/62_000, 40)),
		database:    size * 25 / 100,
		scans:       int(max(size*35/100/meanScan, 3)),
		images:      size * 25 / 100,
		fhir:        size * 8 / 100,
		fhirSingles: int(max(size/1_900_000, int64(len(fhirTypes)))),
		hl7:         int(max(size/91_000, 12)),
		letters:     int(max(size/1_250_000, 12)),
		zeros:       min(max(size/24, 256<<10), 2<<20),
	}
	p.audio = max(size*52/1000-p.zeros, 64<<10)
	return p
}

// Generate makes day 0 of a practice in dir, which is made when missing and must be empty. It stops soon after ctx
// ends, leaving what it had written. Nothing is synced to disk: the data is for tests and measurements.
func Generate(ctx context.Context, dir string, opts *Options) (*Summary, error) {
	start := time.Now()
	c, err := newClinic(opts)
	if err != nil {
		return nil, err
	}
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	t := newTree(dir, closing(0), progressOf(opts))
	p := newPlan(c.size)
	// The database lists the documents, so files are made while it is being filled with everything else, and
	// arrive in a fixed order. The buffer bounds memory: past it, files wait for the database.
	docs := make(chan document, 1<<16)
	var rows map[string]int64
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(docs)
		return c.generateFiles(ctx, t, p, docs)
	})
	g.Go(func() error {
		var err error
		rows, err = c.buildDatabase(ctx, t, p, docs)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	s := &Summary{Kinds: t.counts, Rows: rows, Patients: p.patients, Elapsed: time.Since(start)}
	for _, n := range t.counts {
		s.Total.Files += n.Files
		s.Total.Bytes += n.Bytes
	}
	return s, nil
}

// generateFiles makes everything but the database.
func (c *clinic) generateFiles(ctx context.Context, t *tree, p plan, docs chan<- document) error {
	slices := planStudies(p.images)
	audio := planAudio(p.audio)
	batches := []struct {
		n    int
		make func(i int) (item, error)
	}{
		{p.scans, func(i int) (item, error) { return c.scan("scan", i, historical) }},
		{len(slices), func(i int) (item, error) { return c.slice("image", slices[i], historical) }},
		{p.hl7, func(i int) (item, error) { return c.message("hl7", i, c.messageTime(i, p.hl7)) }},
		{p.letters, func(i int) (item, error) { return c.letter("letter", i, historical) }},
		{len(audio), func(i int) (item, error) { return c.dictation("audio", i, audio[i], historical) }},
		{oddities, func(i int) (item, error) { return c.oddity(i, p) }},
	}
	for _, b := range batches {
		if err := writeItems(ctx, t, c.workers, b.n, b.make, docs); err != nil {
			return err
		}
	}
	return c.writeFHIR(ctx, t, p)
}

func progressOf(opts *Options) func(Kind, Count) {
	if opts == nil {
		return nil
	}
	return opts.Progress
}

// emptyDir makes dir, or accepts it when it is there and empty.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hidePath("make the folder", err)
	}
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return hidePath("open the folder", err)
	}
	defer d.Close()
	if names, _ := d.Readdirnames(1); len(names) > 0 {
		return errors.New("practice: the folder is not empty; choose a new one")
	}
	return nil
}

// hidePath keeps the cause and drops the name from an error of the file system: names are patient data.
func hidePath(doing string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("practice: cannot %s: %w", doing, pe.Err)
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return fmt.Errorf("practice: cannot %s: %w", doing, le.Err)
	}
	return fmt.Errorf("practice: cannot %s: %w", doing, err)
}
