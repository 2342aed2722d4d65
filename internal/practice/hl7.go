package practice

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// messageTime spreads the messages in order over the days before day 0, about a hundred a day.
func (c *clinic) messageTime(i, n int) clock {
	days := min(max(n/100, 5), 1500)
	back := days - i*days/n
	return func(r *rand.Rand) time.Time { return moment(r, dayZero.AddDate(0, 0, -back)) }
}

// message is one HL7 v2.4 message: half are results, the rest admissions and appointments.
func (c *clinic) message(stream string, i int, at clock) (item, error) {
	r := c.rng(stream, i)
	p, when := c.subject(r, i), at(r)
	id := fmt.Sprintf("%s%08d", strings.ToUpper(stream), i)
	m := &segments{}
	event := []string{"ORU^R01", "ADT^A01", "ORU^R01", "SIU^S12"}[i%4]
	m.add("MSH", `^~\&`, "LABSYS", "EXTERNAL", "CLINIC", "PRACTICE", stamp(when), "", event, id, "P", "2.4", "", "", "AL", "NE", "AU", "UNICODE UTF-8")
	switch event {
	case "ORU^R01":
		c.result(m, r, p, when)
	case "ADT^A01":
		c.admission(m, r, p, when, i)
	default:
		c.booking(m, r, p, when, i)
	}
	name := fmt.Sprintf("hl7/in/%s/%s_%s_%s", when.Format("2006/01/02"), stamp(when), strings.ReplaceAll(event, "^", "_"), id)
	if c.canary != "" && p.number == 0 {
		name += "_" + c.canary
	}
	return item{HL7, name + ".hl7", m.b, when, p.number}, nil
}

// segments builds a message; each segment ends with a carriage return, as the standard asks.
type segments struct{ b []byte }

func (m *segments) add(fields ...string) {
	for i, f := range fields {
		if i > 0 {
			m.b = append(m.b, '|')
		}
		m.b = append(m.b, f...)
	}
	for m.b[len(m.b)-1] == '|' {
		m.b = m.b[:len(m.b)-1]
	}
	m.b = append(m.b, '\r')
}

func stamp(t time.Time) string { return t.Format("20060102150405") }

// escape replaces the delimiters of HL7 in free text.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\E\`, `|`, `\F\`, `^`, `\S\`, `&`, `\T\`, `~`, `\R\`, "\r", " ", "\n", `\.br\`).Replace(s)
}

func (m *segments) person(p patient) {
	m.add("PID", "1", "", p.mrn+"^^^PRACTICE^MR", "", escape(p.family)+"^"+escape(p.given)+"^"+escape(p.middle)+"^^^^L", "",
		p.born.Format("20060102"), p.sex, "", "", escape(p.street)+"^^"+p.suburb+"^"+p.region+"^"+p.postcode+"^AUS^H", "", p.phone, "", "EN", "", "", p.mrn)
}

func provider(r *rand.Rand) string {
	n := r.IntN(len(practitioners))
	return fmt.Sprintf("P%03d^%s", n, strings.ReplaceAll(practitioners[n], " ", "^"))
}

func (c *clinic) result(m *segments, r *rand.Rand, p patient, when time.Time) {
	order := fmt.Sprintf("L%09d", r.IntN(1_000_000_000))
	m.person(p)
	m.add("PV1", "1", "O", "CLINIC^^^PRACTICE", "", "", "", provider(r))
	m.add("ORC", "RE", order, order, "", "CM", "", "", "", stamp(when.Add(-26*time.Hour)), "", "", provider(r))
	m.add("OBR", "1", order, order, "24331-1^Lipid and general chemistry^LN", "", "", stamp(when.Add(-25*time.Hour)), "", "", "", "", "", "",
		stamp(when.Add(-20*time.Hour)), "", provider(r), "", "", "", "", "", stamp(when), "", "CH", "F")
	count := 4 + r.IntN(15)
	for n := range count {
		x, value := draw(r)
		m.add("OBX", fmt.Sprint(n+1), "NM", x.code+"^"+x.label+"^LN", "", tenths(value), escape(x.unit), tenths(x.lo)+"-"+tenths(x.hi), x.flag(value), "", "", "F", "", "", stamp(when))
	}
	if r.IntN(3) > 0 {
		text := c.prose.expand(nil, r, "impression")
		m.add("OBX", fmt.Sprint(count+1), "TX", "8251-1^Comment^LN", "", escape(string(text)), "", "", "", "", "", "F")
		m.add("NTE", "1", "L", escape(string(c.paragraph(nil, r))))
	}
}

func (c *clinic) admission(m *segments, r *rand.Rand, p patient, when time.Time, i int) {
	m.add("EVN", "A01", stamp(when))
	m.person(p)
	m.add("NK1", "1", escape(p.family)+"^"+escape(pick(r, womenNames)), "SPO^Spouse", "", fmt.Sprintf("03 5550 %04d", r.IntN(10000)))
	m.add("PV1", "1", "I", fmt.Sprintf("WARD%d^%d^%d^BASE HOSPITAL", 1+r.IntN(9), 1+r.IntN(30), 1+r.IntN(4)), "E", "", "", provider(r), "", "", "MED",
		"", "", "", "", "", "", "", "", fmt.Sprintf("V%08d", i))
	if p.allergyAgent != "" {
		m.add("AL1", "1", "DA", "^"+p.allergyAgent, "MO", p.allergyReaction)
	}
	m.add("DG1", "1", "", "^"+p.problem, p.problem, stamp(when), "A")
	m.add("PV2", "", "", "^"+escape(string(c.prose.expand(nil, r, "impression"))))
}

func (c *clinic) booking(m *segments, r *rand.Rand, p patient, when time.Time, i int) {
	start := when.AddDate(0, 0, 1+r.IntN(60)).Truncate(15 * time.Minute)
	minutes := fmt.Sprint(15 * (1 + r.IntN(3)))
	slot := fmt.Sprintf("^^%s^%s^%s", minutes, stamp(start), stamp(start.Add(15*time.Minute)))
	m.add("SCH", fmt.Sprintf("B%08d", i), fmt.Sprintf("F%08d", r.IntN(100_000_000)), "", "", "", "ROUTINE^"+pick(r, reasons), pick(r, reasons), "NORMAL", minutes, "min", slot,
		"", "", "", "", provider(r))
	m.person(p)
	m.add("PV1", "1", "O", fmt.Sprintf("ROOM%d^^^PRACTICE", 1+r.IntN(9)), "", "", "", provider(r))
	m.add("RGS", "1", "A")
	m.add("AIP", "1", "A", provider(r), "GP^General practitioner", "", stamp(start), "0", "min", minutes, "min", "", "BOOKED")
	m.add("NTE", "1", "P", escape(string(c.prose.expand(nil, r, "aside"))))
}

// draw picks a measure and a value, in tenths of its unit.
func draw(r *rand.Rand) (measure, int) {
	x := pick(r, measures)
	return x, between(r, x.min, x.max)
}

func (x measure) flag(value int) string {
	switch {
	case value < x.lo:
		return "L"
	case value > x.hi:
		return "H"
	}
	return "N"
}

func tenths(v int) string { return fmt.Sprintf("%d.%d", v/10, v%10) }
