//go:build unix && !linux && !darwin

package dirblob

import "syscall"

// renameNew is missing on these systems; the driver then uses link.
func (osFS) renameNew(_, to string) error { return pathError(to, syscall.ENOTSUP) }
