package localfs

import (
	"bytes"
	"io"
	"os/user"
	"runtime"
	"strconv"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
)

func ioProblem(op, path string, err error) error {
	if err == io.EOF {
		return err
	}
	return problem(op, path, err)
}

// apply makes the attributes of what n stands for those of e; now is how they are. Owner before attributes
// and mode, because a change of owner takes capabilities, setuid and setgid away; attributes before the mode,
// because an ACL sets mode bits; times last. In the end it looks at what the file system made of it: many
// take what they cannot keep without a word. bare says that n was just made and inherited no ACL.
func (t *Target) apply(n node, path string, e, now *format.Entry, x *extra, bare bool) {
	before := *now
	owned := t.applyOwner(n, path, e, now, x)
	changed := !t.opts.NoXattrs && t.applyXattrs(n, path, e, bare)
	want := keptMode(e)
	if !owned && e.Mode&0o6000 != 0 {
		want &^= 0o6000
		t.lose(path, "mode", "", ErrPrivilege)
	}
	if e.Kind == format.Symlink {
		want = now.Mode // links have none of their own
	}
	moded := true
	if e.Kind != format.Symlink && (now.Mode != want || changed) {
		if err := n.chmod(want); err != nil {
			t.lose(path, "mode", "", err)
			moded = false
		}
	}
	if err := n.setAttributes(e); err != nil {
		t.lose(path, "attributes", "", err)
	}
	timed := t.applyTimes(n, path, e, now)
	if !changed && before.Mode == want && now.Mode == want && before.ModTime == keptTime(e.ModTime) {
		return // nothing to look at
	}
	var got format.Entry
	if _, err := n.stat(&t.tree, &got); err != nil {
		t.lose(path, "mode", "", err)
		return
	}
	if moded && e.Kind != format.Symlink && got.Mode != want {
		t.lose(path, "mode", "", ErrNotKept)
	}
	if timed && got.ModTime != keptTime(e.ModTime) {
		t.lose(path, "times", "", ErrNotKept)
	}
}

// applyTimes tells whether the modification time should now be that of the snapshot.
func (t *Target) applyTimes(n node, path string, e, now *format.Entry) bool {
	if e.ModTime == (format.Time{}) {
		return false
	}
	if now.ModTime == keptTime(e.ModTime) && sameBirth(e, now) {
		return true
	}
	if err := n.setTimes(e.ModTime, e.BirthTime); err != nil {
		t.lose(path, "times", "", err)
		return false
	}
	return true
}

// applyOwner tells whether the owner and group are now those of the snapshot.
func (t *Target) applyOwner(n node, path string, e, now *format.Entry, x *extra) bool {
	if e.Owner == nil {
		return false
	}
	want := *e.Owner
	switch t.opts.Owners {
	case SkipOwners:
		return hasOwners && x.uid == want.UID && x.gid == want.GID
	case NamedOwners:
		t.byName(&want)
	}
	if hasOwners && x.uid == want.UID && x.gid == want.GID {
		return true
	}
	err := n.chown(int(want.UID), int(want.GID))
	if err == nil {
		now.Mode &^= 0o6000 // the system takes them away
		return true
	}
	if x.gid != want.GID && n.chown(-1, int(want.GID)) == nil { // one's own groups are allowed
		now.Mode &^= 0o6000
	}
	t.lose(path, "owner", "", err)
	return false
}

// nameCache remembers the numbers of names here.
type nameCache struct {
	users, groups map[string]int64 // -1: no such name
}

func (t *Target) byName(w *format.Owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names.users == nil {
		t.names = nameCache{map[string]int64{}, map[string]int64{}}
	}
	w.UID = resolve(t.names.users, w.User, w.UID, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	w.GID = resolve(t.names.groups, w.Group, w.GID, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func resolve(cache map[string]int64, name string, number uint32, lookup func(string) (string, error)) uint32 {
	if name == "" {
		return number
	}
	id, ok := cache[name]
	if !ok {
		id = -1
		if s, err := lookup(name); err == nil {
			if v, err := strconv.ParseUint(s, 10, 32); err == nil {
				id = int64(v)
			}
		}
		cache[name] = id
	}
	if id < 0 {
		return number
	}
	return uint32(id)
}

// applyXattrs makes the extended attributes those of e. Labels that the system itself gives, or, where e does not
// have them, a security module of this machine, are left. It tells whether it changed any, and so perhaps the mode.
func (t *Target) applyXattrs(n node, path string, e *format.Entry, bare bool) (changed bool) {
	var have []format.Xattr
	if !bare {
		have, _ = n.xattrs(&t.tree) // what cannot be read is written again
	}
	for _, h := range have {
		if find(e.Xattrs, h.Name) == nil && removable(h.Name) {
			changed = true
			if err := n.removeXattr(h.Name); err != nil {
				t.lose(path, "xattr", h.Name, err)
			}
		}
	}
	for i := range e.Xattrs {
		w := &e.Xattrs[i]
		if systemLabel(w.Name) {
			continue
		}
		if h := find(have, w.Name); h != nil && bytes.Equal(h.Value, w.Value) {
			continue
		}
		if w.Name == "" || strings.IndexByte(w.Name, 0) >= 0 {
			t.lose(path, "xattr", w.Name, ErrName)
			continue
		}
		changed = true
		if err := n.setXattr(w.Name, w.Value); err != nil {
			t.lose(path, "xattr", w.Name, err)
		}
	}
	return changed
}

func find(xs []format.Xattr, name string) *format.Xattr {
	for i := range xs {
		if xs[i].Name == name {
			return &xs[i]
		}
	}
	return nil
}

func removable(name string) bool {
	return name == "security.capability" || !strings.HasPrefix(name, "security.") && !systemLabel(name)
}

// systemLabel tells of a label that macOS puts on files by itself, about applications of that one machine, and
// lets no program set or remove. It is kept in snapshots, and that it is not restored is no loss.
func systemLabel(name string) bool {
	switch name {
	case "com.apple.provenance", "com.apple.macl", "com.apple.rootless":
		return true
	}
	return false
}

// systemPath refuses what this system would read as more than names with slashes between them.
func systemPath(path string) bool {
	if runtime.GOOS != "windows" {
		return true
	}
	for elem := range strings.SplitSeq(path, "/") {
		if !windowsName(elem) {
			return false
		}
	}
	return true
}

// windowsName tells whether Windows takes name as one plain name: no separator, drive, stream or wildcard,
// no name of a device, and no dot or space at its end, which Windows drops, so that two names would meet.
func windowsName(name string) bool {
	if name == "." {
		return true
	}
	for i := range len(name) {
		if c := name[i]; c < 0x20 || strings.IndexByte(`<>:"/\|?*`, c) >= 0 {
			return false
		}
	}
	if name == "" || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return false
	}
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return false
	}
	if port, ok := strings.CutPrefix(base, "COM"); ok {
		return !portNumber(port)
	}
	if port, ok := strings.CutPrefix(base, "LPT"); ok {
		return !portNumber(port)
	}
	return true
}

// portNumber includes the raised digits of Latin-1, which Windows takes for digits here.
func portNumber(s string) bool {
	switch s {
	case "¹", "²", "³":
		return true
	}
	return len(s) == 1 && s[0] >= '0' && s[0] <= '9'
}
