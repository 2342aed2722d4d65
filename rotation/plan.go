package rotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// The codes of reasons to keep a point.
const (
	CodeTier        = "tier"        // it owns a bucket of a tier
	CodeUnclaimed   = "unclaimed"   // its bucket has no verified point yet
	CodeProvisional = "provisional" // it may yet be given its bucket, or has to keep it warm
	CodeFloor       = "floor"       // a least holding
	CodeNewest      = "newest"      // newer than every verified point: it may be all that holds the last changes
	CodeHold        = "hold"
	CodeLock        = "lock" // a provider's legal lock
	CodePromise     = "promise"
	CodeDependent   = "dependent" // another point needs it
	CodeQuarantine  = "quarantine"
	CodeClock       = "clock"   // no clock can be believed
	CodeBudget      = "budget"  // enough went already
	CodeRatchet     = "ratchet" // a policy that was replaced still binds
	CodeNoRule      = "no-rule" // no rule names its lineage
)

// The codes of reasons to release a point: there is one for each tier.
const (
	CodeSurplus = "surplus" // another point has the bucket
	CodeAged    = "aged"    // older than the tier's age, and enough newer buckets have a verified point
)

// Plan says which points are kept and which may go, and why. It is data: it can be printed, compared, signed and kept as
// evidence, and whoever has the same policy and catalogue can make it again. Its JSON form is canonical.
//
// It binds the policy, the catalogue and the log's head that it was made from. Whoever carries it out has to refuse it
// once any of them has changed.
type Plan struct {
	Format     int         `json:"format"` // 1
	Repository string      `json:"repository"`
	Head       string      `json:"head"`
	Policy     Digest      `json:"policy"`
	Catalogue  Digest      `json:"catalogue"`
	Zone       Zone        `json:"zone"`
	ZoneRules  string      `json:"zoneRules"` // [Zone.Rules]: what the machine knew of the zone
	Time       TimeVerdict `json:"time"`
	Verdicts   []Verdict   `json:"verdicts"` // one for each point, in the order of the log
	// Grants are to be recorded with the plan, in the points' Promoted and Promise: see [Catalogue.After].
	Grants []Grant `json:"grants,omitempty"`
	Notes  []Note  `json:"notes,omitempty"` // what somebody should look at
}

// Verdict is what becomes of one point.
type Verdict struct {
	Point    PointID   `json:"point"`
	Lineage  string    `json:"lineage"`
	Seq      uint64    `json:"seq"`
	Day      Day       `json:"day"` // the business day that it is counted for
	Observed time.Time `json:"observed"`
	Verified Assurance `json:"verified"`
	Bytes    int64     `json:"bytes,omitempty"`
	Copies   []Copy    `json:"copies,omitempty"`
	Release  bool      `json:"release"`
	// Reasons are why it is kept, or why no tier keeps it. There is always one.
	Reasons []Reason `json:"reasons"`
	// Earliest is the first business day on which the point could be released under the policies in force, if time alone
	// decided. Points that are added later do not bring it forward, nor does a late verification of others once the plan's
	// grants are recorded. Zero: none of the reasons ends by time.
	Earliest Day `json:"earliest,omitzero"`
}

// Grant is what a point was given for good: buckets that it keeps, and a promise.
type Grant struct {
	Point   PointID   `json:"point"`
	Buckets []string  `json:"buckets,omitempty"` // see [Point.Promoted]
	Promise time.Time `json:"promise,omitzero"`
}

// Note is about the plan as a whole or about one lineage.
type Note struct {
	Code    string `json:"code"` // one of the codes of reasons, or one of those below
	Text    string `json:"text"`
	Rule    string `json:"rule,omitempty"`
	Lineage string `json:"lineage,omitempty"`
	Points  int    `json:"points,omitempty"` // how many points it is about
}

// The codes of notes that are not codes of reasons.
const (
	CodeUnmatched = "unmatched"  // a rule or a hold covers no point
	CodeStale     = "stale"      // a lineage without new points: its last one stays for ever
	CodeLongLock  = "long-lock"  // a legal lock ends later than the policy allows
	CodeShortLock = "short-lock" // a legal lock ends before the promise does
)

// ParsePlan reads a plan from its canonical JSON and refuses any other form, and a plan that contradicts itself. It does
// not say whether the plan follows from its policy and catalogue: [Evaluate] again and compare digests.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	if err := strict(data, &p); err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	if err := p.validate(); err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	if !bytes.Equal(b, data) {
		return Plan{}, errors.New("plan: not in canonical form: it was changed or written by something else")
	}
	return p, nil
}

func (p Plan) validate() error {
	if p.Format != 1 {
		return fmt.Errorf("format %d: only 1 is known; a newer release wrote it, or it is no plan", p.Format)
	}
	points := map[PointID]*Verdict{}
	released := 0
	for i, v := range p.Verdicts {
		at := fmt.Sprintf("verdicts[%d]", i)
		switch {
		case v.Point == "" || v.Day.IsZero() || v.Observed.IsZero():
			return fmt.Errorf("%s: a point, a day and a time are needed", at)
		case points[v.Point] != nil:
			return fmt.Errorf("%s: the point has a verdict already", at)
		case i > 0 && v.Seq <= p.Verdicts[i-1].Seq:
			return fmt.Errorf("%s: not in the order of the log", at)
		case len(v.Reasons) == 0:
			return fmt.Errorf("%s: a reason is needed", at)
		}
		for _, r := range v.Reasons {
			if releases := r.Code == CodeSurplus || r.Code == CodeAged; releases != v.Release {
				return fmt.Errorf("%s: the reason %q does not fit what is decided", at, strictjson.Clip(r.Code))
			}
		}
		if v.Release {
			released++
		}
		points[v.Point] = &p.Verdicts[i]
	}
	if released > 0 && !p.Time.Usable {
		return errors.New("time: points are released although the clock is not usable")
	}
	for i, g := range p.Grants {
		if v := points[g.Point]; v == nil || v.Release {
			return fmt.Errorf("grants[%d]: the point is not kept", i)
		}
	}
	return nil
}

// Digest identifies the plan. It covers every field.
func (p Plan) Digest() Digest { return digest("plan", p) }

// Releases returns the points that may go, in the order of the log. All of them may go at once, and any of them alone
// only if no other that is left requires it.
func (p Plan) Releases() []PointID { return p.points(true) }

// Keeps returns the points that stay, in the order of the log.
func (p Plan) Keeps() []PointID { return p.points(false) }

func (p Plan) points(release bool) (ids []PointID) {
	for _, v := range p.Verdicts {
		if v.Release == release {
			ids = append(ids, v.Point)
		}
	}
	return ids
}

// Verdict returns what becomes of a point, and whether the plan knows it.
func (p Plan) Verdict(id PointID) (Verdict, bool) {
	i := slices.IndexFunc(p.Verdicts, func(v Verdict) bool { return v.Point == id })
	if i < 0 {
		return Verdict{}, false
	}
	return p.Verdicts[i], true
}

// Explain returns why a point is kept or released; nothing for a point that the plan does not know.
func (p Plan) Explain(id PointID) []Reason {
	v, _ := p.Verdict(id)
	return slices.Clone(v.Reasons)
}
