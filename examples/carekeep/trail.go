package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// trailPrefix is where evidence lies at a site: among the router's own names, which no listing of the copies shows.
const trailPrefix = ".router/evidence/"

// trail keeps evidence of what the router does at every site that answers, beside the copies and not through the
// router: that a write was denied has to be recorded just when nothing may be written. It holds no personal
// data, so it may be anywhere.
type trail struct {
	a     *app
	names []string
	logs  []*evidence.Log // of the sites; nil where one does not answer
}

// openTrail opens the evidence of all sites. This host has one chain at each, under a name that does not tell its own.
func (a *app) openTrail(s *sites) (*trail, error) {
	host, _ := os.Hostname()
	sum := sha256.Sum256([]byte(host))
	writer := "host-" + hex.EncodeToString(sum[:8])
	t := &trail{a: a}
	for i, b := range s.buckets {
		log, err := evidence.Open(a.ctx, b, trailPrefix, &evidence.Options{Writer: writer, Now: a.now})
		if err != nil {
			if a.ctx.Err() != nil {
				return nil, a.ctx.Err()
			}
			log = nil
		}
		t.names = append(t.names, s.Sites[i].Name)
		t.logs = append(t.logs, log)
	}
	return t, nil
}

// record keeps what a router tells of. What no site can take does not keep anybody from reading; nothing can be
// written then either.
func (t *trail) record(ctx context.Context, kind, site string, data any) error {
	k, form, err := inForm(kind, data)
	if err != nil {
		return err
	}
	kept := false
	for _, log := range t.logs {
		if log == nil {
			continue
		}
		err := log.Append(ctx, k, site, form)
		if errors.Is(err, evidence.ErrRefused) || err != nil && ctx.Err() != nil {
			return err
		}
		kept = kept || err == nil
	}
	if !kept {
		fmt.Fprintf(t.a.stderr, "carekeep: no site takes evidence: that of a %s is lost\n", k)
	}
	return nil
}

// inForm gives what a router tells the form of evidence, which has no field for free text.
func inForm(kind string, data any) (evidence.Kind, any, error) {
	switch d := data.(type) {
	case residency.Decision:
		return evidence.KindDecision, d, nil
	case *residency.Override:
		return evidence.KindOverride, *d, nil
	case *router.ReconcileReport:
		return evidence.KindReconcile, reconciled(d), nil
	}
	if !slices.Contains([]string{"probe", "quarantine", "release", "debt-taken", "promotion"}, kind) {
		return evidence.Kind(kind), data, nil // it has its form
	}
	text, err := json.Marshal(data)
	if err != nil {
		return "", nil, err
	}
	var d told
	if err := json.Unmarshal(text, &d); err != nil {
		return "", nil, err
	}
	switch kind {
	case "probe":
		return evidence.KindProbe, evidence.Probe{Outcome: d.outcome(), Found: where(d.Observed)}, nil
	case "debt-taken":
		return evidence.KindDebt, evidence.Debt{Taken: d.Copies, Open: d.Copies}, nil
	case "promotion":
		return evidence.KindPromotion, evidence.Promotion{Epoch: d.N, To: d.Home, Person: d.Person, Cause: evidence.CauseOther, Forced: d.Forced}, nil
	}
	return evidence.KindQuarantine, evidence.Quarantine{Released: kind == "release", Cause: evidence.CauseOther, Person: d.Person}, nil
}

// told is what the router tells, of all kinds but decisions and overrides.
type told struct {
	Observed residency.Location `json:"observed"` // of a probe
	Matches  bool               `json:"matches"`
	Failed   bool               `json:"failed"`
	Person   string             `json:"person"` // of a quarantine or a promotion
	Copies   int64              `json:"copies"` // of debts
	N        int64              `json:"n"`      // of an epoch
	Home     string             `json:"home"`
	Forced   bool               `json:"forced"`
}

func (d *told) outcome() evidence.Outcome {
	switch {
	case d.Failed:
		return evidence.OutcomeUnreachable
	case !d.Matches:
		return evidence.OutcomeMismatch
	}
	return evidence.OutcomeOK
}

func where(l residency.Location) evidence.Where {
	return evidence.Where{Provider: l.Provider, Region: l.Region, Redundancy: l.Redundancy, Places: l.Places, Level: int(l.Level)}
}

// reconciled sums a reconciliation up over all sites.
func reconciled(rep *router.ReconcileReport) evidence.Reconcile {
	e := evidence.Reconcile{Outcome: evidence.OutcomeOK, Objects: rep.Keys, Undecided: rep.UndecidedCount,
		TookMillis: rep.Ended.Sub(rep.Started).Milliseconds()}
	for _, s := range rep.Sites {
		e.Lacking += s.Missing
		e.Differing += s.Wrong
		e.Repaired += s.Copied
		e.Bytes += s.Bytes
		e.Aside += s.Aside
		if s.Absent || s.Failed > 0 {
			e.Outcome = evidence.OutcomePartial
		}
	}
	if e.Undecided > 0 || rep.Cursor != "" {
		e.Outcome = evidence.OutcomePartial
	}
	return e
}
