package main

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// memoryLimit is what our command may take, in bytes.
const memoryLimit = 128 << 20

// span is the middle of several measurements, and how far they lie apart.
type span[T cmp.Ordered] struct {
	Median T   `json:"median"`
	Min    T   `json:"min"`
	Max    T   `json:"max"`
	All    []T `json:"all"` // in the order of the runs
}

// add takes one more measurement. Of an even number the lower middle is the median.
func (s *span[T]) add(v T) {
	s.All = append(s.All, v)
	sorted := slices.Sorted(slices.Values(s.All))
	s.Min, s.Max, s.Median = sorted[0], sorted[len(sorted)-1], sorted[(len(sorted)-1)/2]
}

// figures are what one stage of one contender took.
type figures struct {
	Wall   span[float64] `json:"wall_seconds"`
	CPU    span[float64] `json:"cpu_seconds"` // user and system
	Memory span[int64]   `json:"peak_memory_bytes"`
	Added  span[int64]   `json:"added_bytes"` // to the repository
}

// row is all figures of one contender.
type row struct {
	Name       string              `json:"name"`
	Version    string              `json:"version"`
	Ours       bool                `json:"ours"`
	Compresses bool                `json:"compresses"`
	Caches     string              `json:"caches"`
	Commands   map[string][]string `json:"commands"`
	Repository span[int64]         `json:"repository_bytes"` // after cold
	Stages     map[string]*figures `json:"stages"`
}

// report is what a comparison found.
type report struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Machine  []string  `json:"machine"`
	Load     [2]string `json:"load"` // before and after
	Data     string    `json:"data"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Runs     int       `json:"runs"`
	// FileCost is how many microseconds making an empty file took before each run. Well above 100 says that
	// many files were deleted on this file system shortly before, and that restores are measured too slow.
	FileCost span[float64] `json:"file_cost_microseconds"`
	// PageCost is how many microseconds it took to touch a page of fresh memory before each run. Well above 0.5 says that
	// a host has taken back what this virtual machine did not use, and that whoever writes much is measured too slow.
	PageCost   span[float64] `json:"page_cost_microseconds"`
	Rows       []*row        `json:"rows"`
	Wrong      []string      `json:"wrong_restores"`
	Inexact    []string      `json:"inexact_restores"` // of peers: right but for the times of folders
	Shortfalls []string      `json:"shortfalls"`       // of ours, against the compressing peers and the limit of memory
}

func newReport(c *config, tools []*contender, d *dataset, work string) *report {
	r := &report{
		Started: time.Now().UTC(), Machine: machine(work), Data: d.what, Files: d.files, Bytes: d.bytes, Runs: c.runs,
		Wrong: []string{}, Inexact: []string{}, Shortfalls: []string{},
	}
	r.Load[0] = load()
	for _, t := range tools {
		w := &row{
			Name: t.name, Version: t.versionIs, Ours: t.ours, Compresses: t.compress, Caches: t.caches,
			Commands: map[string][]string{}, Stages: map[string]*figures{},
		}
		for stage, cs := range t.stages {
			for _, c := range cs {
				w.Commands[stage] = append(w.Commands[stage], c.String())
			}
		}
		r.Rows = append(r.Rows, w)
	}
	return r
}

func (r *report) row(name string) *row {
	return r.Rows[slices.IndexFunc(r.Rows, func(w *row) bool { return w.Name == name })]
}

// add takes down one measurement; before and after are the bytes of the repository.
func (r *report) add(name, stage string, u usage, before, after int64) {
	w := r.row(name)
	f := w.Stages[stage]
	if f == nil {
		f = &figures{}
		w.Stages[stage] = f
	}
	f.Wall.add(u.Wall.Seconds())
	f.CPU.add(u.CPU.Seconds())
	f.Memory.add(u.Memory)
	f.Added.add(after - before)
	if stage == "cold" {
		w.Repository.add(after)
	}
}

// wrong takes down in what a restore differs from the source. The same of a later run is not repeated.
func (r *report) wrong(what string, grave bool) {
	to := &r.Inexact
	if grave {
		to = &r.Wrong
	}
	if !slices.Contains(*to, what) {
		*to = append(*to, what)
	}
}

// close ends the report and judges it.
func (r *report) close() {
	r.Finished = time.Now().UTC()
	r.Load[1] = load()
	for _, own := range r.Rows {
		if own.Ours {
			r.judge(own)
		}
	}
}

func (r *report) json() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "\t")
	return append(b, '\n'), err
}
