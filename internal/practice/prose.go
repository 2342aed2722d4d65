package practice

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// grammar turns symbols into clinical-sounding text. It is compiled once and then only read.
type grammar struct {
	rules [][][]part
	index map[string]int
}

// part is a literal, a symbol to expand, or a number to draw.
type part struct {
	text   string
	rule   int // -1 when it is not a symbol
	lo, hi int // a number is drawn when hi > 0
}

// compileGrammar reads a table of symbol to alternatives. "{x}" stands for a symbol, "{3-9}" for a number.
func compileGrammar(table map[string][]string) *grammar {
	g := &grammar{index: make(map[string]int, len(table)), rules: make([][][]part, len(table))}
	for name := range table {
		g.index[name] = len(g.index)
	}
	for name, alternatives := range table {
		for _, a := range alternatives {
			g.rules[g.index[name]] = append(g.rules[g.index[name]], g.split(a))
		}
	}
	return g
}

func (g *grammar) split(s string) []part {
	var parts []part
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			return append(parts, part{text: s, rule: -1})
		}
		if open > 0 {
			parts = append(parts, part{text: s[:open], rule: -1})
		}
		end := strings.IndexByte(s, '}')
		name := s[open+1 : end]
		if lo, hi, ok := strings.Cut(name, "-"); ok {
			a, _ := strconv.Atoi(lo)
			b, _ := strconv.Atoi(hi)
			parts = append(parts, part{rule: -1, lo: a, hi: b})
		} else {
			parts = append(parts, part{rule: g.index[name]})
		}
		s = s[end+1:]
	}
	return parts
}

// expand appends one expansion of a symbol.
func (g *grammar) expand(b []byte, r *rand.Rand, symbol string) []byte {
	return g.rule(b, r, g.index[symbol])
}

func (g *grammar) rule(b []byte, r *rand.Rand, n int) []byte {
	alternatives := g.rules[n]
	for _, p := range alternatives[r.IntN(len(alternatives))] {
		switch {
		case p.rule >= 0:
			b = g.rule(b, r, p.rule)
		case p.hi > 0:
			b = strconv.AppendInt(b, int64(between(r, p.lo, p.hi)), 10)
		default:
			b = append(b, p.text...)
		}
	}
	return b
}

// note is a consultation note of a few hundred to a couple of thousand bytes.
func (c *clinic) note(b []byte, r *rand.Rand) []byte {
	b = c.prose.expand(b, r, "presenting")
	for range 1 + r.IntN(4) {
		b = append(b, ' ')
		b = c.prose.expand(b, r, "history")
	}
	b = append(b, "\nO/E: "...)
	for range 1 + r.IntN(4) {
		b = c.prose.expand(b, r, "finding")
		b = append(b, ' ')
	}
	b = append(b, "\nImp: "...)
	b = c.prose.expand(b, r, "impression")
	b = append(b, "\nPlan: "...)
	for range 2 + r.IntN(5) {
		b = c.prose.expand(b, r, "plan")
		b = append(b, ' ')
	}
	if r.IntN(4) == 0 {
		b = append(b, '\n')
		b = c.prose.expand(b, r, "aside")
	}
	return b
}

// paragraph is a few sentences of a letter.
func (c *clinic) paragraph(b []byte, r *rand.Rand) []byte {
	for range 2 + r.IntN(5) {
		b = c.prose.expand(b, r, pick(r, []string{"history", "finding", "plan", "plan", "aside", "social"}))
		b = append(b, ' ')
	}
	return b
}

const (
	dateForm  = "2006-01-02"
	stampForm = "2006-01-02T15:04:05Z"
)

// age in whole years at a time.
func age(born, at time.Time) int {
	n := at.Year() - born.Year()
	if at.YearDay() < born.YearDay() {
		n--
	}
	return max(n, 0)
}
