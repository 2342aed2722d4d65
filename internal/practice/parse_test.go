package practice

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse feeds damaged files to the format checks: they may refuse, never panic.
func FuzzParse(f *testing.F) {
	c, err := newClinic(&Options{Size: MinSize})
	require.NoError(f, err)
	r := c.rng("fuzz", 0)
	pdf, err := scannedPDF(r, 1, "title", dayZero)
	require.NoError(f, err)
	hl7, err := c.message("m", 0, historical)
	require.NoError(f, err)
	image, err := c.slice("i", sliceSpec{number: 1, modality: "US", rows: 64, columns: 64}, historical)
	require.NoError(f, err)
	samples := map[string][]byte{".pdf": pdf, ".hl7": hl7.data, ".dcm": image.data, ".wav": wav(make([]byte, 8), c.patient(0)), ".rtf": rtf("é{}\n"), ".txt": []byte("x\n")}
	for ext, data := range samples {
		require.NoError(f, parse("x"+ext, data))
		f.Add(ext, data)
		f.Add(ext, data[:len(data)/2])
	}
	f.Add(".json", []byte(`{"resourceType":"Patient","id":"1","name":1,"birthDate":"","gender":""}`))
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		if ext == ".json" {
			_, _, _ = checkResource(data, map[string]bool{})
			return
		}
		_ = parse("x"+ext, data)
	})
}

// TestManifestMayBeHostile: the manifest of a damaged folder is only data.
func TestManifestMayBeHostile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/manifest.json"
	for _, text := range []string{"", "{", `{"output":[]}`, `{"output":"x"}`} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		_, err := readManifest(file)
		require.ErrorContains(t, err, "damaged")
	}
}
