// Package router makes several sites into one bucket: it puts every object where it may lawfully be, at as many places
// as it must be, and reads it from wherever it still is.
//
//	r, err := router.Open(ctx, rules, subject, []router.Site{
//		{Name: "surgery", Bucket: disk, Target: onPremises, Onsite: true},
//		{Name: "sydney", Bucket: sydney, Target: awsSydney, Operator: "aws"},
//		{Name: "melbourne", Bucket: melbourne, Target: azureMelbourne, Operator: "azure"},
//	}, &router.Options{Placement: router.Placement{MustReach: 2, Offsite: 1}})
//	…
//	repo, err := backup.Create(ctx, r.Bucket(), key, nil) // as with any other bucket
//
// A router holds the data of one [residency.Subject]. Data of another class goes to other sites, or to other prefixes
// of the same buckets; opening a site for another subject is an error.
//
// # What is promised
//
//   - A write that was reported is at [Placement.MustReach] sites, the home site among them, that were lawful when it was
//     written, and at as many operators, places and offsite as the placement says. So the loss of MustReach-1
//     sites loses nothing, whichever they are.
//   - One site, the home site, decides writes that must not replace an object. Of any number of routers one wins.
//   - Nothing is reported on top of what has not reached as many sites itself: what others have left unfinished is
//     finished first.
//   - "Not found" is said only if it is known. With the home site down, and too few others up to know, the error is
//     [ErrUnknown].
//   - Nothing is written where the rules do not allow it: no object, and no record that names a key or, but for who
//     promoted or migrates, a person. Deletions go there; with them the home site must be lawful. If what is allowed does not satisfy the placement, nothing is
//     written anywhere, and [DeniedError] has every decision. Decisions are made again when they end, also in the
//     middle of a run.
//
// The sites must do what [gocloud.dev/blob] says: a conditional write has one winner, a write whose context has
// ended takes no effect when it has returned, and a listing shows what was written before it began. Package dirblob,
// S3, Google Cloud Storage and Azure do; gocloud's fileblob does not.
//
// # When a site is down
//
// A copy that cannot be made is owed. As long as enough others are up, writes are reported, and [Router.Reconcile] pays
// what is owed when the site is back. A site that lately failed is left out for a while. With the home site down reading
// goes on, and writes fail with [ErrHomeDown] until it is back, or somebody promotes another site with
// [Router.Promote]. A site that missed a promotion is neither read nor written until Reconcile has compared it.
//
// A site that is slow, or does not answer at all, is down when [Site].Timeout has passed without progress; what goes on, however
// slowly, is not cut off. So a dead connection costs a write that time once in five minutes. Only a driver that does not return
// when its context has ended, as one on a dead network disk may, is waited for without end: what it does could otherwise take
// effect later.
//
// A site that is declared read-only gets no request that changes anything. What it misses is owed to it, as [Router.Status]
// says, until it may be written.
//
// # What is not promised
//
//   - Routers that replace or delete one key at the same moment leave it as one of them wanted at the home site;
//     others may differ until they are reconciled deeply. Package backup never does this.
//   - An object that is deleted while Reconcile makes a copy of it that was lost, by a process which is killed between the copy
//     and the look after it, can stay at that copy, and the next Reconcile then brings it back. To package backup it is what
//     was never used, and its next Compact deletes it. What a killed write has left is safe from that.
//   - A key that is written again after its deletion has the deletion's debts against it until they are paid: if the home site
//     loses it before, other copies may be deleted. Package backup uses no key twice.
//   - A deletion is reported when the home site and the others that are up have carried it out; what is owed may come back
//     if the home site is lost before that is paid. It is never the other way round.
//   - A router that is cut off from all sites but an old home site does not learn of a promotion, and reads there what was.
//     It can report no write.
//   - Copies are not read back when they are written. Reconcile with [ReconcileOptions].Deep compares them; package
//     backup detects altered bytes in any case.
//
// # Quarantine
//
// A site whose probe contradicts what was declared of it, or which somebody does not trust, is in quarantine until it
// is released: nothing is written there, its "not found" counts for nothing, and it is read only for what no other
// site gives, because wrong bytes are found out, and the only copy may be a good one.
//
// # When a place is no longer lawful, or a provider is left
//
// [Router.Reevaluate] asks the rules about everything that is anywhere, [Router.WhatIf] what would be if a rule ended.
// [Router.PlanMigration] and [Router.Migrate] bring everything that one site has to others and then delete it there, while
// all others read and write: other routers go on with the new set of sites by themselves, if they have been given
// the targets. [Router.PlanExit] says what leaving would take, and [Router.Drill] rehearses it.
//
// A store with Object Lock does not let go. What stays there is reported with its date, and a later
// [Router.ResumeMigrations] deletes it. Until then the remedy is to destroy the keys that it is sealed with. A bucket that
// keeps versions needs [MigrateOptions].Erase, or what is deleted is only hidden.
//
// # What is told
//
// [Options] takes a slog.Logger and providers of OpenTelemetry. There is a span for each operation and, within it, for each request
// to a site, and their durations by kind, site and outcome as carekeep.router.operation.duration and
// carekeep.router.request.duration; a read counts until it begins, the request of a write or of a copy until the site has it all.
// Counters by site are carekeep.router.debts.taken and .paid, .quarantines, .releases and .denials. Sites are named as they were
// configured, outcomes are a closed set of words. What a provider says is told to nobody.
//
// # Records
//
// Keys that begin with ".router/" are the router's own, hidden from listings and refused to users: a marker that says
// what the site is, one record for each epoch, intents of writes under way, debts, quarantines, migrations, and what was
// kept aside. They hold keys of objects, as the bucket itself does. Errors, logs and evidence hold none. A site that may be
// written no more, or was left, still gets the marker and the epochs, which stop those who have not heard of it.
package router
