// Package collectmodel specifies how space is given back while others back up, and checks it: its tests visit every
// state that a small world of writers, collectors, sweepers and an administrator can reach, in every interleaving of
// their steps. Nothing here is compiled into a program, and it imports nothing of ours.
//
// # Objects
//
// All objects are written once. A pack holds chunks and belongs to a session, without which it cannot be read. An index
// segment places chunks in packs. A list of references names the packs that a snapshot needs; it may be a difference to
// another list, its base. The log is a row of entries; entry n is put only if there is none, and only entries change
// what the others mean. What the entries up to some length add up to is the state: the snapshots that are not
// forgotten, with the list of each; and the index segments.
//
// A snapshot can be read if its list and all bases of that list are there, and each of its chunks has a place, in a
// segment of the state that is there, in a pack that is there and whose session is there.
//
// The whole protocol serves one invariant: no state names an object that any entry up to it condemns. What a state
// names is its segments, the packs that these place chunks in, the lists of its snapshots with their bases, the packs
// in these, and the sessions of all those packs. Only condemned objects are ever deleted, so a snapshot can be read
// however much of that is done.
//
// # Rules for all
//
//  1. An entry is committed at n only by who has read all entries before n. (In the real log its chain proves it.)
//  2. Every upload has a fresh name: also that of a list, of a segment, and of what is uploaded a second time.
//  3. Whoever lost the race for a slot reads the new entries before trying the next. If they condemn anything that the
//     entry counts on, the entry is not committed as it is. This holds for every kind of entry that names objects:
//     snapshot, partial, checkpoint and condemn itself.
//  4. What an entry counts on is: the packs of its list, the bases of its list, the list itself; the segments that it
//     names and every pack that these place chunks in, needed or not; and the sessions of all those packs. What was
//     found in the state is checked from the length at which that state was read; what one has uploaded, from a length
//     read before the upload. So a journal keeps the length up to which its uploads have been checked, and a run that
//     resumes checks from there, not from where it opens the log.
//
// # Writer
//
// A writer reads the log, and for each chunk decides: take a place in the index, or an earlier upload of its own, or
// upload. It uploads session, pack, segment, list, in this order, and commits. It may commit a partial entry in between,
// which names a segment for what it has stored so far; the snapshot entry then names that segment again or relies on
// it. When the check of rule 3 fails it plans again with fresh names, keeping those of its uploads that are not
// condemned, or gives up and has committed nothing. It may crash anywhere, and start again with its journal or without.
//
// # Collector
//
// A collector may list the store, whenever it likes: the list may be old or short. It reads the log and marks. Live is:
// the lists of the snapshots that are not forgotten, with their bases; the packs in them; the sessions of those packs;
// the segments of the state. All other names that it knows, from the log or a listing, are dead.
//
//  5. It publishes an entry that condemns some of what is dead, from a mark that took in all entries before. After a
//     lost race it marks again; it may keep what it has uploaded only if rule 3 allows.
//  6. To condemn a session is to condemn every pack of it that the index places chunks in. A session is dead when no
//     live list names a pack of it, whoever opened it.
//  7. The same entry replaces each segment that places chunks in condemned packs by one that has the rest of its places.
//     A replaced segment is condemned at once. (To wait for a later mark would be as safe, by rule 4.)
//  8. Repacking: the chunks of a pack that live snapshots need are copied into a new pack of a new session. One entry
//     gives every live snapshot that names the old pack a new list, replaces the segments, and condemns the old pack,
//     and those of the old lists that no other list is a difference to.
//
// # Sweepers
//
// A sweeper deletes what a committed entry condemns, any time, in any order. There may be any number; they may stop and
// begin again. They know the log only, so the model has them as one rule: any condemned object may vanish in any step.
//
// Some worlds do without these steps, to be larger: there, what is condemned stays, and a state is judged as if it were
// gone. This hides nothing. To delete never lets anybody do what could not be done before: only a repacker reads an
// object, and is only stopped if it is gone; what a listing no longer shows is in the log already.
//
// # Merger
//
// A checkpoint replaces segments by one that has all of their places: of a chunk that is in two packs, both. It counts
// only if all the segments that it replaces are in the state before it.
//
// # What the tests show
//
// TestNothingIsLost visits all states of eight worlds, 3.3 million (with CAREKEEP_LONG=1 fourteen worlds, 21 million),
// and finds the invariant kept and every snapshot readable in each. The largest of the eight has two collectors, a
// writer that crashes and sweepers, 1,135,291 states. States are kept whole and compared whole, so none is missed
// through a hash. Every kind of step occurs. TestEveryRuleIsNeeded leaves out one rule at a time, 21 in all, and finds
// the shortest way to lose data; the same world with the rule has none. Read the traces with
//
//	go test -v -run TestEveryRuleIsNeeded ./internal/collectmodel
//
// # What it does not show
//
//   - The worlds are small: two chunks, two snapshots to begin with, at most two writers and two collectors, each with
//     one or two attempts; one merge; no world has all kinds of process at once. A fault that needs more is not found.
//   - A writer reads the log when it opens it, when it resumes and when it lost a race, not in between; a collector that
//     repacks one pack does nothing else in the same entry; a new list of a repacker has no base. A writer uploads one
//     pack in an attempt. Most collectors condemn all that they know to be dead, some any one object, few any part.
//   - A put that was acknowledged late or never counts as done at once: who meets its own entry in the log after an
//     error knows it for its own. A listing shows all that is there or is not made at all; shorter ones are as if part of
//     what is dead had not been picked.
//   - The store keeps its word: put-if-absent, and what was put can be read. Torn, altered or rolled back objects,
//     entries that are not valid or are undone because a later writer saw others, and entries by hostile signers are not
//     in the model. A sweeper must act only on entries that it has verified itself.
//   - Readers are not in the model. A restore that began before an entry may look for what it condemned: that is what the
//     grace before sweeping, and a typed error, are for. Nor are retention locks, several sites, and time.
//   - It shows that nothing is lost, not that writers and collectors get on: a writer can be made to upload again for
//     ever.
//
// # Where to read
//
// world_test.go has names, entries and what they mean; writer_test.go and collector_test.go the processes;
// process_test.go the rules that can be left out and how a world is set up; explore_test.go the search; model_test.go
// the worlds.
package collectmodel
