// Package residency decides where data may rest: by dated rules, with their sources, and the facts of a target.
//
// It decides and does no input or output: [Ruleset.Decide] is a pure function of the rules and a [Request], so the
// same question gets the same answer on another machine and years later. Package router carries decisions out.
package residency
