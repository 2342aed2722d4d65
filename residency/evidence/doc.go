// Package evidence keeps a record of what the router decided and did, for an auditor who trusts nobody: append-only,
// hash-chained, free of patient data, and checkable offline with [Verify].
//
// A [Log] lies in a bucket, below a prefix. Every writer, which is a process, has a chain of its own: objects named
// <prefix><writer>/<number>, each written once, holding one or a few records and the digest of the object before.
// Besides, a block names the newest blocks that its writer saw in other chains. Writers never wait for each other.
//
// What is found: a block that was altered, moved, put in, or removed from the middle of a chain; and a newest block
// that was removed or rewritten after another writer saw it, or after its [Head] was noted elsewhere. What cannot be
// found from the blocks alone: that the newest blocks of a chain were removed before anybody saw them. So note
// [Log.Head] now and then where others keep it, and give it to Verify. The digests are not signatures: whoever can
// rewrite the whole bucket can make another history, which only a noted head tells from the true one.
//
// Names are patient data. There is no field for free text: each [Kind] has one type of data, whose texts are ids,
// codes, places, digests and the names of staff, each held to a narrow form. What a person wrote as a reason stays
// with the practice; the evidence has its [Cause]. The types are the protection. The forms are a net below them:
// they stop keys, paths, numbers of patients, dates of birth and sentences, but not a lone name that looks like an
// id, so fill the fields from configuration and rules, never from data.
package evidence
