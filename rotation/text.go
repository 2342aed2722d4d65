package rotation

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteText writes the plan for people: what it rests on, what somebody should look at, and each point with its reasons.
// It shows lineages and sites, which are for the eyes of the plan's owner only.
func (p Plan) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	bytes := int64(0)
	for _, v := range p.Verdicts {
		if v.Release {
			bytes += v.Bytes
		}
	}
	fmt.Fprintf(b, "plan %.12s  %d points stay, %d may go (up to %d bytes)\n", p.Digest(), len(p.Keeps()), len(p.Releases()), bytes)
	fmt.Fprintf(b, "from policy %.12s, catalogue %.12s, log head %.12s\n", p.Policy, p.Catalogue, p.Head)
	if p.Time.Usable {
		fmt.Fprintf(b, "as of %s\n", p.Time.Now.In(p.Zone.location()).Format("Mon 2006-01-02 15:04 MST"))
	} else {
		fmt.Fprintln(b, "as of a clock that cannot be believed: nothing goes")
	}
	for _, n := range p.Notes {
		fmt.Fprintf(b, "  NOTE  %s", n.Text)
		if n.Points > 0 {
			fmt.Fprintf(b, ": %d points", n.Points)
		}
		if n.Lineage != "" {
			fmt.Fprintf(b, "  lineage %s", n.Lineage)
		}
		if n.Rule != "" {
			fmt.Fprintf(b, "  %s", n.Rule)
		}
		fmt.Fprintln(b)
	}
	for _, v := range p.Verdicts {
		fmt.Fprintln(b)
		p.write(b, v)
	}
	return b.Flush()
}

// Text shows one point as [Plan.WriteText] does; nothing for a point that the plan does not know.
func (p Plan) Text(id PointID) string {
	var b strings.Builder
	if v, ok := p.Verdict(id); ok {
		p.write(&b, v)
	}
	return b.String()
}

// label is what the line of a reason begins with.
func label(code string) string {
	switch code {
	case CodeHold:
		return "HOLD"
	case CodeLock:
		return "LOCK"
	case CodeQuarantine:
		return "ASIDE"
	case CodeSurplus, CodeAged:
		return "GOES"
	}
	return "KEEP"
}

func (p Plan) write(w io.Writer, v Verdict) {
	fmt.Fprintf(w, "%s  %s  lineage %s  verified: %s\n",
		v.Point, v.Observed.In(p.Zone.location()).Format("Mon 2006-01-02 15:04 MST"), v.Lineage, v.Verified)
	for _, r := range v.Reasons {
		line := fmt.Sprintf("  %-5s %-62s %-18s", label(r.Code), r.Text, r.Rule)
		if !r.Until.IsZero() {
			line += " until " + r.Until.String()
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	var places []string
	for _, c := range v.Copies {
		how := []string{"online"}
		if c.Offline {
			how[0] = "offline"
		}
		if c.Offsite {
			how = append(how, "offsite")
		}
		places = append(places, fmt.Sprintf("%s (%s, %s)", c.Site, strings.Join(how, ", "), c.Verified))
	}
	if len(places) > 0 {
		fmt.Fprintf(w, "  ON    %s\n", strings.Join(places, " | "))
	}
	if v.Release {
		return
	}
	earliest := "when what keeps it is gone"
	if !v.Earliest.IsZero() {
		earliest = v.Earliest.String()
	}
	if slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Code == CodeHold }) {
		earliest = "never while held; otherwise " + earliest
	}
	fmt.Fprintf(w, "  EARLIEST RELEASE  %s\n", earliest)
}
