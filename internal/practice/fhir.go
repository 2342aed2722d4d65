package practice

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"time"
)

// fhirTypes lists the resource types with their share of the FHIR bytes in per cent and their mean size in bytes.
// The order matters: references point to earlier types.
var fhirTypes = []struct {
	name  string
	share int
	mean  int
}{
	{"Patient", 9, 690}, {"Encounter", 15, 630}, {"Observation", 43, 830}, {"MedicationRequest", 13, 740},
	{"AllergyIntolerance", 4, 590}, {"Condition", 7, 530}, {"DocumentReference", 9, 1040},
}

// fhirCount is how many resources of a type fill its share.
func (p plan) fhirCount(kind int) int {
	k := fhirTypes[kind]
	return int(max(p.fhir*int64(k.share)/100/int64(k.mean), 4))
}

// object is a FHIR element. encoding/json writes its keys in order, so the bytes never vary.
type object = map[string]any

// manifest lists the NDJSON files, in the shape of a FHIR bulk export.
type manifest struct {
	TransactionTime string           `json:"transactionTime"`
	Request         string           `json:"request"`
	RequiresToken   bool             `json:"requiresAccessToken"`
	Output          []manifestOutput `json:"output"`
	Error           []manifestOutput `json:"error"`
}

type manifestOutput struct {
	Type  string `json:"type"`
	URL   string `json:"url"`
	Count int    `json:"count"`
}

// writeFHIR makes the NDJSON files, some single resources and the manifest.
func (c *clinic) writeFHIR(ctx context.Context, t *tree, p plan) error {
	counts := map[string]int{}
	for i, k := range fhirTypes {
		counts[k.name] = p.fhirCount(i)
	}
	counts["Patient"] = c.exported
	era := fhirEra{encounters: counts["Encounter"], at: historical}
	m := manifest{Request: "https://fhir.example.org/$export"}
	for _, k := range fhirTypes {
		n := counts[k.name]
		if err := c.appendFHIR(ctx, t, "fhir/"+k.name+".ndjson", k.name, 0, n, era, closing(0)); err != nil {
			return err
		}
		m.Output = append(m.Output, manifestOutput{k.name, k.name + ".ndjson", n})
		singles := max(p.fhirSingles/len(fhirTypes), 1)
		for i := n - min(singles, n); i < n; i++ {
			if err := c.singleFHIR(t, k.name, i, era); err != nil {
				return err
			}
		}
	}
	_, err := writeManifest(t, m, closing(0))
	return err
}

func writeManifest(t *tree, m manifest, when time.Time) (document, error) {
	m.TransactionTime, m.Error = when.Format(stampForm), []manifestOutput{}
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return document{}, fmt.Errorf("practice: cannot encode the manifest: %w", err)
	}
	return t.write(item{FHIR, "fhir/manifest.json", append(data, '\n'), when, -1})
}

// fhirEra says which encounters resources belong to, and when those were.
type fhirEra struct {
	first, encounters int // encounters first to encounters-1
	at                clock
}

// appendFHIR adds resources first to end-1 to an NDJSON file.
func (c *clinic) appendFHIR(ctx context.Context, t *tree, rel, kind string, first, end int, era fhirEra, when time.Time) error {
	s, err := t.open(FHIR, rel, when, first > 0)
	if err != nil {
		return err
	}
	err = c.encodeFHIR(ctx, s, kind, first, end, era)
	if _, cerr := s.close(); err == nil {
		err = cerr
	}
	return err
}

// encodeFHIR writes resources first to end-1, one a line.
func (c *clinic) encodeFHIR(ctx context.Context, s *stream, kind string, first, end int, era fhirEra) error {
	enc := json.NewEncoder(s)
	enc.SetEscapeHTML(false)
	for i := first; i < end; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := enc.Encode(c.resource(kind, i, era)); err != nil {
			return hidePath("write a resource", err)
		}
	}
	return nil
}

// singleFHIR writes one resource to a file of its own, indented.
func (c *clinic) singleFHIR(t *tree, kind string, i int, era fhirEra) error {
	res := c.resource(kind, i, era)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(res); err != nil {
		return fmt.Errorf("practice: cannot encode a resource: %w", err)
	}
	when, _ := time.Parse(stampForm, res["meta"].(object)["lastUpdated"].(string))
	_, err := t.write(item{FHIR, path.Join("fhir", kind, res["id"].(string)+".json"), b.Bytes(), when, -1})
	return err
}

// fhirID derives the id of resource i.
func (c *clinic) fhirID(kind string, i int) string {
	if kind == "Patient" {
		return c.patient(i).uuid
	}
	return uuid(c.rng("id "+kind, i))
}

// resource makes resource i of a type. Everything but a Patient belongs to an encounter, and so to its patient and time.
func (c *clinic) resource(kind string, i int, era fhirEra) object {
	if kind == "Patient" {
		return c.patientResource(i)
	}
	e := i
	r := c.rng("fhir "+kind, i)
	if kind != "Encounter" {
		e = era.first + r.IntN(max(era.encounters-era.first, 1))
	}
	er := c.rng("fhir encounter of", e)
	who, when := c.patient(er.IntN(c.exported)), era.at(er)
	res := object{
		"resourceType": kind, "id": c.fhirID(kind, i),
		"meta": object{"versionId": "1", "lastUpdated": when.Format(stampForm)},
	}
	subject := object{"reference": "Patient/" + who.uuid, "display": who.given + " " + who.family}
	encounter := object{"reference": "Encounter/" + c.fhirID("Encounter", e)}
	c.fill(res, kind, r, who, subject, encounter, when)
	return res
}

func (c *clinic) patientResource(i int) object {
	p := c.patient(i)
	gender := map[string]string{"F": "female", "M": "male"}[p.sex]
	return object{
		"resourceType": "Patient", "id": p.uuid, "active": true, "gender": gender, "birthDate": p.born.Format(dateForm),
		"meta":       object{"versionId": "1", "lastUpdated": p.registered.Format(stampForm)},
		"identifier": []object{{"system": "https://practice.example.org/mrn", "value": p.mrn, "type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR", "Medical record number")}},
		"name":       []object{{"use": "official", "family": p.family, "given": []string{p.given, p.middle}}},
		"telecom":    []object{{"system": "phone", "value": p.phone, "use": "mobile"}, {"system": "email", "value": p.email}},
		"address":    []object{{"line": []string{p.street}, "city": p.suburb, "state": p.region, "postalCode": p.postcode, "country": "AU"}},
	}
}

func concept(system, code, text string) object {
	return object{"coding": []object{{"system": system, "code": code, "display": text}}, "text": text}
}

const termSystem = "http://terminology.hl7.org/CodeSystem/"

// fill adds what each type needs.
func (c *clinic) fill(res object, kind string, r *rand.Rand, who patient, subject, encounter object, when time.Time) {
	at := when.Format(stampForm)
	doctor := object{"display": pick(r, practitioners)}
	res["subject"], res["encounter"] = subject, encounter
	switch kind {
	case "Encounter":
		delete(res, "encounter")
		res["status"] = "finished"
		res["class"] = object{"system": termSystem + "v3-ActCode", "code": "AMB", "display": "ambulatory"}
		res["period"] = object{"start": at, "end": when.Add(time.Duration(8+r.IntN(40)) * time.Minute).Format(stampForm)}
		res["participant"] = []object{{"individual": doctor}}
		res["reasonCode"] = []object{{"text": pick(r, reasons)}}
	case "Observation":
		x, v := draw(r)
		res["status"] = "final"
		res["category"] = []object{concept(termSystem+"observation-category", "laboratory", "Laboratory")}
		res["code"] = concept("http://loinc.org", x.code, x.label)
		res["effectiveDateTime"], res["performer"] = at, []object{doctor}
		res["valueQuantity"] = object{"value": json.Number(tenths(v)), "unit": x.unit, "system": "http://unitsofmeasure.org", "code": x.unit}
		res["interpretation"] = []object{concept(termSystem+"v3-ObservationInterpretation", x.flag(v), x.flag(v))}
	case "MedicationRequest":
		d := pick(r, drugs)
		res["status"], res["intent"], res["authoredOn"], res["requester"] = "active", "order", at, doctor
		res["medicationCodeableConcept"] = concept("https://practice.example.org/medicines", d.code, d.name)
		res["dosageInstruction"] = []object{{"text": d.dose}}
		res["reasonCode"] = []object{{"text": d.use}}
		res["dispenseRequest"] = object{"numberOfRepeatsAllowed": r.IntN(6)}
	case "AllergyIntolerance":
		delete(res, "subject")
		res["patient"], res["recordedDate"] = subject, at
		res["clinicalStatus"] = concept(termSystem+"allergyintolerance-clinical", "active", "Active")
		res["code"] = object{"text": pick(r, allergens)}
		res["reaction"] = []object{{"manifestation": []object{{"text": pick(r, reactions)}}}}
	case "Condition":
		res["clinicalStatus"] = concept(termSystem+"condition-clinical", "active", "Active")
		res["code"], res["recordedDate"] = object{"text": pick(r, problems)}, at
		res["note"] = []object{{"text": string(c.prose.expand(nil, r, "impression"))}}
	case "DocumentReference":
		delete(res, "encounter")
		res["context"] = object{"encounter": []object{encounter}}
		res["status"], res["date"], res["author"] = "current", at, []object{doctor}
		res["type"] = object{"text": pick(r, letterTitles)}
		text := c.prose.expand(nil, r, "presenting")
		res["content"] = []object{{"attachment": object{"contentType": "text/plain", "creation": at, "data": base64.StdEncoding.EncodeToString(text)}}}
	}
}
