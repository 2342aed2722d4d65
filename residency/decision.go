package residency

import "time"

// Verdict is the outcome of a [Decision]. Only Allowed permits anything.
type Verdict int

// The verdicts. Unknown, the zero Verdict, forbids as Denied does, and names the facts that are missing.
const (
	Unknown Verdict = iota
	Denied
	Allowed
)

// Decision is an answer of [Ruleset.Decide]. It is data: it can be printed, compared, kept as evidence and made
// again from the same ruleset and request. Allowed means that no rule in the ruleset denies; it is not legal
// advice.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Rules is what the rules say where an override changed the verdict; otherwise equal to Verdict.
	Rules       Verdict      `json:"rules"`
	Obligations []Obligation `json:"obligations,omitempty"` // only where it is allowed
	Reasons     []Reason     `json:"reasons"`
	Missing     []Missing    `json:"missing,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
	// Places are all the places that were judged, sorted.
	Places []Place `json:"places"`
	// Expires is when the first thing that the verdict rests on ends: from then on the question must be asked
	// again. Zero where nothing it rests on has an end.
	Expires   time.Time `json:"expires,omitzero"`
	ExpiresBy string    `json:"expiresBy,omitempty"` // the rule, paper or evidence that ends then
	// Endings are all things that the verdict rests on and that end, in order of time; the first is ExpiresBy. What
	// is renewed as a matter of course, such as a look at the location, stands among what is not.
	Endings []Ending `json:"endings,omitempty"`
	// Unconfirmed are rules that would have been asked but are disabled, because nobody confirmed their text.
	Unconfirmed []string `json:"unconfirmed,omitempty"`
	// Ruleset and Facts are SHA-256 digests of the rules, and of the request without Now, in lower-case hexadecimal:
	// the same facts have the same digest whenever they are asked about.
	Ruleset  string    `json:"ruleset"`
	Facts    string    `json:"facts"`
	Override *Override `json:"override,omitempty"`
	AsOf     Day       `json:"asOf,omitzero"`
	Known    Day       `json:"known,omitzero"`
	Now      time.Time `json:"now"`
}

// Ending is when a rule, paper, override or observation ends.
type Ending struct {
	At time.Time `json:"at"`
	By string    `json:"by"` // its id, or "paper " and its kind
}

// Reason is one step of a decision.
type Reason struct {
	Regime  string  `json:"regime"`
	Rule    string  `json:"rule,omitempty"`
	Place   Place   `json:"place,omitempty"` // empty for what concerns the target as a whole
	Verdict Verdict `json:"verdict"`
	From    Day     `json:"from,omitzero"`  // since when the rule has said so
	Until   Day     `json:"until,omitzero"` // the first day on which it no longer does; zero: open
	Ref     string  `json:"ref,omitempty"`
	// ReviewedBy is who answers for the last look at the rule, where that is a review in somebody's own file.
	ReviewedBy string `json:"reviewedBy,omitempty"`
	Text       string `json:"text"`
}

// Obligation is what must be done for an allowed target to be lawful.
type Obligation struct {
	Rule string `json:"rule"`
	Code string `json:"code"` // such as "record-risk-assessment"
	Text string `json:"text"`
}

// Missing is a fact that a rule asks for and nobody gave.
type Missing struct {
	Rule string `json:"rule"`
	Fact string `json:"fact"` // such as "paper dpf-listing"
}
