package practice

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// fhirNeeds lists what each resource must have besides an id.
var fhirNeeds = map[string][]string{
	"Patient": {"name", "birthDate", "gender"}, "Encounter": {"status", "class", "subject"}, "Observation": {"status", "code", "subject"},
	"MedicationRequest": {"status", "intent", "medicationCodeableConcept", "subject"}, "AllergyIntolerance": {"patient", "clinicalStatus"},
	"Condition": {"subject", "clinicalStatus"}, "DocumentReference": {"status", "content", "subject"},
}

// checkResource parses one resource and gives its type and id. With patients, its subject must be one of them.
func checkResource(line []byte, patients map[string]bool) (kind, id string, err error) {
	var res map[string]json.RawMessage
	if err := json.Unmarshal(line, &res); err != nil {
		return "", "", errors.New("fhir: not JSON")
	}
	text := func(key string) (s string) {
		_ = json.Unmarshal(res[key], &s) // another type reads as empty and fails below
		return s
	}
	kind, id = text("resourceType"), text("id")
	needs, known := fhirNeeds[kind]
	odd := strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
	if !known || odd || id == "" || len(id) > 64 {
		return "", "", errors.New("fhir: no known resourceType or no id")
	}
	for _, key := range needs {
		if len(res[key]) == 0 {
			return "", "", fmt.Errorf("fhir: %s without %s", kind, key)
		}
	}
	for _, key := range []string{"subject", "patient"} {
		if raw := res[key]; len(raw) > 0 && patients != nil {
			var ref struct {
				Reference string `json:"reference"`
			}
			if json.Unmarshal(raw, &ref) != nil || !patients[strings.TrimPrefix(ref.Reference, "Patient/")] {
				return "", "", errors.New("fhir: a reference to a patient that is not there")
			}
		}
	}
	return kind, id, nil
}

// lines calls do for each line of an NDJSON file; the last must be whole.
func lines(r io.Reader, do func(line []byte) error) (n int, err error) {
	for in := bufio.NewReaderSize(r, 1<<16); ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return n, nil
		}
		if err == io.EOF {
			return n, errors.New("fhir: the last line is cut short")
		}
		if err != nil {
			return n, hidePath("read a file", err)
		}
		if err := do(line); err != nil {
			return n, err
		}
	}
}

// manifest reads the ids of the patients and compares the number of lines of each file with the manifest.
func (k *checker) manifest(ctx context.Context) (map[string]bool, error) {
	patients := map[string]bool{}
	m, err := readManifest(k.file("fhir/manifest.json"))
	if err != nil {
		k.fault(FHIR, "fhir/manifest.json", err)
		return nil, nil
	}
	for i, out := range m.Output {
		rel := "fhir/" + out.URL
		if i < len(fhirTypes) && out.URL != fhirTypes[i].name+".ndjson" {
			k.fault(FHIR, "fhir/manifest.json", errors.New("fhir: the manifest lists another file"))
			continue
		}
		f, err := os.Open(k.file(rel))
		if err != nil {
			k.fault(FHIR, rel, hidePath("open an export", err))
			continue
		}
		n, err := lines(f, func(line []byte) error {
			if out.Type == "Patient" {
				if _, id, err := checkResource(line, nil); err == nil {
					patients[id] = true
				}
			}
			return ctx.Err()
		})
		f.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && n != out.Count {
			err = fmt.Errorf("fhir: %d resources, not %d", n, out.Count)
		}
		if err != nil {
			k.fault(FHIR, rel, err)
		}
	}
	return patients, nil
}

// resources parses an NDJSON file or a single resource.
func (k *checker) resources(ctx context.Context, rel string, patients map[string]bool) error {
	if rel == "fhir/manifest.json" {
		return nil
	}
	f, err := os.Open(k.file(rel))
	if err != nil {
		return hidePath("read a file", err)
	}
	defer f.Close()
	if strings.HasSuffix(rel, ".ndjson") {
		_, err = lines(f, func(line []byte) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			_, _, err := checkResource(line, patients)
			return err
		})
	} else {
		var data []byte
		if data, err = io.ReadAll(f); err == nil {
			_, _, err = checkResource(data, patients)
		}
	}
	if err != nil && ctx.Err() == nil {
		k.fault(FHIR, rel, err)
	}
	return ctx.Err()
}
