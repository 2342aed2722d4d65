// Package register makes the location register that a person can read: for each site where the data is, in which
// country, who can reach it, who holds the keys, since when it is held, until when the answer stands, and what must
// be done. [WriteHTML] makes one self-contained page that prints on A4, [WriteText] the same for a terminal, and
// [WriteJSON] the values.
//
// It is pure. A [Register] is built from values, and nothing here reads a clock, a disk or a network. It says at most
// that no rule in the ruleset denies a site; whether the practice acts lawfully is for people to say.
//
// The page is for the practice's own people. Reasons that persons gave are shown as they were given, which is why
// the register is made for them and not kept as evidence.
package register
