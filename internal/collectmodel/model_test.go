package collectmodel

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What runs in the worlds below.
var (
	writerA       = writerConfig{need: chunkA, attempts: 2}
	writerB       = writerConfig{need: chunkB, attempts: 2}
	writerOnce    = writerConfig{need: chunkA, attempts: 1}
	writerBase    = writerConfig{need: chunkA, attempts: 2, base: true}
	writerBoth    = writerConfig{need: both, attempts: 2, base: true}
	writerCrash   = writerConfig{need: chunkB, attempts: 2, crashes: 1}
	writerPartial = writerConfig{need: chunkB, attempts: 2, partial: true}
	writerAll     = writerConfig{need: chunkB, attempts: 2, partial: true, crashes: 1}

	dropper  = collectorConfig{marks: 2, cycles: 1, list: true, drop: true}
	quiet    = collectorConfig{marks: 2, cycles: 1, drop: true} // knows only what is in the log
	pickOne  = collectorConfig{marks: 2, cycles: 1, list: true, drop: true, one: true}
	pickAny  = collectorConfig{marks: 2, cycles: 1, list: true, drop: true, any: true}
	twice    = collectorConfig{marks: 2, cycles: 2, list: true, drop: true}
	repacker = collectorConfig{marks: 2, cycles: 1, repack: true, keep: true}
	doesBoth = collectorConfig{marks: 2, cycles: 1, list: true, drop: true, repack: true, keep: true}

	first, all = []uint8{0}, []uint8{0, 1}
)

func writers(w ...writerConfig) []writerConfig          { return w }
func collectors(c ...collectorConfig) []collectorConfig { return c }

// soundWorlds have all the rules. The number of states is part of what is tested: it changes only if the model does.
var soundWorlds = []struct {
	name   string
	long   bool
	states int
	config
}{
	{"two collectors, a writer that crashes, sweepers", false, 1135291,
		config{writers: writers(writerCrash), collectors: collectors(dropper, dropper), forget: first}},
	{"a collector that may pick one object, a writer, sweepers", false, 176298,
		config{writers: writers(writerBoth), collectors: collectors(pickOne), forget: all}},
	{"two collectors that may pick one object, a writer", false, 465692,
		config{writers: writers(writerA), collectors: collectors(pickOne, pickOne), forget: all, unswept: true}},
	{"a repacker, a collector, a writer, sweepers", false, 332143,
		config{writers: writers(writerB), collectors: collectors(repacker, pickOne), forget: first, partly: true}},
	{"two collectors that repack, a writer", false, 94736,
		config{writers: writers(writerB), collectors: collectors(doesBoth, doesBoth), forget: first, partly: true,
			unswept: true}},
	{"partial entries, a crash, another writer, a collector", false, 335405,
		config{writers: writers(writerAll, writerOnce), collectors: collectors(dropper), without: true, unswept: true}},
	{"a merger, a writer with partial entries, a collector", false, 368913,
		config{writers: writers(writerPartial), collectors: collectors(dropper), merge: true, second: true, forget: all,
			unswept: true}},
	{"two writers with bases, a collector", false, 369866,
		config{writers: writers(writerBase, writerBase), collectors: collectors(dropper), forget: first, unswept: true}},

	{"two collectors, a writer, sweepers, all forgotten", true, 3735883,
		config{writers: writers(writerA), collectors: collectors(dropper, dropper), forget: all}},
	{"two collectors, one of them twice, a writer, sweepers", true, 1669876,
		config{writers: writers(writerA), collectors: collectors(dropper, twice), forget: first}},
	{"two collectors, two writers, sweepers", true, 5058759,
		config{writers: writers(writerOnce, writerOnce), collectors: collectors(dropper, dropper), forget: first}},
	{"two collectors, two writers", true, 5724322,
		config{writers: writers(writerA, writerA), collectors: collectors(dropper, dropper), forget: first, unswept: true}},
	{"two collectors, one of which picks any part, a writer", true, 812012,
		config{writers: writers(writerA), collectors: collectors(pickAny, dropper), forget: all, unswept: true}},
	{"a collector that picks any part, a writer that crashes", true, 746855,
		config{writers: writers(writerCrash), collectors: collectors(pickAny), forget: all, unswept: true}},
}

// everything is all that processes do. A rule that never fires would make a model look sound.
var everything = []string{
	"commits a partial entry with",
	"commits a snapshot, which needs",
	"copies what is live into",
	"crashes and keeps its journal",
	"crashes and loses its journal",
	"deletes",
	"fails, for the log condemns",
	"forgets a snapshot, which needs",
	"lists the store and sees",
	"publishes a checkpoint with",
	"publishes an entry that condemns",
	"reads the log up to its head and goes on",
	"reads the log up to its head and merges",
	"reads the log up to its head and plans to refer to",
	"reads the log up to its head, marks again and finds its plan unchanged",
	"reads the log up to its head, marks and plans to condemn",
	"reads the log up to its head, marks and plans to repack",
	"uploads",
	"uploads, and means to commit a partial entry,",
	"will name its partial segment again:",
	"will rely on its partial entry",
}

// TestNothingIsLost visits every state of worlds that keep all the rules.
func TestNothingIsLost(t *testing.T) {
	acts := map[string]bool{}
	for _, world := range soundWorlds {
		if world.long && os.Getenv("CAREKEEP_LONG") == "" {
			continue
		}
		t.Run(world.name, func(t *testing.T) {
			x, start := newSearch(world.config), time.Now()
			bad := x.run(promise)
			if bad >= 0 {
				t.Fatalf("after %d states:\n%s", x.count, x.trace(bad))
			}
			t.Logf("%d states, %d logs, %v", x.count, len(x.model.views), time.Since(start).Round(time.Millisecond))
			require.Equal(t, world.states, x.count, "states")
			for what := range x.acts {
				acts[what] = true
			}
		})
	}
	require.Equal(t, everything, slices.Sorted(maps.Keys(acts)))
}

// weakWorlds lack one rule each, and lose data.
var weakWorlds = []struct {
	name  string
	until verdict
	config
}{
	{"no log", dataLoss, config{weak: noOrder, writers: writers(writerA), collectors: collectors(quiet), forget: all}},
	{"no check at commit", dataLoss,
		config{weak: noCheck, writers: writers(writerA), collectors: collectors(quiet), forget: all}},
	{"packs under their old names", dataLoss,
		config{weak: samePackName, writers: writers(writerB), collectors: collectors(pickOne), without: true}},
	{"references under their old names", dataLoss,
		config{weak: sameRefsName, writers: writers(writerA), collectors: collectors(pickOne)}},
	{"stale mark", dataLoss, config{weak: staleMark, writers: writers(writerA), collectors: collectors(quiet), forget: all}},
	{"stale repack", dataLoss,
		config{weak: staleRepack, writers: writers(writerB), collectors: collectors(repacker), partly: true, forget: first}},
	{"merge keeps one place", dataLoss,
		config{weak: mergeOnePlace, second: true, merge: true, collectors: collectors(dropper), forget: all}},
	{"merge of what was replaced", dataLoss, config{weak: mergeOfReplaced, second: true, merge: true,
		writers: writers(writerA), collectors: collectors(dropper), forget: all, unswept: true}},
	{"shred by opener", dataLoss, config{weak: shredByOpener, collectors: collectors(dropper), forget: first}},
	{"shred keeps places", dataLoss,
		config{weak: shredKeepsPlaces, writers: writers(writerA), collectors: collectors(pickOne), forget: all}},
	{"sweep before the commit", dataLoss,
		config{weak: sweepEarly, writers: writers(writerA), collectors: collectors(quiet), forget: all}},
	{"journal unchecked", dataLoss,
		config{weak: journalUnchecked, writers: writers(writerCrash), collectors: collectors(dropper), without: true}},
	{"journal checked from now on", dataLoss,
		config{weak: journalFromNow, writers: writers(writerCrash), collectors: collectors(dropper), without: true}},
	{"partial entry unchecked", dataLoss,
		config{weak: partialUnchecked, writers: writers(writerPartial), collectors: collectors(dropper), without: true}},
	{"segments unchecked", dataLoss,
		config{weak: segmentUnchecked, writers: writers(writerB), collectors: collectors(pickOne), without: true}},
	{"bases unchecked", dataLoss,
		config{weak: baseUnchecked, writers: writers(writerBase), collectors: collectors(pickOne), forget: all}},
	{"sessions unchecked", dataLoss,
		config{weak: sessionUnchecked, writers: writers(writerB), collectors: collectors(pickOne), without: true}},
	{"bases not live", dataLoss, config{weak: baseNotLive, collectors: collectors(dropper), forget: first}},
	{"collector's uploads unchecked", dataLoss,
		config{weak: collectorUnchecked, collectors: collectors(repacker, dropper), partly: true, forget: first}},
	{"merge unchecked", dataLoss,
		config{weak: mergeUnchecked, second: true, merge: true, collectors: collectors(dropper), forget: first}},
	// One more snapshot and two more entries would lose data. The search stops where the promise is broken.
	{"located packs unchecked", promise,
		config{weak: locatedUnchecked, writers: writers(writerCrash), collectors: collectors(dropper)}},
}

// TestEveryRuleIsNeeded leaves out one rule at a time, and wants a way to lose data. With -v it prints the shortest.
func TestEveryRuleIsNeeded(t *testing.T) {
	weak := map[weakness]bool{}
	for _, world := range weakWorlds {
		weak[world.weak] = true
		t.Run(world.name, func(t *testing.T) {
			x := newSearch(world.config)
			bad := x.run(world.until)
			require.GreaterOrEqual(t, bad, int32(0), "no loss in any of %d states", x.count)
			trace := x.trace(bad)
			require.Contains(t, trace, "=>")
			t.Logf("%d states, %d steps:\n%s", x.count, strings.Count(trace, "\n")-1, trace)

			world.config.weak = sound
			x = newSearch(world.config)
			bad = x.run(world.until)
			require.Less(t, bad, int32(0), "the same world with all the rules must not lose data")
		})
	}
	require.Len(t, weak, int(weaknesses)-1, "weaknesses that are shown")
}
