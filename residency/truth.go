package residency

// truth is the outcome of a condition: no, not known, or yes. Its order makes AND the lesser of two and OR the
// greater.
type truth int8

const (
	no truth = iota
	unsure
	yes
)

func not(t truth) truth { return yes - t }

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

// verdict returns what a truth of "nothing denies" is to a caller.
func (t truth) verdict() Verdict {
	return [...]Verdict{Denied, Unknown, Allowed}[t]
}
