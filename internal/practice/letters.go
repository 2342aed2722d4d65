package practice

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf16"
)

var letterTitles = []string{"referral", "result notice", "recall", "medical certificate", "care plan", "insurance report", "transfer of records"}

// letter is one letter: two in three as RTF, the others as plain text.
func (c *clinic) letter(stream string, i int, at clock) (item, error) {
	r := c.rng(stream, i)
	p, when := c.subject(r, i), at(r)
	title := pick(r, letterTitles)
	dir := when.Format("letters/2006")
	if c.canary != "" && p.number == 0 {
		dir += "/" + c.canary
	}
	name := fmt.Sprintf("%s/%s %s %s %s %s%04d", dir, when.Format(dateForm), p.family, p.given, title, stream, i)
	text := c.letterText(r, p, title, when)
	if i%3 == 2 {
		return item{Letters, name + ".txt", []byte(text), when, p.number}, nil
	}
	return item{Letters, name + ".rtf", rtf(text), when, p.number}, nil
}

func (c *clinic) letterText(r *rand.Rand, p patient, title string, when time.Time) string {
	var b []byte
	b = fmt.Appendf(b, "%s\n\nRe: %s %s (%s), born %s, %s, %s %s %s\n%s\n\nDear colleague,\n\n", when.Format("2 January 2006"), p.given, p.family, p.mrn,
		p.born.Format("2 January 2006"), p.street, p.suburb, p.region, p.postcode, strings.ToUpper(title))
	b = fmt.Appendf(b, "Thank you for seeing this %d year old with %s, taking %s, %s.\n\n", age(p.born, when), strings.ToLower(p.problem), p.regularDrug, p.regularDose)
	for range 12 + r.IntN(50) {
		b = append(c.paragraph(b, r), '\n', '\n')
	}
	return string(fmt.Appendf(b, "Yours sincerely,\n%s\n", pick(r, practitioners)))
}

// rtf wraps plain text as RTF 1.5, ASCII only, other characters as \u escapes.
func rtf(text string) []byte {
	b := []byte("{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0\\fswiss Arial;}}\n\\f0\\fs22 ")
	for _, ch := range text {
		switch {
		case ch == '\n':
			b = append(b, "\\par\n"...)
		case ch == '\\' || ch == '{' || ch == '}':
			b = append(b, '\\', byte(ch))
		case ch < 0x80:
			b = append(b, byte(ch))
		default:
			for _, u := range utf16.Encode([]rune{ch}) {
				b = fmt.Appendf(b, "\\u%d?", int16(u))
			}
		}
	}
	return append(b, "}\n"...)
}

// The dictations: mono, 16 bits, as small digital recorders make them.
const sampleRate = 16000

// planAudio cuts a number of bytes into dictations of half a minute at most. It gives samples for each.
func planAudio(size int64) []int {
	samples := int(size / 2)
	each := min(20*sampleRate, samples)
	n := max(samples/each, 1)
	all := make([]int, n)
	for i := range all {
		all[i] = samples / n * (75 + i%6*10) / 100 // the mean of six is the whole
	}
	return all
}

func (c *clinic) dictation(stream string, i, samples int, at clock) (item, error) {
	r := c.rng(stream, i)
	p, when := c.subject(r, i), at(r)
	name := fmt.Sprintf("audio/%s_%s_%s%04d.wav", stamp(when), p.family, stream, i)
	return item{Audio, name, wav(speech(r, samples), p), when, p.number}, nil
}

// wav is a RIFF file with the patient's number and name in its INFO list.
func wav(samples []byte, p patient) []byte {
	title := []byte(p.mrn + " " + p.family + "\x00")
	if len(title)%2 == 1 {
		title = append(title, 0)
	}
	le := binary.LittleEndian
	b := make([]byte, 0, len(samples)+len(title)+64)
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(4+24+12+8+len(title)+8+len(samples)))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1) // PCM
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, sampleRate)
	b = le.AppendUint32(b, sampleRate*2)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "LIST"...)
	b = le.AppendUint32(b, uint32(4+8+len(title)))
	b = append(b, "INFOINAM"...)
	b = le.AppendUint32(b, uint32(len(title)))
	b = append(b, title...)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(samples)))
	return append(b, samples...)
}

// speech sounds like a voice behind a door: a pulse train through two resonators, in syllables, with pauses and hiss.
func speech(r *rand.Rand, n int) []byte {
	out := make([]byte, 0, 2*n)
	var a1, a2, b1, b2 int32
	for len(out) < 2*n {
		length := between(r, 900, 4200)
		pitch, loud := between(r, 90, 150), int32(between(r, 0, 5))
		fa, fb := int32(between(r, 1700, 2030)), int32(between(r, 400, 1500)) // 1024·2·cos of each resonance
		if r.IntN(9) == 0 {
			loud = 0
		}
		for i := range length {
			pulse := int32(0)
			if i%pitch == 0 {
				pulse = loud * 400
			}
			noise := int32(r.Uint32()>>25) - 64
			a1, a2 = pulse+noise/8+(fa*a1-990*a2)/1024, a1
			b1, b2 = pulse/2+(fb*b1-960*b2)/1024, b1
			v := min(max(a1+b1+noise, -32768), 32767)
			out = binary.LittleEndian.AppendUint16(out, uint16(int16(v)))
		}
	}
	return out[:2*n]
}

// oddities is how many files oddity makes.
const oddities = 8

// oddity is one of the files that every real folder has and no plan foresees.
func (c *clinic) oddity(i int, p plan) (item, error) {
	when := closing(-i - 1)
	r := c.rng("oddity", i)
	who := c.patient(i % c.patients)
	text := []byte(c.letterText(r, who, "referral", when))
	switch i {
	case 0: // preallocated by a recorder that was never started
		return item{Audio, "audio/reserved.tmp", make([]byte, p.zeros), when, -1}, nil
	case 1: // a lock that a word processor left behind
		return item{Letters, "letters/~lock.letter", nil, when, -1}, nil
	case 2, 3: // the same referral, scanned once and saved twice
		r = c.rng("oddity", 2)
		data, err := scannedPDF(r, 1, "referral", closing(-3))
		name := "scans/inbox/referral.pdf"
		if i == 3 {
			name = "scans/inbox/referral (1).pdf"
		}
		return item{Scans, name, data, when, who.number}, err
	case 4:
		return item{Letters, "letters/overseas/診療情報提供書 山田太郎.txt", text, when, who.number}, nil
	case 5: // letters with combining marks, as one common file system stores them
		return item{Letters, "letters/overseas/Überweisung Zoe\u0308 Mu\u0308ller – Kopie.txt", text, when, who.number}, nil
	case 6:
		name := "letters/overseas/" + strings.Repeat("Re Fwd Re ", 18) + "final FINAL corrected version 3.rtf"
		return item{Letters, name, rtf(string(text)), when, who.number}, nil
	default:
		return item{Letters, "letters/overseas/\U0001F4C4 résumé  two  spaces.txt", text, when, who.number}, nil
	}
}
