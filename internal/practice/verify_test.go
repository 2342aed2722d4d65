package practice_test

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite", to damage databases by statement

	"github.com/carekeep/carekeep/internal/practice"
)

func TestCheckAcceptsWhatWasMade(t *testing.T) {
	t.Parallel()
	dir, _ := sample(t)
	before := digest(t, dir)
	require.NoError(t, practice.Check(t.Context(), dir))
	require.Equal(t, before, digest(t, dir), "checking changes nothing")
}

// nth lists files by the pattern of their name, in order, and gives number n.
func nth(t *testing.T, dir, prefix, suffix string, n int) string {
	t.Helper()
	var all []string
	walk(t, dir, func(rel string, e fs.DirEntry) {
		info, err := e.Info()
		require.NoError(t, err)
		if !e.IsDir() && strings.HasPrefix(rel, prefix) && strings.HasSuffix(rel, suffix) && info.Size() > 0 {
			all = append(all, rel)
		}
	})
	require.Greater(t, len(all), n, "too few files %s…%s", prefix, suffix)
	return all[n]
}

// swap replaces the first occurrence of a by b.
func swap(a, b string) func([]byte) []byte {
	return func(d []byte) []byte { return bytes.Replace(d, []byte(a), []byte(b), 1) }
}

func cut(n int) func([]byte) []byte { return func(d []byte) []byte { return d[:len(d)-n] } }

// flip changes one bit in the middle, where only a digest sees it.
func flip(d []byte) []byte {
	d[len(d)/2] ^= 1
	return d
}

// TestCheckFindsDamage damages one file in each way and expects each to be found, with a reason, and nothing else.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := small(3)
	opts.Size = 7 << 20 // enough for three images
	_, err := practice.Generate(t.Context(), dir, opts)
	require.NoError(t, err)
	cases := []struct {
		prefix, suffix string
		n              int
		damage         func([]byte) []byte
		reason         string
	}{
		{"scans/", ".pdf", 0, cut(200), "pdf"},
		{"scans/", ".pdf", 1, swap("0000000015 00000 n", "0000000016 00000 n"), "pdf: an xref entry"},
		{"scans/", ".pdf", 2, flip, "differs from the database"},
		{"scans/inbox/", ".pdf", 0, swap("/Width 827", "/Width 828"), "JPEG"},
		{"images/", ".dcm", 0, cut(2), "dicom: an element"},
		{"images/", ".dcm", 1, swap("1.2.840.10008.1.2.1\x00", "1.2.840.10008.1.2.2\x00"), "dicom: another transfer syntax"},
		{"images/", ".dcm", 2, flip, "differs from the database"},
		{"hl7/", ".hl7", 0, swap("PID|", "PIX|"), "hl7: segment PID"},
		{"hl7/", ".hl7", 1, cut(1), "hl7: no header, no last carriage return"},
		{"hl7/", ".hl7", 2, swap("|2.4", "|2.6"), "hl7: the header"},
		{"hl7/", ".hl7", 3, func(d []byte) []byte { return make([]byte, len(d)) }, "hl7: no header"},
		{"letters/20", ".rtf", 0, cut(2), "rtf: groups are not closed"},
		{"letters/20", ".rtf", 1, swap("Thank you", "Thank yoo"), "differs from the database"},
		{"letters/20", ".txt", 0, cut(1), "text: not whole lines"},
		{"letters/overseas/", ".txt", 0, func([]byte) []byte { return nil }, "text: not whole lines"},
		{"audio/", ".wav", 0, cut(2), "wav: no header or another length"},
		{"audio/", ".tmp", 0, flip, "differs from the database"},
		{"fhir/Observation.", ".ndjson", 0, cut(1), "fhir: the last line"},
		{"fhir/Condition.", ".ndjson", 0, swap("Patient/", "Patient/x"), "fhir: a reference"},
		{"fhir/Encounter.", ".ndjson", 0, func(d []byte) []byte { return d[bytes.IndexByte(d, '\n')+1:] }, "fhir: "},
		{"fhir/Patient/", ".json", 0, swap("birthDate", "birthdate"), "fhir: Patient without birthDate"},
		{"fhir/Condition/", ".json", 0, cut(3), "fhir: not JSON"},
	}
	want := map[string]string{}
	for _, c := range cases {
		rel := nth(t, dir, c.prefix, c.suffix, c.n)
		file := filepath.Join(dir, rel)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		bad := c.damage(bytes.Clone(data))
		require.NotEqual(t, data, bad, "no damage done: %s", c.reason)
		require.NoError(t, os.WriteFile(file, bad, 0o644))
		require.NotContains(t, want, rel)
		want[rel] = c.reason
	}
	gone := nth(t, dir, "hl7/", ".hl7", 4)
	require.NoError(t, os.Remove(filepath.Join(dir, gone)))
	want[gone] = "missing"
	extra := path.Dir(gone) + "/copy.hl7"
	data, err := os.ReadFile(filepath.Join(dir, nth(t, dir, "hl7/", ".hl7", 5)))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, extra), data, 0o644))
	want[extra] = "does not list"

	err = practice.Check(t.Context(), dir)
	var bad *practice.CheckError
	require.True(t, errors.As(err, &bad))
	found := map[string]string{}
	for _, f := range bad.Faults {
		found[f.Path] += f.Err.Error() + "; "
		require.NotContains(t, f.Err.Error(), path.Base(f.Path))
	}
	for rel, reason := range want {
		require.Contains(t, found[rel], reason, rel)
	}
	require.Len(t, found, len(want))
	require.NotContains(t, err.Error(), canary)
}

func TestCheckFindsDamageInTheDatabase(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	_, err := practice.Generate(t.Context(), whole, small(4))
	require.NoError(t, err)
	run := func(statement string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			db, err := sql.Open("sqlite", file)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.Exec(statement)
			require.NoError(t, err)
		}
	}
	edit := func(do func([]byte) []byte) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, do(data), 0o644))
		}
	}
	// One copy serves all cases: each puts its own database in place.
	dir := copyOf(t, whole)
	for name, c := range map[string]struct {
		damage func(t *testing.T, file string)
		reason string
	}{
		"text of a note":     {edit(func(d []byte) []byte { return bytes.ReplaceAll(d, []byte("\nPlan: "), []byte("\nPlan? ")) }), "does not match its digest"},
		"zeroed page":        {edit(func(d []byte) []byte { clear(d[40*4096 : 41*4096]); return d }), "integrity_check"},
		"cut short":          {edit(func(d []byte) []byte { return d[:len(d)/2] }), "integrity_check"},
		"dangling reference": {run("PRAGMA foreign_keys=0; UPDATE notes SET appointment_id = 99999999 WHERE id = 3"), "foreign_key_check"},
		"lost row":           {run("DELETE FROM observations WHERE id = 5"), "observations has"},
		"not a database":     {edit(func(d []byte) []byte { copy(d, "not a database..."); return d }), "not a database"},
		"missing":            {func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) }, "cannot find the database"},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(whole, "clinical.db"))
			require.NoError(t, err)
			file := filepath.Join(dir, "clinical.db")
			require.NoError(t, os.WriteFile(file, data, 0o644))
			c.damage(t, file)
			err = practice.Check(t.Context(), dir)
			var bad *practice.CheckError
			require.True(t, errors.As(err, &bad))
			var reasons strings.Builder
			for _, f := range bad.Faults {
				if f.Kind == practice.Database {
					reasons.WriteString(f.Err.Error() + "; ")
				}
			}
			require.Contains(t, reasons.String(), c.reason)
		})
	}
}

// tool finds a program, or skips; with CAREKEEP_REAL=1 its absence is a failure.
func tool(t *testing.T, name, install string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		missing(t, install)
	}
	return found
}

func missing(t *testing.T, install string) {
	t.Helper()
	if os.Getenv("CAREKEEP_REAL") == "1" {
		t.Fatal("needed with CAREKEEP_REAL=1: " + install)
	}
	t.Skip("not installed; for this test: " + install)
}

// files lists what has a suffix below dir.
func files(t *testing.T, dir, suffix string) (all []string) {
	t.Helper()
	walk(t, dir, func(rel string, e fs.DirEntry) {
		if !e.IsDir() && strings.HasSuffix(rel, suffix) {
			all = append(all, filepath.Join(dir, rel))
		}
	})
	require.NotEmpty(t, all)
	return all
}

func TestDCMTKReadsTheImages(t *testing.T) {
	t.Parallel()
	ftest, dump := tool(t, "dcmftest", "apt-get install dcmtk"), tool(t, "dcmdump", "apt-get install dcmtk")
	dir, _ := sample(t)
	images := files(t, dir, ".dcm")
	out, err := exec.CommandContext(t.Context(), ftest, images...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, len(images), strings.Count("\n"+string(out), "\nyes: "))
	out, err = exec.CommandContext(t.Context(), dump, append([]string{"+P", "PatientName", "+P", "Modality"}, images...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "E: ")
	require.NotContains(t, string(out), "W: ")
	require.Contains(t, string(out), canary)
	for _, modality := range []string{"[CT]", "[US]", "[CR]", "[OT]"} {
		require.Contains(t, string(out), modality)
	}
}

const readWithPydicom = `
import sys, pydicom
for name in sys.argv[1:]:
    d = pydicom.dcmread(name)
    assert len(d.PixelData) == d.Rows * d.Columns * d.BitsAllocated // 8, "pixels"
    assert d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID, "uid"
    assert d.PatientName.family_name and d.PatientID.startswith("MRN"), "patient"
    assert pydicom.uid.UID(d.SOPInstanceUID).is_valid, "uid form"
    for e in d: str(e)
    print("read")
`

func TestPydicomReadsTheImages(t *testing.T) {
	t.Parallel()
	const install = "apt-get install python3-pydicom"
	python := tool(t, "/usr/bin/python3", install)
	if err := exec.CommandContext(t.Context(), python, "-c", "import pydicom").Run(); err != nil {
		missing(t, install)
	}
	dir, _ := sample(t)
	images := files(t, dir, ".dcm")
	out, err := exec.CommandContext(t.Context(), python, append([]string{"-c", readWithPydicom}, images...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, len(images), strings.Count(string(out), "read"))
}

func TestPopplerReadsTheScans(t *testing.T) {
	t.Parallel()
	info := tool(t, "pdfinfo", "apt-get install poppler-utils")
	dir, _ := sample(t)
	for _, name := range files(t, dir, ".pdf")[:12] {
		out, err := exec.CommandContext(t.Context(), info, name).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "Front desk scanner")
		require.NotContains(t, string(out), "Error")
	}
}
