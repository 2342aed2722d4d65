package register

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/carekeep/carekeep/residency"
)

// svg is a schematic map: a box for each country, and in it a box for each site that has data there. It is no map of
// the earth.
type svg struct {
	Width, Height int
	Title         string
	Countries     []svgCountry
	LegendY       int
}

type svgCountry struct {
	X, Y, W, H, TX, TY int
	Name               string
	Sites              []svgSite
}

type svgSite struct {
	X, Y, W, H, GX, GY, TX, TY int
	Name, Detail, Word         string
	Home, Onsite, Bad          bool
}

// Sizes in user units; the drawing is as wide as the page.
const (
	mapWidth  = 720
	columns   = 3
	gap       = 12
	head      = 26
	siteTall  = 40
	legendOf  = 30
	mapLetter = 7 // the width of a letter, roughly
)

func (v *viewer) draw() svg {
	var order []residency.Place
	in := map[residency.Place][]svgSite{}
	for _, s := range v.r.Sites {
		places := s.places()
		if len(places) == 0 {
			places = []residency.Place{""}
		}
		for _, p := range places {
			c := country(p)
			if !slices.Contains(order, c) {
				order = append(order, c)
			}
			words, bad := v.state(s)
			in[c] = append(in[c], svgSite{Name: plain(s.Name), Detail: plain(string(p)), Word: words, Home: s.Home, Onsite: s.Onsite, Bad: bad})
		}
	}
	slices.Sort(order)
	d := svg{Width: mapWidth, Title: "Where the data is: a box for each country, and in it the sites"}
	width := (mapWidth - (columns-1)*gap) / columns
	y, tall := 0, 0
	for i, c := range order {
		column := i % columns
		if column == 0 && i > 0 {
			y, tall = y+tall+gap, 0
		}
		box := svgCountry{X: column * (width + gap), Y: y, W: width, H: head + len(in[c])*(siteTall+6) + 4, Name: v.countryName(c, width)}
		box.TX, box.TY = box.X+8, box.Y+18
		for j, s := range in[c] {
			box.Sites = append(box.Sites, s.at(box.X+6, box.Y+head+j*(siteTall+6), width-12))
		}
		tall = max(tall, box.H)
		d.Countries = append(d.Countries, box)
	}
	d.LegendY = y + tall + gap
	d.Height = d.LegendY + legendOf
	return d
}

func (v *viewer) countryName(c residency.Place, width int) string {
	if c == "" {
		return "Place not known"
	}
	return fit(v.place(c), (width-16)/mapLetter)
}

// at places a site's box.
func (s svgSite) at(x, y, width int) svgSite {
	s.X, s.Y, s.W, s.H = x, y, width, siteTall
	s.GX, s.GY, s.TX, s.TY = x+16, y+siteTall/2, x+32, y+16
	letters := (width - 36) / mapLetter
	name := s.Name
	if s.Detail != "" {
		name += ", " + s.Detail
	}
	s.Name, s.Word = fit(name, letters), fit(strings.TrimSpace(s.Word), letters+3) // in smaller type
	return s
}

// fit shortens a text to a number of letters.
func fit(s string, letters int) string {
	if utf8.RuneCountInString(s) <= letters {
		return s
	}
	return string([]rune(s)[:letters-1]) + "…"
}
