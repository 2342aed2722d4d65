// Package rotation decides when backups run, which recovery points are kept and which media move.
package rotation
