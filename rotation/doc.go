// Package rotation decides when backups run, which recovery points are kept and which media move.
//
// It decides and does not act. Every function is a pure function of its arguments: there is no clock, no
// file, no network, no goroutine and no state behind it, so the same facts give the same decision, on
// another machine and years later. All of it is safe for concurrent use, as long as nobody changes an
// argument meanwhile. (Only decoding a [Zone] looks up the location in the time zone database, as
// [time.LoadLocation] does.)
//
// # Civil time
//
// People keep a calendar, not a count of seconds: "20:00 on Friday". A [Day] is a date and a [Clock] a time
// of day, both without a zone; a [Span] is a length in years, months and days, which only a date can be
// given. A [Zone] says where they are meant, and [Zone.Instant] is the one place where they become an
// instant.
//
// Twice a year a civil time is odd. When the clocks go forward, times are missing: 02:30 on 4 October 2026
// in Sydney. When they go back, times come twice. [Gap] and [Fold] say what is meant then, and the
// [Adjustment] that comes with the instant says that it was needed. By default a missing time is the instant
// of the transition, and of two the first is meant. It is never both, and never none: there is no choice
// that skips a day's backup.
//
// A business day begins at [Zone.DayStart]. With 04:00, a run at 01:30 on Saturday stands for Friday's
// surgery, and [Zone.BusinessDay] says so. Give windows and policies the same zone.
//
// Governments change the rules of time, so a schedule of next year is a forecast. The zones of the world are
// compiled in by package time/tzdata, for machines without their own; [Zone.Rules] tells two states of
// knowledge apart.
//
// # Windows and what is due
//
// A [Window] is a time in which a backup may run: when it opens, for how long, until when a run may start,
// on which days, and the [Blackout] times in which nothing runs. An [Occurrence] is one opening, named by
// window and business day: nightly@2026-10-04. That name is what makes firing safe. [Due] is the difference
// of two sets, the occurrences that have begun and those done, so it can be asked at any time and any number
// of times:
//
//	for range time.Tick(time.Minute) {
//		due, err := rotation.Due(windows, zone, holidays, done, time.Now(), options)
//		…
//		for _, o := range due {
//			if err := run(o); err == nil {
//				done[o.ID()] = true // and keep it where a restart finds it
//			}
//		}
//	}
//
// A run that was missed is caught up, the newest only unless more are asked for, because a backup of today
// holds what those of the days before would have held. It waits for the hours of some window. It enters
// opening hours only when the newest verified point is older than [DueOptions.Breach]; throttle it then.
//
// [Holidays] are suggestions. A table of them alone never suppresses a backup, neither silently nor at all:
// by default a window runs on a holiday as on any day, and the policies that move a run keep it under its
// own name. "Weekly" is best said as the last business day of the week ([LastOfWeek]): a weekly run on
// Fridays of a practice that closes on holidays had no Friday from 18 December 2026 to 8 January 2027.
//
// [Activity.Suggest] proposes a time of low use, from counts of writes. It is a suggestion with numbers;
// nothing is moved. [ImportCron], [ImportOnCalendar] and [ImportRRule] read other notations, and refuse what
// a window cannot express.
//
// # Recovery points, policy and plan
//
// What is kept is decided by a [Policy] over a [Catalogue] of recovery points. [Evaluate] makes a [Plan],
// which says of each point whether it stays or may go, and why; [Diff] says what another policy would
// change. A plan is data: it can be printed, compared, signed, kept as evidence and made again by an auditor,
// and package backup carries it out only against the catalogue that it was made from.
//
// Retention cannot be displaced. A tier keeps by count and by age, a bucket belongs to the first verified
// point in it for good, and what a point claims of its time moves nothing. So no sequence of added, forged,
// back- or future-dated points, and no clock, makes a promised point deletable before its promise.
// [Judge] says whether a clock may be believed when something is to be destroyed. What stands after every
// verified point stays too. Package compat decides as restic, borg, kopia and Proxmox do, for those who move.
//
// # Records, erasure and conflicts
//
// How long a health record must exist is the law's to say, and differs from how long a recovery point does.
// [Obligations] reads dated rules with their sources and gives the day up to which records must be kept;
// [ErasureHorizon] gives the day from which nothing that was kept can contain an erased subject any more;
// [Conflicts] lists what speaks against an act that cannot be undone, such as a lock, before it is done. None
// of this is legal advice.
package rotation
