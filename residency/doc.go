// Package residency decides where data may rest: by dated rules, with their sources, and the facts of a target.
//
// It decides and does no input or output: [Ruleset.Decide] is a pure function of the rules and a [Request], so the
// same question gets the same answer on another machine and years later. Package router carries decisions out.
// Everything here is safe for concurrent use, as long as nobody changes an argument meanwhile.
//
// # A decision
//
// A [Request] says what the data is (its [Class], where the bodies are that answer for it, and [Tag]s for what binds
// beyond their place), what the target is wanted for ([Purpose]), and five facts about the target that are often
// mixed up: where bytes rest in all replicas, how well that is known, who can be compelled or can reach in, who
// holds the keys, and what papers are in place. The [Decision] says Allowed, Denied or Unknown, with the reasons, what
// must be done for it to be lawful, what is missing to know, and when to ask again.
//
// Give each part its own subject: a backup that mixes accounts with charts is judged as charts. Encrypted data has the
// class of its plaintext, since ciphertext that somebody can be made to open is still a transfer; who holds the keys
// is a fact of the target.
//
// # Rules
//
// [Rules] are those that ship, one file for each regime in the folder rules. A regime binds data by its origins, or
// by a tag: Australia's My Health Record, the NHS, German statutory care. All regimes that bind must pass, so a group of
// clinics in Florida and Texas may use what both states allow. In a regime of default "deny" each place needs a permit;
// in one of default "allow" only demands and forbids speak. A rule has a strength: law, policy, contract or guidance.
// Guidance can be switched off by name ([Ruleset.WithoutGuidance]), and law cannot.
//
// A vendor adds files of the same form ([Ruleset.With]): a regime of its own, or one that extends a regime which
// ships. This permits Kenya when there is an adequacy decision, and ends another by a judgment:
//
//	{"extends": "eu-gdpr", "rules": [
//	  {"id": "eu-gdpr.adequacy.ke", "kind": "permit", "strength": "law", "title": "Adequacy decision for Kenya",
//	   "places": ["KE"], "values": [{"from": "2027-02-01", "known": "2027-02-01", "ref": "(EU) 2027/123"}],
//	   "confirmed": true, "checked": "2027-02-02", "reviewBy": "2028-02-02", "sources": ["Official Journal"]},
//	  {"id": "eu-gdpr.adequacy.us-dpf", "amends": true,
//	   "values": [{"from": "2023-07-10", "until": "2027-03-01", "known": "2027-03-01", "ref": "C-703/25 P"}],
//	   "checked": "2027-03-02", "reviewBy": "2028-03-02", "sources": ["judgment of 1 March 2027"]}]}
//
// The fields of a rule:
//
//	kind          permit, demand, forbid, or oblige, which only adds obligations
//	places        codes of ISO 3166 and sets such as "@EEA"; exceptPlaces takes some out; neither: everywhere
//	where         "rest" or "access", for one of the two ways in which a place can matter
//	when          minClass, purposes, tags, exceptTags, origins, hosted (somebody else runs the target)
//	needs, anyOf  conditions that must all hold, and lists of which one must hold in full:
//	              "paper:KIND", "paper:KIND/SCOPE", "custody:customer", "custody-in:PLACES", "operator-in:PLACES",
//	              "exposure-in:PLACES" (operator, parent and support all there), "exposure-not-in:PLACES" (none there),
//	              "level:observed", "permitted-by:RULE" (a permit of that id, or below it, permits the place)
//	obliges       what to do, as a code and a text
//	values        when it holds, see below; ends says how the last one ends: sunset, judicial, repeal, superseded
//	grandfather   papers from before a day, of a kind or a kind and scope, keep an ended value in force until another
//	confirmed     whether somebody read the text; if not, a note says what is missing
//	checked, reviewBy, sources, note
//
// Beside its rules a file declares the regime: title, zone, binds, default, inForce, access (whether places from which
// staff reach the target are judged too), and the meaning of each kind of papers and each tag. On the days before inForce
// the regime neither binds nor covers its origins; with maybeEarlier it may have bound already, and those days are
// Unknown. Sets of places have dated members. Decoding is strict, and a [*RuleError] says the line. A rule that is not confirmed has no effect, is
// named in Decision.Unconfirmed where it would have been asked, and can be enabled by name ([Ruleset.Enable]) by
// somebody who answers for it.
//
// # Dates
//
// Two times are kept apart. A value holds from a day, until another, which is the first on which it no longer holds:
// Request.AsOf selects the law of a date, by default that of Now in the regime's own zone. And it became known on a day,
// by an act or a judgment: Request.Known selects what was known then, so "were we right to do this in July 2020" has an
// answer. Values are added and never edited; one with the same first day that became known later revises the earlier.
//
// An act that "expires on 27 December 2031" has the until of the 28th; a judgment kills on its own day. On the day
// that can be read either way a warning quotes the source.
//
// A rule is believed until its review is due, by Request.Now, whatever date is asked about. Then its answer is Unknown,
// until a newer release or a file of one's own says that somebody looked. What a court or a repeal ended needs no review.
// In a regime of default "allow" that binds, one such rule makes the whole regime Unknown, also where it does not speak
// about the target: that nothing denies is known only while somebody looks.
//
// The rules that ship are to be reviewed twice a year, and package router warns 180, 90 and 30 days before. Nobody has to
// wait for a release: whoever has read the sources of some rules again, and found their text unchanged, says so in a
// file with nothing else in it, for at most a year at a time:
//
//	{"reviews": [{"by": "Example Clinical Software", "rules": ["eu-gdpr.union", "us-cloud-act.advice"],
//	  "checked": "2027-05-20", "reviewBy": "2027-11-20", "sources": ["EUR-Lex, read 2027-05-20"]}]}
//
// Rule.ReviewedBy and Reason.ReviewedBy name who answers for it, and the digest of the ruleset is another. A review is
// used only if it is later than the last look at a rule, so an old file does not outlast what a newer release found out.
// It confirms nothing and changes no text: what did change is an amendment.
//
// Decision.Expires is the first instant at which anything that the answer rests on changes: a value, a member of a set, a
// paper, a review, the look at the location, an override. It may come too early, and never too late, so a target that
// is asked again when its decision expires is never judged by old law. A rule that is known to begin ends an allowance
// as well. [Ruleset.EndRule] answers what would be if a decision fell tomorrow.
//
// # Unknown
//
// What is not known is not allowed. A fact has three values, and so has everything made of facts: AND is the lesser and
// OR the greater of Denied < Unknown < Allowed. A paper that nobody mentions is Unknown, and Decision.Missing names it;
// one that was looked for and is not there (Paper.Refuted) is Denied. Unknown are also: a region that the table
// does not have or that promises no place, data at a provider whose interface was not asked where it is, or not within
// [MaxObservationAge] (policies "evidence.level" and "evidence.age"), and an origin for which there are no rules, for no
// rule is not the same as no objection, and guidance alone is no rule for an origin. Where only a country is told and
// rules differ inside it, passing all of them is passing, and failing one is Unknown. Data of a group of places, such
// as a provider's "EU", may be in any of them, so all are judged. Data without personal data (class Operational) may be anywhere.
//
// A target without a provider: for a disk of one's own the declared places suffice. Where somebody else runs it (an
// operator, a parent, keys elsewhere) and no interface shows where it is, whoever runs it says so on paper: one of kind
// [PaperLocation] whose scope has the places. Without it the location is Unknown.
//
// # Override
//
// To lose the only copy is a harm too. An [Override] is an exception that a named person makes, for at most [MaxOverride]
// at a time, for data that is there to stay, or also for new data. Request.Existing tells the two acts apart: a router
// asks once with it for what a site holds, and once without it before it writes. The decision shows the verdict of the
// rules beside that of the override, and ends with it. An override that has no effect is named in a warning.
//
// # What it does not say
//
// Allowed means that no rule in this ruleset denies. It is not legal advice, and never the word compliant. The rules
// know what their sources say, as read on the day in "checked"; law that no file has is not asked: of the member
// states of the Union only Germany and France have files that are confirmed, the Netherlands and Denmark have some that
// are not, of the regimes for secondary use none. A tag that should be
// set and is not leaves its regime unasked. Derogations for single cases (Article 49 of the GDPR, consent of one
// patient) are no basis for a backup, so no rule of the Union has them. Whether a paper is what it says, whoever gives it
// has to know.
package residency
