package rotation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// Policy says what is kept. It is data: see [ParsePolicy] for its JSON form. The zero Policy keeps everything.
type Policy struct {
	// Zone is where business days begin and weeks turn.
	Zone Zone `json:"zone,omitzero"`
	// Rules say what is kept of which lineages. A point whose lineage no rule names is never released.
	Rules []Rule `json:"rules,omitempty"`
	// Verified is the grade from which a point counts as good. Zero: [Checked].
	Verified Assurance `json:"verified,omitempty"`
	// Budget bounds how much may go.
	Budget Budget `json:"budget,omitzero"`
	// Ratchet is how long this policy still binds after another has replaced it: what the new one keeps more is kept at
	// once, what it keeps less goes only then. Zero: not at all.
	Ratchet Span `json:"ratchet,omitzero"`
	// Promise bounds what is promised to a point for good when it is granted a bucket: no more than this and no more than
	// its tiers keep it for. A recorded promise outlives every change of policy. Zero: no promise outlives one.
	Promise Span `json:"promise,omitzero"`
	// Lag is how far the day that a point claims may lie behind the day on which it was observed. Long runs need some.
	// Zero: 7 days.
	Lag Span `json:"lag,omitzero"`
	// MaxLock bounds the legal locks that [Admit] proposes, counted from now. Zero: as long as the longest tier.
	MaxLock Span `json:"maxLock,omitzero"`
	// Time says which clocks are believed.
	Time TimePolicy `json:"time,omitzero"`
}

// Rule says what is kept of some lineages, each on its own.
type Rule struct {
	// Lineages are names, or "*" for all those that no rule names.
	Lineages []string `json:"lineages"`
	Tiers    []Tier   `json:"tiers"`
	Floors   []Floor  `json:"floors,omitempty"`
}

// Need is what a point must have to count for a [Floor].
type Need uint8

// The needs. Copies count when they were verified themselves, as far as the policy asks of points.
const (
	NeedComplete Need = 1 // complete, without anomalies
	NeedVerified Need = 2 // good: complete, verified, with everything that it requires
	NeedOffsite  Need = 3 // good, with a verified copy away from the live system
	NeedOffline  Need = 4 // good, with a verified copy that no software can reach
)

var needNames = []string{"none", "complete", "verified", "offsite", "offline"}

// String returns "complete", "verified", "offsite" or "offline".
func (n Need) String() string { return nameOf(needNames, n) }

// MarshalText implements [encoding.TextMarshaler].
func (n Need) MarshalText() ([]byte, error) { return marshalName("need", needNames, n) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Need) UnmarshalText(text []byte) error { return unmarshalName("need", needNames, text, n) }

// Floor is a least holding of each lineage. The newest points that meet it are never released; while it is not met,
// nothing of the lineage is. The newest good point of a lineage, and every point after it, stays without any floor.
type Floor struct {
	Need Need `json:"need"`
	// Copies is how many such copies a point needs to count. Zero: 1 for offsite and offline, else none.
	Copies int `json:"copies,omitempty"`
	// Points is how many points must meet it, 1 at least.
	Points int `json:"points"`
	// MaxAge is how old, in days, the newest of them may be. Zero: any age.
	MaxAge Span `json:"maxAge,omitzero"`
}

// Digest is a SHA-256. Its text is hexadecimal.
type Digest [sha256.Size]byte

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(text []byte) error {
	if b, err := hex.DecodeString(string(text)); err == nil && len(b) == len(d) && string(text) == hex.EncodeToString(b) {
		copy(d[:], b)
		return nil
	}
	return fmt.Errorf("digest: expected %d hexadecimal digits in lower case", 2*len(d))
}

// ParsePolicy reads a policy and validates it. Unknown and repeated fields are errors, since a word mistyped in a policy
// must not change what is deleted. Example:
//
//	{
//	  "zone": {"location": "Australia/Sydney", "dayStart": "04:00"},
//	  "rules": [{
//	    "lineages": ["clinic-sql"],
//	    "tiers": [
//	      {"period": "every", "count": 1, "within": "2d"},
//	      {"period": "daily", "count": 7, "within": "7d"},
//	      {"period": "weekly", "count": 5, "within": "5w"},
//	      {"period": "monthly", "count": 12, "within": "12m"}
//	    ],
//	    "floors": [{"need": "offsite", "points": 1, "maxAge": "3d"}]
//	  }],
//	  "budget": {"points": 20, "per": "1d"},
//	  "ratchet": "30d",
//	  "promise": "30d"
//	}
func ParsePolicy(data []byte) (Policy, error) {
	var p Policy
	err := unrepeated(data)
	if err == nil {
		err = strict(data, &p)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	return p, p.Validate()
}

// Validate says what is wrong with the policy, if anything: what contradicts itself, keeps nothing or could delete more
// than its author can have meant.
func (p Policy) Validate() error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return nil
}

func (p Policy) validate() error {
	if _, err := p.Zone.MarshalJSON(); err != nil {
		return err
	}
	if int(p.Verified) >= len(assuranceNames) {
		return fmt.Errorf("verified: expected one of %q", assuranceNames)
	}
	for _, f := range []struct {
		name string
		span Span
	}{{"ratchet", p.Ratchet}, {"promise", p.Promise}, {"lag", p.Lag}, {"maxLock", p.MaxLock}} {
		if !f.span.valid() {
			return fmt.Errorf("%s: years, months and days must not be negative", f.name)
		}
	}
	if err := p.Time.validate(); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	named := map[string]string{}
	longest := 0
	for i, r := range p.Rules {
		rule := fmt.Sprintf("rules[%d]", i)
		if len(r.Lineages) == 0 {
			return fmt.Errorf(`%s: give "lineages", names or "*"`, rule)
		}
		for j, name := range r.Lineages {
			at := fmt.Sprintf("%s.lineages[%d]", rule, j)
			if name == "" || name != strings.TrimSpace(name) || !utf8.ValidString(name) {
				return fmt.Errorf("%s: a lineage needs a name, without space around it", at)
			}
			if other, ok := named[name]; ok {
				return fmt.Errorf("%s names the same lineage as %s", at, other)
			}
			named[name] = at
		}
		if err := r.validate(); err != nil {
			return fmt.Errorf("%s%w", rule, err)
		}
		for _, t := range r.Tiers {
			longest = max(longest, length(t.Within))
		}
	}
	if len(p.Rules) == 0 {
		return nil
	}
	if !p.MaxLock.IsZero() && !p.Promise.IsZero() && length(p.MaxLock) < min(longest, length(p.Promise)) {
		return fmt.Errorf("maxLock %s is shorter than what is promised: a lock could not cover a promise", p.MaxLock)
	}
	if err := p.Budget.validate(); err != nil {
		return fmt.Errorf("budget: %w", err)
	}
	return nil
}

// validate returns an error that begins with the place within the rule.
func (r Rule) validate() error {
	if len(r.Tiers) == 0 {
		return errors.New(`: give "tiers"; to keep all points of a lineage, leave its rule out`)
	}
	kept := 0
	for i, t := range r.Tiers {
		at := fmt.Sprintf(".tiers[%d]", i)
		if err := t.validate(); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		kept += t.Count
		for j, u := range r.Tiers[:i] {
			short, long := t, u
			if u.Period < t.Period {
				short, long = u, t
			}
			least, _ := short.horizon()
			_, most := long.horizon()
			switch {
			case t.Period == u.Period:
				return fmt.Errorf("%s: .tiers[%d] is %s as well: join them", at, j, t.Period)
			case length(long.Within) < length(short.Within):
				return fmt.Errorf("%s: the %s tier keeps for %s and the %s tier for %s: the longer period must not keep for less",
					at, long.Period, long.Within, short.Period, short.Within)
			case short.Period != Every && most < least:
				return fmt.Errorf("%s: the %s tier reaches %d days back and the %s tier %d: the longer period would add nothing",
					at, long.Period, most, short.Period, least)
			}
		}
	}
	for i, f := range r.Floors {
		at := fmt.Sprintf(".floors[%d]", i)
		if err := f.validate(); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if f.Points > kept {
			return fmt.Errorf("%s: %d points, but the tiers keep %d at most: raise a tier's count", at, f.Points, kept)
		}
		if j := slices.IndexFunc(r.Floors[:i], func(g Floor) bool { return g.Need == f.Need && g.Copies == f.Copies }); j >= 0 {
			return fmt.Errorf("%s: .floors[%d] needs the same: join them", at, j)
		}
	}
	return nil
}

func (f Floor) validate() error {
	switch {
	case f.Need == 0 || int(f.Need) >= len(needNames):
		return fmt.Errorf(`give "need", one of %q`, needNames[1:])
	case f.Copies < 0:
		return fmt.Errorf("copies %d: must not be negative", f.Copies)
	case f.Points < 1:
		return fmt.Errorf("points %d: 1 at least, or leave the floor out", f.Points)
	case !f.MaxAge.valid():
		return errors.New("maxAge: years, months and days must not be negative")
	}
	return nil
}

// Digest identifies the policy: equal policies have equal digests. It is zero for a policy that is not valid.
func (p Policy) Digest() Digest {
	if p.Validate() != nil {
		return Digest{}
	}
	return digest("policy", p)
}

// digest hashes the canonical JSON of v, which marshals without error.
func digest(what string, v any) Digest {
	b, err := json.Marshal(v)
	if err != nil {
		return Digest{}
	}
	return sha256.Sum256(slices.Concat([]byte("carekeep rotation "+what+"\n"), b))
}

// ruleFor returns the index of the rule for a lineage, or -1.
func (p Policy) ruleFor(lineage string) int {
	for _, want := range []string{lineage, "*"} {
		for i, r := range p.Rules {
			if slices.Contains(r.Lineages, want) {
				return i
			}
		}
	}
	return -1
}

func (p Policy) verified() Assurance { return max(p.Verified, Checked) }

func (p Policy) lag() Span { return cmp.Or(p.Lag, Span{Days: 7}) }

// maxLock is the longest lock, from today.
func (p Policy) maxLock() Span {
	longest := p.MaxLock
	if longest.IsZero() {
		for _, r := range p.Rules {
			for _, t := range r.Tiers {
				if length(t.Within) > length(longest) {
					longest = t.Within
				}
			}
		}
	}
	return longest
}

// unrepeated refuses JSON in which an object has a field twice. Go matches fields whatever their case.
func unrepeated(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	var walk func() error
	walk = func() error {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		open, ok := tok.(json.Delim)
		if !ok {
			return nil
		}
		seen := map[string]bool{}
		for d.More() {
			if open == '{' {
				key, err := d.Token()
				if err != nil {
					return err
				}
				k := strings.ToLower(key.(string))
				if seen[k] {
					return fmt.Errorf("the field %q is given twice", strictjson.Clip(k))
				}
				seen[k] = true
			}
			if err := walk(); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	}
	if err := walk(); err != nil {
		return fmt.Errorf("not valid JSON: %w", err)
	}
	return nil
}
