package index

import "github.com/carekeep/carekeep/internal/format"

const (
	smallEntries = 4096 // a segment below this is merged at every checkpoint
	fan          = 8    // segments of one tier that are merged together, and the ratio between tiers
	maxGroup     = 128  // segments of one merge: a page of each, twice, is 16 MiB
	// maxMerged is about the most entries of one merge. Each of its outputs, being a slice of all ids, names
	// most of the packs of all inputs: with eight full outputs that is a fifth of their bytes.
	maxMerged = 8 * MergeEntries
)

// Plan says which segments, listed oldest first, to merge at a checkpoint: each group of at least two is
// for one call of [Index.Merge], in its order, and the outputs take the place of the group.
//
// Per writer, segments are tiered by size: below 4,096 entries, then each tier eight times the one before,
// up to full ones ([MergeEntries] or 32 MiB), which are left alone. What is below 4,096 is merged at every
// checkpoint; a higher tier once it has eight segments. So an entry is rewritten about once a tier, beside
// the cheap lowest one, and a checkpoint leaves at most one segment there and seven in each of three
// others.
func Plan(segments []format.Segment) [][]format.Segment {
	type class struct {
		writer format.WriterID
		tier   int
	}
	var order []class // by first appearance, so that the result depends on the input only
	tiers := make(map[class][]format.Segment)
	for _, s := range segments {
		if s.Entries >= MergeEntries || s.Size >= mergeBytes {
			continue
		}
		c := class{s.Writer, tier(s.Entries)}
		if len(tiers[c]) == 0 {
			order = append(order, c)
		}
		tiers[c] = append(tiers[c], s)
	}
	var groups [][]format.Segment
	for _, c := range order {
		list := tiers[c]
		if len(list) < 2 || c.tier > 0 && len(list) < fan {
			continue
		}
		groups = append(groups, split(list)...)
	}
	return groups
}

// split cuts a list of two or more into as few even groups as the limits of one merge allow; being even,
// none is left with one segment.
func split(list []format.Segment) (groups [][]format.Segment) {
	var entries uint64
	for _, s := range list {
		entries += s.Entries
	}
	n := max((len(list)+maxGroup-1)/maxGroup, int((entries+maxMerged-1)/maxMerged))
	for n = min(n, len(list)/2); n > 0; n-- {
		k := len(list) / n
		groups = append(groups, list[:k:k])
		list = list[k:]
	}
	return groups
}

// tier is 0 below smallEntries and one more for each factor of fan from there on.
func tier(entries uint64) int {
	t := 0
	for n := uint64(smallEntries); entries >= n; n *= fan {
		t++
		if n > MergeEntries {
			break
		}
	}
	return t
}
