package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func secondsText(s float64) string { return fmt.Sprintf("%.2f s", s) }

func bytesText(n float64) string {
	switch {
	case n < 0:
		return "-" + bytesText(-n)
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", n/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", n/(1<<10))
}

// String is the command as the report shows it, with its folders as variables.
func (c command) String() string {
	words := append([]string{}, c.env...)
	words = append(words, c.args...)
	line := strings.Replace(strings.Join(words, " "), "$BIN", "carekeep", 1)
	if c.dir != "" {
		line = "cd " + c.dir + " && " + line
	}
	return line
}

// markdown is the report for people.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Carekeep beside its peers\n\nMeasured %s in %s. Load before %s, after %s.\n\n",
		r.Started.Format("2006-01-02 15:04 UTC"), r.Finished.Sub(r.Started).Round(time.Second), r.Load[0], r.Load[1])
	for _, m := range r.Machine {
		fmt.Fprintf(&b, "- %s\n", m)
	}
	fmt.Fprintf(&b, "- data: %s: %d files, %s\n", r.Data, r.Files, bytesText(float64(r.Bytes)))
	fmt.Fprintf(&b, "- runs: %d, contenders taking turns in every stage, page cache warm, disk synced before each command\n", r.Runs)
	fmt.Fprintf(&b, "- making an empty file took %.0f µs (%.0f to %.0f) before the runs\n", r.FileCost.Median, r.FileCost.Min, r.FileCost.Max)
	fmt.Fprintf(&b, "- touching a page of fresh memory took %.2f µs (%.2f to %.2f) before the runs\n\n", r.PageCost.Median, r.PageCost.Min, r.PageCost.Max)
	fmt.Fprintf(&b, "## Medians\n\nWall s / CPU s (user and system) / peak memory MiB.\n\n%s\n", r.medians())
	fmt.Fprintf(&b, "## Sizes\n\n%s\n", r.sizes())
	fmt.Fprintf(&b, "## Times better than the best compressing peer\n\n%s\n", r.factors())
	list(&b, "## Where ours is not ahead\n\n", r.Shortfalls, "Nowhere: ahead in every column, within 128 MiB.")
	list(&b, "## Restores\n\nEvery restore was compared with the source: names, content, modes, times.\n\n",
		slices.Concat(r.Wrong, r.Inexact), "All are exact.")
	if r.Runs > 1 {
		fmt.Fprintf(&b, "## Spread\n\nMedian (least to most).\n\n%s\n", r.spread())
	}
	fmt.Fprintf(&b, "## What was run\n\n%s", r.settings())
	return b.String()
}

func list(b *strings.Builder, head string, lines []string, none string) {
	b.WriteString(head)
	for _, l := range lines {
		fmt.Fprintf(b, "- %s\n", l)
	}
	if len(lines) == 0 {
		b.WriteString(none + "\n")
	}
	b.WriteString("\n")
}

// table makes a table with one row per contender.
func (r *report) table(heads []string, cells func(*row) []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(heads, " | "), strings.Repeat("--:|", len(heads)))
	for _, w := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s |\n", w.Name, strings.Join(cells(w), " | "))
	}
	return b.String()
}

func (r *report) medians() string {
	return r.table(stages, func(w *row) (out []string) {
		for _, s := range stages {
			f := w.Stages[s]
			out = append(out, fmt.Sprintf("%.2f / %.2f / %d", f.Wall.Median, f.CPU.Median, f.Memory.Median>>20))
		}
		return out
	})
}

func (r *report) sizes() string {
	heads := []string{"repository after cold", "added by unchanged", "added by the changed day"}
	return r.table(heads, func(w *row) []string {
		return []string{
			bytesText(float64(w.Repository.Median)), bytesText(float64(w.Stages["unchanged"].Added.Median)),
			bytesText(float64(w.Stages["changed"].Added.Median)),
		}
	})
}

func (r *report) spread() string {
	var b strings.Builder
	for _, s := range stages {
		fmt.Fprintf(&b, "%s:\n\n%s\n", s, r.table([]string{"wall s", "CPU s", "peak MiB"}, func(w *row) []string {
			f := w.Stages[s]
			return []string{
				fmt.Sprintf("%.2f (%.2f to %.2f)", f.Wall.Median, f.Wall.Min, f.Wall.Max),
				fmt.Sprintf("%.2f (%.2f to %.2f)", f.CPU.Median, f.CPU.Min, f.CPU.Max),
				fmt.Sprintf("%d (%d to %d)", f.Memory.Median>>20, f.Memory.Min>>20, f.Memory.Max>>20),
			}
		}))
	}
	return b.String()
}

func (r *report) settings() string {
	var b strings.Builder
	for _, w := range r.Rows {
		fmt.Fprintf(&b, "**%s** (%s). %s\n\n```\n", w.Name, w.Version, w.Caches)
		for _, s := range append([]string{"init"}, stages...) {
			for _, suffix := range []string{"-prep", ""} {
				for _, c := range w.Commands[s+suffix] {
					fmt.Fprintf(&b, "%-13s %s\n", s+suffix, c)
				}
			}
		}
		b.WriteString("```\n\n")
	}
	return b.String()
}
