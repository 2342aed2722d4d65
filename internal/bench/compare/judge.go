package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// column is one figure by which contenders are compared; less is better.
type column struct {
	name string
	// atLeast is how many times better than the best compressing peer the design wants us.
	atLeast float64
	of      func(*row) float64
	show    func(float64) string
}

// columns are all that ours must win. List is not among them: it only shows what opening costs.
func columns() []column {
	out := []column{
		{"repository after cold", 1, func(w *row) float64 { return float64(w.Repository.Median) }, bytesText},
		{"bytes added by the changed day", 3, func(w *row) float64 { return float64(w.Stages["changed"].Added.Median) }, bytesText},
	}
	wanted := map[string]float64{"cold": 2, "unchanged": 3, "changed": 3, "restore": 3, "check": 3}
	for _, stage := range stages {
		if wanted[stage] == 0 {
			continue
		}
		out = append(out,
			column{stage + ", wall", wanted[stage], func(w *row) float64 { return w.Stages[stage].Wall.Median }, secondsText},
			column{stage + ", CPU", 1, func(w *row) float64 { return w.Stages[stage].CPU.Median }, secondsText})
	}
	return out
}

// best returns the compressing peer that is first in a column.
func (r *report) best(c column) (who string, value float64) {
	value = math.Inf(1)
	for _, w := range r.Rows {
		if v := c.of(w); !w.Ours && w.Compresses && v < value {
			who, value = w.Name, v
		}
	}
	return who, value
}

// A first backup is to take at most three quarters of the time of the fastest peer that compresses well.
const (
	coldPeer  = "kopia, zstd-fastest"
	coldShare = 0.75
)

// judge notes where a row of ours does not beat every compressing peer or takes too much memory.
func (r *report) judge(own *row) {
	for _, c := range columns() {
		who, best := r.best(c)
		if v := c.of(own); who != "" && v >= best {
			r.Shortfalls = append(r.Shortfalls, fmt.Sprintf("%s: %s: %s, and %s has %s", own.Name, c.name, c.show(v), who, c.show(best)))
		}
	}
	if i := slices.IndexFunc(r.Rows, func(w *row) bool { return w.Name == coldPeer }); i >= 0 {
		if v, limit := own.Stages["cold"].Wall.Median, coldShare*r.Rows[i].Stages["cold"].Wall.Median; v > limit {
			r.Shortfalls = append(r.Shortfalls, fmt.Sprintf("%s: cold, wall: %s, and three quarters of %s are %s",
				own.Name, secondsText(v), coldPeer, secondsText(limit)))
		}
	}
	for _, stage := range stages {
		if m := own.Stages[stage].Memory.Max; m > memoryLimit {
			r.Shortfalls = append(r.Shortfalls, fmt.Sprintf("%s: %s: %s of memory, and the limit is %s",
				own.Name, stage, bytesText(float64(m)), bytesText(memoryLimit)))
		}
	}
}

// factors is the table of how many times better ours is than the best compressing peer.
func (r *report) factors() string {
	var b strings.Builder
	var own []*row
	head, rule := "| column | best compressing peer |", "|---|---|"
	for _, w := range r.Rows {
		if w.Ours {
			own = append(own, w)
			head += " " + w.Name + " |"
			rule += "--:|"
		}
	}
	fmt.Fprintf(&b, "%s aim |\n%s--:|\n", head, rule)
	for _, c := range columns() {
		who, best := r.best(c)
		if who == "" {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s: %s |", c.name, who, c.show(best))
		for _, w := range own {
			fmt.Fprintf(&b, " %.2f× |", best/c.of(w))
		}
		fmt.Fprintf(&b, " %g× |\n", c.atLeast)
	}
	return b.String()
}
