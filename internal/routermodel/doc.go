// Package routermodel specifies how package router keeps one order of objects at several sites, and checks it: its
// tests visit every state that a small world of sites, writers and a promotion can reach, in every interleaving of
// their requests. Nothing here is compiled into a program, and it imports nothing of ours.
//
// # The protocol
//
// There are n sites. A write is reported when m of them hold it, the home site among them. Keys are written
// once; the two keys here are the slots of a log, so an entry in the second rests on the one in the first.
//
//  1. A writer puts an intent at a site before it puts the object there, at the home site and at every other.
//  2. The home site decides: only after it has taken the object, which it does only if it has none at that key, do
//     others get it, and these only if they have none either. One that has another object does not count, even if
//     that one is in doubt there: it may be the decision of a later epoch.
//  3. When the object has been put, the writer looks at each of the sites for the claim of a later epoch. Sites where
//     it finds one, or cannot look, do not count.
//  4. When m sites count, it removes the intents. So what is at a site without an intent has been at m sites.
//  5. Before it reports, it brings the objects of others whose intents were at the home site when it asked to m sites,
//     in the same way.
//  6. A promotion claims at least n-m+1 sites, the new home site among them; unites what they have, with an intent where
//     an object goes that was in doubt or that the new home site lacked; removes the intents of what is united; and then
//     makes the sites ready, the home site last. Writers of the new epoch use ready sites only.
//
// # What is checked
//
// In every state: whatever was reported is at some living site, with what it rests on; no slot is reported twice
// with different entries; and no two sites that are ready hold different entries at a slot unless one of them is in
// doubt. One site may die at any time, and another once a promotion has ended that began to unite after the first died.
//
// TestNothingIsLost visits all 1,265,616 states. TestEveryRuleIsNeeded changes one rule at a time, ten in all, and finds the
// shortest way to break a promise; read the traces with
//
//	go test -v -run TestEveryRuleIsNeeded ./internal/routermodel
//
// Two of the ten were rules of an earlier version of the router, and looked safe: that an object that is in doubt yields
// to another writer's, and that a promotion removes the intents of all keys that the new home site has.
//
// # Deletions
//
// A second, smaller model has one object that a killed writer left at the home site, a deletion of it, and two helpers of any kind:
// one that settles the write, one that takes the deletion for dead and back, one that pays debts, one that compares. All may be
// killed at any request.
//
//  1. Who copies puts an intent of its own at the home site, and then looks there for a deletion before it copies.
//  2. Who deletes puts its intent, and then looks for writes under way: if there is one it notes the deletion against every other
//     site before it begins. One of the two sees the other.
//  3. Who copies looks at the home site afterwards, and removes its copy if the object is gone.
//  4. Who takes a deletion back removes its intent before he copies. Who deletes looks for its intent when the home site has carried
//     the deletion out, and if it is gone notes the deletion and asks the others again.
//  5. Such a note stays as long as there is an intent about the key.
//
// TestNothingDeletedComesBack: what was reported to be deleted is nowhere once somebody has reconciled. Each rule that is left out
// breaks that, and so does a comparison that dies between a copy of an object which is not in doubt and the look after it: it puts no
// intent, because that would cost two writes for each of a million copies.
//
// # What it does not show
//
// Three sites, two slots, two writers with one entry each and one promotion: what needs more is not found. A request
// takes effect at once or never; that an answer is lost is the same as that the process stops after it. Sites keep what
// they have taken until they die. A listing shows what was put before it began. Replaced objects, other debts,
// reconciling and a second promotion are not in the model; the random histories of package router have them. The intents
// that a promotion puts where it copies are not needed in this world; they are for two promotions at once.
package routermodel
