//go:build linux

package localfs

import "github.com/carekeep/carekeep/internal/source"

// Older makes an open folder behave as on a kernel without statx and getxattrat.
func Older(f source.Folder) {
	t := f.(*folder).t
	t.noStatx.Store(true)
	t.noXattrAt.Store(true)
}

// Blind makes the open folder answer as one that ignores case: a name exists, and its listing has another.
func Blind(t *Target) {
	l := t.stack[len(t.stack)-1]
	l.listing, l.lists = new(list), maxLists
}
