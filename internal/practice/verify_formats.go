package practice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image/jpeg"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checkPDF follows the cross-reference table of a classic PDF to every object and looks into every page image.
func checkPDF(b []byte) error {
	if !bytes.HasPrefix(b, []byte("%PDF-1.")) || !bytes.HasSuffix(b, []byte("%%EOF\n")) {
		return errors.New("pdf: no header or no end mark")
	}
	at := bytes.LastIndex(b, []byte("startxref\n"))
	if at < 0 {
		return errors.New("pdf: no startxref")
	}
	start, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(string(b[at+10:]), "%%EOF\n")))
	if err != nil || start < 0 || start >= at {
		return errors.New("pdf: startxref points nowhere")
	}
	table := b[start:at]
	var count int
	if _, err := fmt.Sscanf(string(table[:min(len(table), 24)]), "xref\n0 %d\n", &count); err != nil || count < 2 || count > len(b)/20 {
		return errors.New("pdf: no xref table")
	}
	table = table[bytes.IndexByte(table[5:], '\n')+6:]
	if len(table) < 20*count || !bytes.Contains(table[20*count:], []byte("/Root 1 0 R")) {
		return errors.New("pdf: xref table or trailer is cut short")
	}
	pages, images := 0, 0
	for n := 1; n < count; n++ {
		offset, err := strconv.Atoi(string(table[20*n : 20*n+10]))
		head := fmt.Sprintf("%d 0 obj\n", n)
		if err != nil || offset < 0 || offset >= start || !bytes.HasPrefix(b[offset:start], []byte(head)) {
			return errors.New("pdf: an xref entry misses its object")
		}
		page, image, err := checkObject(b[offset+len(head) : start])
		if err != nil {
			return err
		}
		pages, images = pages+page, images+image
	}
	if pages == 0 || pages != images || !bytes.Contains(b[:start], fmt.Appendf(nil, "/Count %d ", pages)) {
		return errors.New("pdf: pages and images do not agree")
	}
	return nil
}

// checkObject looks at one object and says whether it is a page or an image.
func checkObject(b []byte) (page, image int, err error) {
	dict, _, _ := bytes.Cut(b[:min(len(b), 512)], []byte("\nendobj\n"))
	dict, _, _ = bytes.Cut(dict, []byte("\nstream\n"))
	switch {
	case bytes.Contains(dict, []byte("/Type /Page ")):
		return 1, 0, nil
	case !bytes.Contains(dict, []byte("/Subtype /Image")):
		return 0, 0, nil
	}
	number := func(key string) int {
		_, rest, _ := bytes.Cut(dict, []byte(key))
		digits, _, _ := bytes.Cut(rest, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if err != nil {
			return -1
		}
		return n
	}
	from, n := len(dict)+8, number("/Length ")
	if n < 4 || n > len(b)-from-10 || !bytes.HasPrefix(b[from+n:], []byte("\nendstream")) {
		return 0, 0, errors.New("pdf: an image stream has another length")
	}
	stream := b[from : from+n]
	size, err := jpeg.DecodeConfig(bytes.NewReader(stream))
	if err != nil || size.Width != number("/Width ") || size.Height != number("/Height ") || !bytes.HasSuffix(stream, []byte{0xff, 0xd9}) {
		return 0, 0, errors.New("pdf: an image is not the JPEG it should be")
	}
	return 0, 1, nil
}

// checkDICOM reads every element of a Part 10 file with explicit VR little endian and no sequences.
func checkDICOM(b []byte) error {
	le := binary.LittleEndian
	if len(b) < 144 || string(b[128:132]) != "DICM" || le.Uint32(b[132:]) != 0x00000002 {
		return errors.New("dicom: no preamble or no file meta group")
	}
	metaEnd := 144 + int64(le.Uint32(b[140:]))
	found := map[uint32][]byte{}
	last := uint32(0)
	for at := 132; at < len(b); {
		if len(b)-at < 12 {
			return errors.New("dicom: cut short")
		}
		tag := uint32(le.Uint16(b[at:]))<<16 | uint32(le.Uint16(b[at+2:]))
		head, n := 8, int64(le.Uint16(b[at+6:]))
		switch vr := string(b[at+4 : at+6]); vr {
		case "OB", "OW":
			head, n = 12, int64(le.Uint32(b[at+8:]))
		case "CS", "DA", "DS", "IS", "LO", "PN", "SH", "TM", "UI", "UL", "US":
		default:
			return errors.New("dicom: unknown value representation")
		}
		if tag <= last && last != 0 || n%2 == 1 || n > int64(len(b)-at-head) {
			return errors.New("dicom: an element is out of order or too long")
		}
		if tag>>16 > 2 && last>>16 == 2 && int64(at) != metaEnd {
			return errors.New("dicom: the file meta group has another length")
		}
		found[tag] = b[at+head : at+head+int(n)]
		last = tag
		at += head + int(n)
	}
	return checkDataset(found)
}

// checkDataset looks for what every image must have.
func checkDataset(found map[uint32][]byte) error {
	for _, tag := range []uint32{0x00020002, 0x00020003, 0x00020010, 0x00080016, 0x00080018, 0x00080060, 0x00100010, 0x00100020, 0x0020000d, 0x0020000e, 0x00280004} {
		if len(found[tag]) == 0 {
			return fmt.Errorf("dicom: element %08x is missing", tag)
		}
	}
	if !bytes.Equal(found[0x00020003], found[0x00080018]) || !bytes.Equal(found[0x00020002], found[0x00080016]) {
		return errors.New("dicom: file meta group and data set name different objects")
	}
	if strings.TrimRight(string(found[0x00020010]), "\x00") != explicitLittle {
		return errors.New("dicom: another transfer syntax")
	}
	size := int64(1)
	for _, tag := range []uint32{0x00280010, 0x00280011, 0x00280100} {
		if len(found[tag]) != 2 {
			return fmt.Errorf("dicom: element %08x is missing", tag)
		}
		size *= int64(binary.LittleEndian.Uint16(found[tag]))
	}
	if size == 0 || int64(len(found[0x7fe00010])) != size/8 {
		return errors.New("dicom: the pixels do not fill rows and columns")
	}
	return nil
}

// hl7Needs lists the segments that each message must have.
var hl7Needs = map[string][]string{
	"ADT^A01": {"EVN", "PID", "PV1"},
	"ORU^R01": {"PID", "OBR", "OBX"},
	"SIU^S12": {"SCH", "PID", "RGS"},
}

// checkHL7 checks the segments of one message.
func checkHL7(b []byte) error {
	if !bytes.HasPrefix(b, []byte(`MSH|^~\&|`)) || b[len(b)-1] != '\r' || !utf8.Valid(b) {
		return errors.New("hl7: no header, no last carriage return, or not UTF-8")
	}
	seen := map[string]bool{}
	var event string
	for n, segment := range strings.Split(strings.TrimSuffix(string(b), "\r"), "\r") {
		f := strings.Split(segment, "|")
		if len(f[0]) != 3 || len(f) < 2 || strings.ContainsFunc(f[0], func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
			return errors.New("hl7: a segment has no name or no fields")
		}
		if strings.ContainsFunc(segment, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errors.New("hl7: a control character")
		}
		seen[f[0]] = true
		switch f[0] {
		case "MSH":
			if n > 0 || len(f) < 12 || f[9] == "" || f[11] != "2.4" {
				return errors.New("hl7: the header is misplaced or incomplete")
			}
			event = f[8]
		case "PID":
			if len(f) < 9 || f[3] == "" || !strings.Contains(f[5], "^") {
				return errors.New("hl7: the patient has no identifier or name")
			}
		case "OBX":
			if len(f) < 12 || f[11] != "F" {
				return errors.New("hl7: an observation is incomplete")
			}
			if _, err := strconv.ParseFloat(f[5], 64); f[2] == "NM" && err != nil {
				return errors.New("hl7: a number is none")
			}
		}
	}
	needs, known := hl7Needs[event]
	if !known {
		return errors.New("hl7: another kind of message")
	}
	for _, s := range needs {
		if !seen[s] {
			return fmt.Errorf("hl7: segment %s is missing", s)
		}
	}
	return nil
}

func checkRTF(b []byte) error {
	if !bytes.HasPrefix(b, []byte(`{\rtf1`)) {
		return errors.New("rtf: no header")
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 && strings.TrimSpace(string(b[i+1:])) != "" {
				return errors.New("rtf: text after the end")
			}
		case 0:
			return errors.New("rtf: a zero byte")
		}
	}
	if depth != 0 {
		return errors.New("rtf: groups are not closed")
	}
	return nil
}

func checkText(b []byte) error {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 || len(b) == 0 || b[len(b)-1] != '\n' {
		return errors.New("text: not whole lines of UTF-8")
	}
	return nil
}

// checkWAV walks the chunks of a RIFF file.
func checkWAV(b []byte) error {
	le := binary.LittleEndian
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" || int64(le.Uint32(b[4:])) != int64(len(b)-8) {
		return errors.New("wav: no header or another length")
	}
	var form, data bool
	for b = b[12:]; len(b) > 0; {
		if len(b) < 8 || int64(le.Uint32(b[4:])) > int64(len(b)-8) {
			return errors.New("wav: a chunk is cut short")
		}
		name, n := string(b[:4]), int(le.Uint32(b[4:]))
		form = form || name == "fmt " && n == 16 && le.Uint16(b[8:]) == 1
		data = data || name == "data" && n > 0 && form
		b = b[8+n:]
	}
	if !form || !data {
		return errors.New("wav: no format or no samples")
	}
	return nil
}
