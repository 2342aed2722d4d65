package evidence

import (
	"fmt"
	"maps"
	"slices"
)

// checker holds blocks, in the order of an export, against each other.
type checker struct {
	chains map[string]*checked
}

// checked is what was seen of a chain.
type checked struct {
	blocks []known // ascending
	loose  bool    // the last one was no block, so that the next cannot be held against it
}

type known struct {
	seq    int64
	digest Digest
}

func newChecker() *checker { return &checker{map[string]*checked{}} }

// item checks the next object, and returns what is wrong.
func (ck *checker) item(it item) (faults []Fault) {
	at := func(problem string, args ...any) {
		faults = append(faults, Fault{it.writer, it.seq, fmt.Sprintf(problem, args...)})
	}
	if it.missing {
		return nil // the next block of the chain shows it, or the one that names it
	}
	c := ck.chains[it.writer]
	if c == nil {
		c = &checked{}
		ck.chains[it.writer] = c
	}
	var last known
	if n := len(c.blocks); n > 0 {
		last = c.blocks[n-1]
	}
	if it.seq <= last.seq {
		at("it comes twice, or after a later one")
		return faults
	}
	switch gap := it.seq - last.seq - 1; {
	case gap == 1:
		at("the block before it is missing")
	case gap > 1:
		at("the %d blocks before it are missing", gap)
	case it.block == nil || c.loose:
	case it.block.Prev != last.digest:
		at("it does not follow from the block before it: one of the two was altered or exchanged")
	}
	c.blocks = append(c.blocks, known{it.seq, it.digest})
	c.loose = it.block == nil
	if it.block == nil {
		at("%s", it.why)
		return faults
	}
	for _, h := range it.block.Seen {
		if f := ck.find(h); f != "" {
			faults = append(faults, Fault{h.Writer, h.Seq, fmt.Sprintf("writer %s saw it, but %s", it.writer, f)})
		}
	}
	return faults
}

// find says what is wrong with a block that is named elsewhere; nothing if it is there as named.
func (ck *checker) find(h Head) string {
	if c := ck.chains[h.Writer]; c != nil {
		i, ok := slices.BinarySearchFunc(c.blocks, h.Seq, func(k known, seq int64) int { return int(max(-1, min(1, k.seq-seq))) })
		if ok && c.blocks[i].digest == h.Digest {
			return ""
		}
		if ok {
			return "it is not the same any more"
		}
	}
	return "it is missing"
}

// heads returns the newest block of each chain, by writer.
func (ck *checker) heads() (heads []Head) {
	for _, w := range slices.Sorted(maps.Keys(ck.chains)) {
		c := ck.chains[w].blocks
		heads = append(heads, Head{w, c[len(c)-1].seq, c[len(c)-1].digest})
	}
	return heads
}
