package practice

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"time"
)

// The storage classes made here.
const (
	ctStorage = "1.2.840.10008.5.1.4.1.1.2"
	crStorage = "1.2.840.10008.5.1.4.1.1.1"
	usStorage = "1.2.840.10008.5.1.4.1.1.6.1"
	scStorage = "1.2.840.10008.5.1.4.1.1.7"

	explicitLittle = "1.2.840.10008.1.2.1"
)

// sliceSpec is one image of a study.
type sliceSpec struct {
	study, number int // number from 1
	modality      string
	rows, columns int
}

func (s sliceSpec) bits() int {
	if s.modality == "CT" || s.modality == "CR" {
		return 16
	}
	return 8
}

func (s sliceSpec) bytes() int64 { return int64(s.rows*s.columns*s.bits()/8) + 1400 }

// studyCycle is the order of studies. It starts with every modality, so that a small practice has them all.
var studyCycle = []struct {
	modality string
	images   int
}{{"CT", 4}, {"US", 2}, {"CR", 1}, {"SC", 1}, {"CT", 18}, {"US", 3}, {"CT", 24}, {"CR", 2}, {"CT", 14}, {"SC", 1}, {"CR", 1}, {"CT", 21}}

// planStudies lists images until they fill a number of bytes: at least one image. The last is cropped to fit.
func planStudies(size int64) []sliceSpec {
	var all []sliceSpec
	for study := 0; size > 0; study++ {
		s := studyCycle[study%len(studyCycle)]
		if size < 1<<20 && len(all) == 0 { // too little for a CT
			s = studyCycle[1+study%3]
		}
		for n := 1; n <= s.images && size > 0; n++ {
			spec := sliceSpec{study, n, s.modality, 512, 512}
			if s.modality == "US" || s.modality == "SC" {
				spec.rows, spec.columns = 480, 640
			}
			if spec.bytes() > size {
				if len(all) > 0 && size < spec.bytes()/2 {
					return all
				}
				if len(all) == 0 {
					spec.rows = int(max(size*8/int64(spec.bits()*spec.columns), 64)) &^ 1
				}
			}
			all = append(all, spec)
			size -= spec.bytes()
		}
	}
	return all
}

// slice is one DICOM file.
func (c *clinic) slice(stream string, s sliceSpec, at clock) (item, error) {
	r := c.rng(stream+" study", s.study)
	p, when := c.subject(r, s.study), at(r)
	study := uidOf(c.seed, stream, s.study, 0)
	dir := fmt.Sprintf("images/%s_%s_%s%04d", when.Format("20060102"), s.modality, stream, s.study)
	if c.canary != "" && p.number == 0 {
		dir += "_" + c.canary
	}
	own := c.rng(stream+" pixels", s.study<<12|s.number)
	when = when.Add(time.Duration(s.number) * time.Second)
	d := s.dataset(p, when, study, uidOf(c.seed, stream, s.study, s.number), s.pixels(own))
	return item{Images, fmt.Sprintf("%s/IM%04d.dcm", dir, s.number), d, when, p.number}, nil
}

// uidOf derives a UID below 2.25, the branch for UIDs made from UUIDs.
func uidOf(seed uint64, stream string, study, number int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d/%d", seed, stream, study, number))
	h[6], h[8] = h[6]&0x0f|0x40, h[8]&0x3f|0x80
	return "2.25." + new(big.Int).SetBytes(h[:16]).String()
}

// elements writes DICOM data elements, explicit VR little endian, in the order given.
type elements struct{ bytes.Buffer }

func (e *elements) add(tag uint32, vr string, value []byte) {
	if len(value)%2 == 1 {
		pad := byte(' ')
		if vr == "UI" || vr == "OB" {
			pad = 0
		}
		value = append(value[:len(value):len(value)], pad)
	}
	var head [12]byte
	binary.LittleEndian.PutUint16(head[0:], uint16(tag>>16))
	binary.LittleEndian.PutUint16(head[2:], uint16(tag))
	copy(head[4:], vr)
	if vr == "OB" || vr == "OW" {
		binary.LittleEndian.PutUint32(head[8:], uint32(len(value)))
		e.Write(head[:12])
	} else {
		binary.LittleEndian.PutUint16(head[6:], uint16(len(value)))
		e.Write(head[:8])
	}
	e.Write(value)
}

func (e *elements) text(tag uint32, vr, value string) { e.add(tag, vr, []byte(value)) }

func (e *elements) short(tag uint32, v int) {
	e.add(tag, "US", binary.LittleEndian.AppendUint16(nil, uint16(v)))
}

// dataset is the whole file: preamble, file meta group and data set.
func (s sliceSpec) dataset(p patient, when time.Time, study, instance string, pixels []byte) []byte {
	class := map[string]string{"CT": ctStorage, "CR": crStorage, "US": usStorage, "SC": scStorage}[s.modality]
	var meta elements
	meta.add(0x00020001, "OB", []byte{0, 1})
	meta.text(0x00020002, "UI", class)
	meta.text(0x00020003, "UI", instance)
	meta.text(0x00020010, "UI", explicitLittle)
	meta.text(0x00020012, "UI", "2.25.174923510093114500913210057104731")
	meta.text(0x00020013, "SH", "PRACTICE_1")
	var e elements
	e.Grow(len(pixels) + 2048)
	e.Write(make([]byte, 128))
	e.WriteString("DICM")
	e.add(0x00020000, "UL", binary.LittleEndian.AppendUint32(nil, uint32(meta.Len())))
	e.Write(meta.Bytes())
	s.identity(&e, p, when, class, study, instance)
	s.geometry(&e, study)
	if s.bits() == 16 {
		e.add(0x7fe00010, "OW", pixels)
	} else {
		e.add(0x7fe00010, "OB", pixels)
	}
	return e.Bytes()
}

// identity writes groups 0008 to 0018: what, when, who.
func (s sliceSpec) identity(e *elements, p patient, when time.Time, class, study, instance string) {
	imageType := `ORIGINAL\PRIMARY`
	switch s.modality {
	case "CT":
		imageType += `\AXIAL`
	case "SC":
		imageType = `DERIVED\SECONDARY`
	}
	date, clock := when.Format("20060102"), when.Format("150405")
	e.text(0x00080005, "CS", "ISO_IR 192")
	e.text(0x00080008, "CS", imageType)
	e.text(0x00080016, "UI", class)
	e.text(0x00080018, "UI", instance)
	e.text(0x00080020, "DA", date)
	e.text(0x00080021, "DA", date)
	e.text(0x00080023, "DA", date)
	e.text(0x00080030, "TM", clock)
	e.text(0x00080033, "TM", clock)
	e.text(0x00080050, "SH", fmt.Sprintf("ACC%08d", s.study))
	modality := s.modality
	if modality == "SC" {
		modality = "OT"
	}
	e.text(0x00080060, "CS", modality)
	if s.modality == "SC" {
		e.text(0x00080064, "CS", "WSD")
	}
	e.text(0x00080070, "LO", "Invented Imaging")
	e.text(0x00080090, "PN", "Whitlock^A^^Dr")
	e.text(0x00081030, "LO", s.modality+" study")
	e.text(0x0008103e, "LO", "Series 1")
	e.text(0x00100010, "PN", p.family+"^"+p.given+"^"+p.middle)
	e.text(0x00100020, "LO", p.mrn)
	e.text(0x00100030, "DA", p.born.Format("20060102"))
	e.text(0x00100040, "CS", p.sex)
	switch s.modality {
	case "CT":
		e.text(0x00180050, "DS", "2.5")
		e.text(0x00180060, "DS", "120")
		e.text(0x00185100, "CS", "HFS")
	case "CR":
		e.text(0x00180015, "CS", "CHEST")
		e.text(0x00185101, "CS", "PA")
	}
}

// geometry writes groups 0020 and 0028: where the image belongs and how its pixels are stored.
func (s sliceSpec) geometry(e *elements, study string) {
	e.text(0x0020000d, "UI", study)
	e.text(0x0020000e, "UI", study+".1")
	e.text(0x00200010, "SH", fmt.Sprint(s.study))
	e.text(0x00200011, "IS", "1")
	if s.modality == "CT" {
		e.text(0x00200012, "IS", "1")
	}
	e.text(0x00200013, "IS", fmt.Sprint(s.number))
	if s.modality == "CT" {
		e.text(0x00200032, "DS", fmt.Sprintf(`-180\-180\%d.%d`, s.number*25/10, s.number*25%10))
		e.text(0x00200037, "DS", `1\0\0\0\1\0`)
		e.text(0x00200052, "UI", study+".2")
		e.text(0x00200060, "CS", "")
		e.text(0x00201040, "LO", "")
	} else {
		e.text(0x00200020, "CS", "")
	}
	if s.modality == "US" || s.modality == "SC" {
		e.text(0x00200060, "CS", "") // which side is not known
	}
	stored := 8
	if s.bits() == 16 {
		stored = 12
	}
	e.short(0x00280002, 1)
	e.text(0x00280004, "CS", "MONOCHROME2")
	e.short(0x00280010, s.rows)
	e.short(0x00280011, s.columns)
	if s.modality == "CT" {
		e.text(0x00280030, "DS", `0.703125\0.703125`)
	}
	e.short(0x00280100, s.bits())
	e.short(0x00280101, stored)
	e.short(0x00280102, stored-1)
	e.short(0x00280103, 0)
	if s.modality == "CT" {
		e.text(0x00281050, "DS", "40")
		e.text(0x00281051, "DS", "400")
		e.text(0x00281052, "DS", "-1024")
		e.text(0x00281053, "DS", "1")
	}
}

// ellipse is a part of the phantom, in pixels; inside it the level is added.
type ellipse struct{ x, y, a, b, level int }

// phantom is a cross-section: body, two lungs, spine, vessel, and organs that differ between slices.
func (s sliceSpec) phantom(r *rand.Rand) []ellipse {
	w, h, z := s.columns, s.rows, s.number*5
	body := []ellipse{
		{w / 2, h / 2, w*43/100 - z%9, h * 33 / 100, 1040},
		{w * 32 / 100, h * 46 / 100, w*12/100 + z%31, h*17/100 + z%23, -820},
		{w * 68 / 100, h * 46 / 100, w*12/100 + z%29, h*17/100 + z%19, -830},
		{w / 2, h * 70 / 100, w * 5 / 100, h * 6 / 100, 520},
		{w * 47 / 100, h * 60 / 100, w * 3 / 100, h * 3 / 100, 130},
	}
	for range 6 {
		body = append(body, ellipse{between(r, w/4, w*3/4), between(r, h/3, h*2/3), between(r, 6, w/9), between(r, 6, h/9), between(r, -90, 140)})
	}
	return body
}

// pixels draws the phantom with noise: 12 bits in 16 for CT and CR, else 8. Integers only.
func (s sliceSpec) pixels(r *rand.Rand) []byte {
	shapes := s.phantom(r)
	row := make([]int, s.columns)
	out := make([]byte, 0, s.rows*s.columns*s.bits()/8)
	var noise uint64
	for y := range s.rows {
		for x := range row {
			row[x] = 24 + x*y>>13
		}
		for _, e := range shapes {
			e.fill(row, y)
		}
		for x, v := range row {
			if x&1 == 0 {
				noise = r.Uint64()
			}
			n := bits.OnesCount32(uint32(noise)&0x0fff_ffff) - 14 // deviation 2.6
			fine := int(noise >> 28 & 7)
			noise >>= 32
			if s.bits() == 16 {
				v = min(max(v+n*6+fine, 0), 4095)
				out = binary.LittleEndian.AppendUint16(out, uint16(v))
			} else {
				out = append(out, uint8(min(max(v/6+n*(4+v/128), 0), 255)))
			}
		}
	}
	return out
}

// fill adds the ellipse's level to the pixels of row y that lie inside it.
func (e ellipse) fill(row []int, y int) {
	dy := y - e.y
	rest := e.b*e.b - dy*dy
	if e.a <= 0 || rest <= 0 {
		return
	}
	// Half the chord: a·sqrt(1 - dy²/b²), by integer search from the outside.
	half := e.a
	for limit := int64(e.a*e.a) * int64(rest); half > 0 && int64(half*half)*int64(e.b*e.b) > limit; {
		half--
	}
	for x := max(e.x-half, 0); x <= min(e.x+half, len(row)-1); x++ {
		row[x] += e.level
	}
}
