// Package faulttest holds tests only. They prove what the engine promises when its store, its host folder,
// its clock or its own process fails, on a store that fails as it is told to and by real kills:
//
//   - A snapshot whose Backup returned nil can be restored byte for byte afterwards, by a process that has
//     nothing but the store and a key. No repair is needed, and the next run succeeds.
//   - A snapshot whose Backup returned an error is either whole or not there. No run commits twice.
//   - What arrived before an interruption is not uploaded again by a host that kept its folder.
//   - Damage in the store gives an error, never other bytes, and a check finds it.
//
// Every test logs how many cases it went through and how many of them lost something. With CAREKEEP_LONG=1
// the tests that are samples otherwise are exhaustive: every byte of a repository, a thousand kills.
package faulttest
