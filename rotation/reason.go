package rotation

// Reason is why something is decided as it is.
type Reason struct {
	Code string `json:"code"` // for programs, such as "tier" or "hold"
	Text string `json:"text"` // for people, without the names of people or data
	// Rule is the place that the reason comes from, such as "rules[0].tiers[1]" of a policy.
	Rule string `json:"rule,omitempty"`
	// Until is the first business day on which the reason no longer stands. Zero: no such day is known.
	Until Day `json:"until,omitzero"`
}
