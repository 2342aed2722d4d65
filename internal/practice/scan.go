package practice

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math/bits"
	"math/rand/v2"
	"time"
	"unicode/utf16"
)

const (
	meanScan   = 278_000 // bytes of an average scan, measured
	pageWidth  = 827     // A4 at 100 dots per inch
	pageHeight = 1169
)

var scanTitles = []string{"referral", "discharge summary", "pathology", "radiology report", "consent", "care plan", "specialist letter", "ECG", "advance care directive", "immunisation record"}

// scan is one scanned document. Its page count follows the number, so that few scans have a fair share of each.
func (c *clinic) scan(stream string, i int, at clock) (item, error) {
	r := c.rng(stream, i)
	p, when := c.subject(r, i), at(r)
	title := pick(r, scanTitles)
	pages := []int{1, 1, 2, 1, 1, 1, 2, 1}[i%8]
	data, err := scannedPDF(r, pages, p.family+", "+p.given+": "+title, when)
	name := fmt.Sprintf("scans/%s/%s_%s_%s_%s%05d.pdf", when.Format("2006/01"), when.Format(dateForm), p.family, title, stream, i)
	return item{Scans, name, data, when, p.number}, err
}

// scannedPDF is a PDF 1.4 file with one grey JPEG on each page.
func scannedPDF(r *rand.Rand, pages int, title string, when time.Time) ([]byte, error) {
	var b bytes.Buffer
	var offsets []int
	object := func(format string, args ...any) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n", len(offsets))
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\nendobj\n")
	}
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", 4+3*i)
	}
	object("<< /Type /Pages /Count %d /Kids [ %s] >>", pages, kids)
	object("<< /Title %s /Producer (Front desk scanner) /CreationDate (D:%sZ) >>", pdfText(title), when.Format("20060102150405"))
	look := newLook(r)
	for i := range pages {
		var page bytes.Buffer
		if err := jpeg.Encode(&page, look.draw(r), &jpeg.Options{Quality: look.quality}); err != nil {
			return nil, fmt.Errorf("practice: cannot encode a page: %w", err)
		}
		n := 4 + 3*i
		object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << /XObject << /Im0 %d 0 R >> >> >>", n+1, n+2)
		paint := "q 595 0 0 842 0 0 cm /Im0 Do Q"
		object("<< /Length %d >>\nstream\n%s\nendstream", len(paint), paint)
		object("<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream",
			pageWidth, pageHeight, page.Len(), page.Bytes())
	}
	id := md5.Sum(b.Bytes())
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R /Info 3 0 R /ID [<%x> <%x>] >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, id, id, table)
	return b.Bytes(), nil
}

// pdfText is a text string: literal when it is plain ASCII, else UTF-16 in hexadecimal.
func pdfText(s string) string {
	plain := true
	for _, ch := range s {
		plain = plain && ch < 0x7f && ch != '(' && ch != ')' && ch != '\\'
	}
	if plain {
		return "(" + s + ")"
	}
	out := "<FEFF"
	for _, u := range utf16.Encode([]rune(s)) {
		out += fmt.Sprintf("%04X", u)
	}
	return out + ">"
}

// look is how one scanner and one typist make pages.
type look struct {
	quality      int
	paper, ink   int
	grain        int // amplitude of the noise, in sixteenths of a grey level for one step
	lineStep     int
	letter, tall int
}

func newLook(r *rand.Rand) look {
	return look{quality: between(r, 68, 82), paper: between(r, 222, 240), ink: between(r, 20, 70), grain: between(r, 40, 64),
		lineStep: between(r, 17, 24), letter: between(r, 7, 9), tall: between(r, 9, 12)}
}

// draw makes one page: paper with a slow shade and sensor noise, and lines of strokes the size of type.
// All arithmetic is on integers, so that the bytes are the same on every processor.
func (l look) draw(r *rand.Rand) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, pageWidth, pageHeight))
	for y := 60 + r.IntN(40); y < pageHeight-80; y += l.lineStep {
		if r.IntN(7) == 0 {
			continue // a gap between paragraphs
		}
		right := between(r, pageWidth/3, pageWidth-70)
		for x := 70; x < right; {
			for range 2 + r.IntN(9) {
				l.glyph(m, r, x, y)
				x += l.letter
			}
			x += l.letter
		}
	}
	slope := between(r, -9, 9)
	var noise uint64
	for y := range pageHeight {
		row := m.Pix[y*m.Stride : y*m.Stride+pageWidth]
		for x := range row {
			if x&3 == 0 {
				noise = r.Uint64()
			}
			// The number of ones in 16 random bits is close to a normal draw: mean 8, deviation 2.
			n := bits.OnesCount16(uint16(noise)) - 8
			noise >>= 16
			v := l.paper + slope*(x+y)/(pageWidth+pageHeight) - int(row[x]) + n*l.grain/16
			row[x] = uint8(min(max(v, 0), 255))
		}
	}
	return m
}

// glyph adds the darkness of two to four strokes inside one letter's box.
func (l look) glyph(m *image.Gray, r *rand.Rand, x, y int) {
	dark := uint8(l.paper - l.ink)
	shape := r.Uint32()
	put := func(dx, dy int) { m.SetGray(x+dx, y+dy, color.Gray{Y: dark}) }
	w, h := l.letter-3, l.tall-2
	if shape&1 != 0 {
		for i := range h {
			put(0, i)
		}
	}
	if shape&2 != 0 {
		for i := range h {
			put(w, i)
		}
	}
	for bit, at := range []int{0, h / 2, h - 1} {
		if shape>>(2+bit)&1 != 0 {
			for i := range w + 1 {
				put(i, at)
			}
		}
	}
	if shape&32 != 0 {
		for i := range h {
			put(i*w/h, i)
		}
	}
}
