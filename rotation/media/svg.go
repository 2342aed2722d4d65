package media

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// SVG draws the timeline with one cell for each day: the hue and the name are the medium, a circle says
// that the copy was away on the night after it was made and a square that it was at the practice, hatching
// that it was not read back, and a thick outline that it is a weekly, monthly or yearly copy. Nothing is
// said by colour alone. The image has no script and no link, and prints in black and white.
func SVG(t Timeline) []byte {
	const (
		left, top     = 86, 34
		width, height = 104, 40
	)
	weeks := t.weeks()
	columns := 0
	for _, d := range fromMonday {
		if t.Scenario.Hours.works(d) {
			columns++
		}
	}
	w := left + max(columns, 5)*width + 8
	h := top + len(weeks)*height + 54
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" `+
		`font-family="sans-serif" font-size="12" fill="#000">`+"\n", w, h, w, h)
	title := fmt.Sprintf("Backup media, %s, from %s, %d days", t.Scenario.Set, t.Scenario.Start, t.Scenario.Days)
	fmt.Fprintf(&b, "<title>%s</title>\n", clean(title))
	b.WriteString(`<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
		`<line x1="0" y1="0" x2="0" y2="6" stroke="#000" stroke-width="1.5"/></pattern></defs>` + "\n")
	x := left
	for _, d := range fromMonday {
		if t.Scenario.Hours.works(d) {
			fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x+6, top-10, d.String())
			x += width
		}
	}
	for row, wk := range weeks {
		y := top + row*height
		year, number := wk.monday.ISOWeek()
		fmt.Fprintf(&b, `<text x="4" y="%d">%04d-W%02d</text>`+"\n", y+18, year, number)
		fmt.Fprintf(&b, `<text x="4" y="%d" font-size="10">from %d %s</text>`+"\n", y+31, wk.monday.Day, wk.monday.Month.String()[:3])
		x := left
		for i, d := range fromMonday {
			if !t.Scenario.Hours.works(d) {
				continue
			}
			if t.within(wk.monday.AddDays(i)) {
				t.cell(&b, x, y, width-6, height-6, wk.nights[i])
			}
			x += width
		}
	}
	y := h - 30
	for i, entry := range []struct{ draw, text string }{
		{`<circle cx="7" cy="-4" r="5" fill="#fff" stroke="#000"/>`, "away that night"},
		{`<rect x="2" y="-9" width="10" height="10" fill="#fff" stroke="#000"/>`, "at the practice that night"},
		{`<rect x="0" y="-10" width="14" height="12" fill="url(#hatch)" stroke="#000"/>`, "not read back"},
		{`<rect x="1" y="-10" width="13" height="12" fill="#fff" stroke="#000" stroke-width="3"/>`, "weekly, monthly or yearly"},
		{`<text x="0" y="0" font-weight="bold">!!</text>`, "no backup"},
	} {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">%s<text x="19" y="0" font-size="11">%s</text></g>`+"\n",
			8+i%3*200, y+i/3*20, entry.draw, entry.text)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (t Timeline) cell(b *bytes.Buffer, x, y, w, h int, n *Night) {
	if n == nil {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#eee"/><text x="%d" y="%d" font-size="11">closed</text>`+"\n",
			x, y, w, h, x+28, y+21)
		return
	}
	fmt.Fprintf(b, "<g><title>%s</title>", clean(n.sentence()))
	if n.Outcome == Missed {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#fff" stroke="#000" stroke-dasharray="4 3"/>`, x, y, w, h)
		fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">!! %s</text></g>`+"\n", x+6, y+21, clean(n.Medium))
		return
	}
	outline := 1
	if n.Slot.Tier != Daily {
		outline = 3
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s" stroke="#000" stroke-width="%d"/>`, x, y, w, h,
		hue(t.Scenario.Names, n.Medium), outline)
	if n.Outcome == Unverified {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="url(#hatch)" fill-opacity=".5"/>`, x+1, y+1, w-2, h-2)
	}
	if n.LeavesOn == n.Day {
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="5" fill="#fff" stroke="#000"/>`, x+12, y+17)
	} else {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="10" height="10" fill="#fff" stroke="#000"/>`, x+7, y+12)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text></g>`+"\n", x+22, y+21, clean(n.Medium))
}

// sentence says what became of the session.
func (n Night) sentence() string {
	s := fmt.Sprintf("%s, %s %s: ", shortDay(n.Day), n.Medium, n.Slot.Tier)
	switch {
	case n.Outcome == Missed:
		return s + "no backup, " + n.Why
	case n.Outcome == Unverified:
		s += n.Why
	default:
		s += "read back"
	}
	switch {
	case n.LeavesOn.IsZero():
	case n.LeavesOn == n.Day:
		s += ", taken away that day by " + n.Keeper
	default:
		s += fmt.Sprintf(", taken away on %s by %s", shortDay(n.LeavesOn), n.Keeper)
	}
	return s
}

// clean makes text fit for a document: no control characters, which XML does not have, and escaped.
func clean(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// tints are light enough to print black text on; a medium named after a colour has it.
var tints = map[string]float64{"RED": 0, "ORANGE": 30, "BROWN": 30, "YELLOW": 54, "GREEN": 120, "TEAL": 175, "BLUE": 210,
	"PURPLE": 275, "PINK": 330}

// hue is a fill colour. Media of one colour differ in lightness.
func hue(names []string, name string) string {
	word, number, _ := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	n = max(n, 1)
	light := 88 - float64((n-1)%4)*6
	switch degrees, known := tints[strings.ToUpper(word)]; {
	case known && err == nil:
		return hsl(degrees, 0.7, light/100)
	case strings.EqualFold(word, "WHITE") && err == nil:
		return hsl(0, 0, 0.99-float64((n-1)%4)*0.03)
	case strings.EqualFold(word, "GREY") || strings.EqualFold(word, "BLACK"):
		return hsl(0, 0, (light-4)/100)
	}
	i := max(slices.Index(names, name), 0)
	return hsl(math.Mod(float64(i)*137.5, 360), 0.6, 0.84) // the golden angle keeps neighbours apart
}

// hsl converts to a hexadecimal colour, which every printer's software knows.
func hsl(h, s, l float64) string {
	channel := func(n float64) int {
		k := math.Mod(n+h/30, 12)
		return int(math.Round(255 * (l - s*min(l, 1-l)*max(-1, min(k-3, 9-k, 1)))))
	}
	return fmt.Sprintf("#%02x%02x%02x", channel(0), channel(8), channel(4))
}
