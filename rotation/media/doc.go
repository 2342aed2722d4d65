// Package media decides which backup medium is written, by whom it is carried and when it may be written
// again: USB drives that go home, tapes, and whatever else physically moves.
//
// It is pure. Nothing here reads a clock, a disk or a network: days, media and facts come in as values, and
// sentences, verdicts, timelines and pages go out. Every type is a plain value and safe to share between
// goroutines as long as nobody writes to it.
//
//   - A [Set] says which slot a session writes: [GFS], [Hanoi], [RoundRobin], [SixTapeFridayAB],
//     [SixTapeMondayFull], [Spread]. [Set.Figures] gives its mathematics.
//   - A [Medium] has an identity and a signed [Label]; [Identify] tells a clone or a swap.
//   - [Apply] is the custody state machine, [Log] its hash-chained record.
//   - [Allocate] picks the medium for a slot, [Inserted] says what to do with the one just plugged in, in a
//     sentence for the person at the desk.
//   - [Simulate] plays a [Scenario]; [Check] and [Inject] hold it against properties and faults; [Approve]
//     refuses a bad policy with the reason; [Recoverable] says what an incident leaves.
//   - [Text], [SVG], [HTML] and [ICS] show a [Timeline] to people.
//
// Loss is counted in surgery hours, hours in which patients are seen: over a weekend the hours since the
// last backup grow while nothing is lost.
package media
