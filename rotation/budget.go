package rotation

import (
	"errors"
	"fmt"
	"math"
)

// Budget bounds what may go within a stretch of time, whatever the reason. Every limit that is set holds.
type Budget struct {
	Points int   `json:"points,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
	// Percent of the catalogue's points, 1 point at least. Whoever adds points raises it: set Points as well.
	Percent int `json:"percent,omitempty"`
	// Per is the stretch of time, counted back from now, 1d at least.
	Per Span `json:"per"`
}

func (b Budget) validate() error {
	switch {
	case b.Points < 0 || b.Bytes < 0 || b.Percent < 0:
		return errors.New("points, bytes and percent must not be negative")
	case b.Percent > 100:
		return fmt.Errorf("percent %d: 100 at most", b.Percent)
	case b.Points == 0 && b.Bytes == 0 && b.Percent == 0:
		return errors.New("set points, bytes or percent: with none, nothing that the tiers let go could ever go")
	case !b.Per.valid() || b.Per.IsZero():
		return errors.New(`give "per", a time such as 1d`)
	}
	return nil
}

// spend lets go what the budgets have room for, oldest first, and keeps the rest. A point goes together with all that
// require it.
func (e *evaluation) spend() {
	points, bytes := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, w := range e.views {
		b := w.policy.Budget
		if b == (Budget{}) {
			continue // a policy without rules, which lets nothing go
		}
		usedPoints, usedBytes := int64(0), int64(0)
		since := earlier(e.now, b.Per)
		for _, r := range e.c.Releases {
			if r.At.After(since) {
				usedPoints, usedBytes = add(usedPoints, int64(r.Points)), add(usedBytes, r.Bytes)
			}
		}
		if b.Points > 0 {
			points = min(points, max(0, int64(b.Points)-usedPoints))
		}
		if b.Percent > 0 {
			all, percent := add(int64(len(e.c.Points)), usedPoints), int64(b.Percent)
			points = min(points, max(0, max(1, all/100*percent+all%100*percent/100)-usedPoints))
		}
		if b.Bytes > 0 {
			bytes = min(bytes, max(0, b.Bytes-usedBytes))
		}
	}
	dependents := make([][]int, len(e.keeps))
	for i, pt := range e.c.Points {
		for _, id := range pt.Requires {
			if j, ok := e.byID[id]; ok {
				dependents[j] = append(dependents[j], i)
			}
		}
	}
	gone := make([]bool, len(e.keeps))
	// unit collects a point with all that require it and are still there, unless that is more than there is room for.
	unit := func(i int) (members []int, size int64, fits bool) {
		seen := map[int]bool{i: true}
		for todo := []int{i}; len(todo) > 0; {
			j := todo[0]
			todo = todo[1:]
			members, size = append(members, j), add(size, e.c.Points[j].Bytes)
			if int64(len(members)) > points || size > bytes {
				return nil, 0, false
			}
			for _, k := range dependents[j] {
				if !seen[k] && !gone[k] {
					seen[k] = true
					todo = append(todo, k)
				}
			}
		}
		return members, size, true
	}
	// One pass is enough: what did not fit does not fit either once some of what requires it is gone, since that used up as
	// much room.
	for i := range e.keeps {
		if gone[i] || len(e.keeps[i]) > 0 {
			continue
		}
		members, size, fits := unit(i)
		if !fits {
			continue
		}
		points, bytes = points-int64(len(members)), bytes-size
		for _, j := range members {
			gone[j] = true
		}
	}
	held := 0
	for i := range e.keeps {
		if gone[i] || len(e.keeps[i]) > 0 {
			continue
		}
		held++
		e.keeps[i] = append(e.keeps[i], Reason{Code: CodeBudget, Rule: "budget", Text: "the budget has no room: it goes later"})
	}
	if held > 0 {
		e.notes = append(e.notes, Note{Code: CodeBudget, Rule: "budget", Points: held, Text: "the budget holds back points that could go"})
	}
}

// add adds what is not negative, and stays at the greatest number instead of overflowing.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
