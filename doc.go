// Package carekeep is documentation only: Carekeep is a Go library that clinical software vendors embed as
// their inbuilt backup.
//
//   - [github.com/carekeep/carekeep/backup] keeps: encrypted, deduplicated snapshots in any bucket, and back.
//   - [github.com/carekeep/carekeep/backup/dirblob] is the durable driver for local folders, NAS and USB drives.
//
// Packages residency, rotation, verify and continuity follow. Programs that use the library are in
// examples: quickstart, clinic, and carekeep, the command for operators and rescuers.
//
// Why things are as they are is written down in internal/docs/design.md, and how a repository is stored in
// backup/FORMAT.md.
package carekeep
