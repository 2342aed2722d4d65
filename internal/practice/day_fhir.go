package practice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
)

// exportFHIR appends the day's resources, adds an export of the day's observations, and revises a few resources.
func (l *living) exportFHIR(ctx context.Context, firstPatient, endPatient int) error {
	m, err := readManifest(l.t.file("fhir/manifest.json"))
	if err != nil {
		return err
	}
	old := map[string]int{}
	for _, o := range m.Output {
		old[o.Type] = max(old[o.Type], o.Count)
	}
	p := newPlan(l.c.size)
	era := fhirEra{at: on(l.day)}
	for i, k := range fhirTypes {
		first, grown := old[k.name], max(p.fhirCount(i)*18/1000, 1)
		if k.name == "Encounter" {
			era.first, era.encounters = first, first+grown
		}
		from, end := first, first+grown
		if k.name == "Patient" {
			from, end = firstPatient, endPatient
		}
		rel := "fhir/" + k.name + ".ndjson"
		if err := l.grow(rel, func() error { return l.c.appendFHIR(ctx, l.t, rel, k.name, from, end, era, closing(l.day)) }); err != nil {
			return err
		}
		m.Output[i].Count = first + end - from
	}
	if err := l.dailyExport(ctx, old["Observation"], era); err != nil {
		return err
	}
	if err := l.reviseFHIR(); err != nil {
		return err
	}
	d, err := writeManifest(l.t, m, closing(l.day))
	l.changed[d.path] = d.size
	return err
}

// dailyExport writes the day's observations once more, to a file of their own.
func (l *living) dailyExport(ctx context.Context, first int, era fhirEra) error {
	s, err := l.t.open(FHIR, "fhir/daily/"+closing(l.day).Format(dateForm)+".ndjson", closing(l.day), false)
	if err != nil {
		return err
	}
	err = l.c.encodeFHIR(ctx, s, "Observation", first, first+l.scaled(900), era)
	size, cerr := s.close()
	l.add(l.sum.Added, FHIR, size)
	return errors.Join(err, cerr)
}

// grow runs a step and records by how much it made a file longer.
func (l *living) grow(rel string, step func() error) error {
	before, err := os.Stat(l.t.file(rel))
	if err != nil {
		return hidePath("look at a file", err)
	}
	if err := step(); err != nil {
		return err
	}
	after, err := os.Stat(l.t.file(rel))
	if err != nil {
		return hidePath("look at a file", err)
	}
	if grown := after.Size() - before.Size(); grown > 0 {
		l.changed[rel] = grown
	}
	return nil
}

func readManifest(file string) (manifest, error) {
	var m manifest
	data, err := os.ReadFile(file)
	if err != nil {
		return m, hidePath("read the manifest", err)
	}
	if err := json.Unmarshal(data, &m); err != nil || len(m.Output) < len(fhirTypes) {
		return m, errors.New("practice: the FHIR manifest is damaged")
	}
	return m, nil
}

// reviseFHIR raises the version of a few single patients.
func (l *living) reviseFHIR() error {
	list, err := os.ReadDir(l.t.file("fhir/Patient"))
	if err != nil {
		return hidePath("list a folder", err)
	}
	for range min(l.scaled(4), len(list)) {
		rel := path.Join("fhir/Patient", pick(l.r, list).Name())
		data, err := os.ReadFile(l.t.file(rel))
		if err != nil {
			return hidePath("read a resource", err)
		}
		var res object
		if err := json.Unmarshal(data, &res); err != nil {
			return errors.New("practice: a FHIR resource is damaged")
		}
		res["meta"] = object{"versionId": fmt.Sprint(l.day + 1), "lastUpdated": closing(l.day).Format(stampForm)}
		data, err = json.MarshalIndent(res, "", "  ")
		if err != nil {
			return fmt.Errorf("practice: cannot encode a resource: %w", err)
		}
		d, err := l.t.write(item{FHIR, rel, append(data, '\n'), closing(l.day), -1})
		if err != nil {
			return err
		}
		l.changed[rel] = d.size
	}
	return nil
}
