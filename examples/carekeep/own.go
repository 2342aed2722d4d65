package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// root is a folder or file to back up, and where it stands in the snapshot: "" is the root itself.
type root struct{ name, path string }

// pattern is the exclude pattern of what has these names below the root.
func (r root) pattern(below string) string {
	if r.name == "" {
		return "/" + below
	}
	return "/" + literal(r.name) + "/" + below
}

// literal is a pattern that matches a text and nothing else.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(text)
}

// own is a folder that every run changes: the repository, or what this host keeps of it.
type own struct{ what, path string }

// own lists those folders on this computer.
func (a *app) own() ([]own, error) {
	var all []own
	add := func(what, place string) error {
		dir, local, err := folderOf(place)
		if err == nil && local {
			all = append(all, own{what, dir})
		}
		return err
	}
	if a.routes != nil {
		for _, list := range [][]siteEntry{a.routes.Sites, a.routes.Rehearsals} {
			for _, e := range list {
				if err := add("the folder of site "+e.Name, e.Bucket); err != nil {
					return nil, err
				}
			}
		}
	} else if err := add("the repository", a.Repo); err != nil {
		return nil, err
	}
	dir := a.HostDir
	if base, err := os.UserConfigDir(); dir == "" && err == nil {
		dir = filepath.Join(base, "carekeep")
	}
	if !a.NoHost && dir != "" {
		all = append(all, own{"what this host keeps", dir})
	}
	return all, nil
}

// leaveOut returns the patterns that leave out of the roots what every run changes, or each run would store what the
// one before it stored. It tells of those that the operator has not given himself.
func (a *app) leaveOut(roots []root, given []string) ([]string, error) {
	folders, err := a.own()
	if err != nil {
		return nil, err
	}
	var patterns []string
	for _, r := range roots {
		top, err := os.Stat(r.path)
		if err != nil || !top.IsDir() {
			continue // which the backup will say, or there is nothing in it
		}
		for _, o := range folders {
			names, in := inside(top, o.path)
			if !in {
				continue
			}
			if len(names) == 0 {
				return nil, usageError{fmt.Errorf("%s: it is %s, which cannot be backed up into itself", show(r.path), o.what)}
			}
			for i := range names {
				names[i] = literal(names[i])
			}
			p := r.pattern(strings.Join(names, "/") + "/")
			if slices.Contains(patterns, p) {
				continue
			}
			patterns = append(patterns, p)
			if !slices.Contains(given, p) && !slices.Contains(given, strings.TrimSuffix(p, "/")) {
				a.tell("left-out", "left out, as it is "+o.what+", and each run would store what the one before it stored", o.path)
			}
		}
	}
	return patterns, nil
}

// inside returns the names that lead from a folder to a path in it, links resolved, as the folders themselves have them.
// Files are compared and not their names, which many file systems know in upper and lower case.
func inside(top fs.FileInfo, path string) (names []string, in bool) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, false
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, false // it is not there
	}
	for {
		fi, err := os.Stat(abs)
		if err != nil {
			return nil, false
		}
		if os.SameFile(fi, top) {
			return names, true
		}
		up := filepath.Dir(abs)
		if up == abs {
			return nil, false
		}
		names = slices.Insert(names, 0, nameIn(up, filepath.Base(abs), fi))
		abs = up
	}
}

// nameIn is the name that a folder lists a file by.
func nameIn(folder, name string, file fs.FileInfo) string {
	f, err := os.Open(folder)
	if err != nil {
		return name
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	if slices.Contains(names, name) {
		return name
	}
	for _, n := range names {
		if fi, err := os.Lstat(filepath.Join(folder, n)); err == nil && os.SameFile(fi, file) {
			return n
		}
	}
	return name
}

// checkExcludes refuses patterns that are paths of this computer in a root, and so match nothing.
func checkExcludes(roots []root, patterns []string) error {
	for _, p := range patterns {
		for _, r := range roots {
			rest, below := belowRoot(r.path, p)
			if !below {
				continue
			}
			if rest == "" {
				return usageError{fmt.Errorf("--exclude %s leaves out all that is to be backed up there", show(p))}
			}
			return usageError{fmt.Errorf("--exclude %s is a path of this computer and would match nothing: give --exclude %s", show(p), show(r.pattern(rest)))}
		}
	}
	return nil
}

// belowRoot tells what of a pattern follows the absolute path of a root, as given or with links resolved. The pattern
// may be meant nevertheless, where the root holds such a path itself.
func belowRoot(path, pattern string) (rest string, below bool) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	forms := []string{abs}
	if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
		forms = append(forms, real)
	}
	pattern = filepath.ToSlash(pattern)
	for _, form := range forms {
		if _, err := os.Lstat(filepath.Join(abs, strings.TrimPrefix(form, filepath.VolumeName(form)))); err == nil {
			continue
		}
		prefix := strings.TrimSuffix(filepath.ToSlash(form), "/") + "/"
		n := len(prefix)
		switch {
		case len(pattern) >= n && samePath(pattern[:n], prefix):
			return strings.TrimLeft(pattern[n:], "/"), true
		case samePath(pattern+"/", prefix):
			return "", true
		}
	}
	return "", false
}

func samePath(a, b string) bool {
	return a == b || runtime.GOOS == "windows" && strings.EqualFold(a, b)
}

// tell says something on the side: on standard error, or with --json as a line of type "note".
func (a *app) tell(code, text, path string) {
	if a.JSON {
		line := map[string]any{"type": "note", "code": code, "text": text}
		if path != "" {
			line["path"] = path
		}
		a.line(line)
		return
	}
	if path != "" {
		text = show(path) + ": " + text
	}
	fmt.Fprintln(a.stderr, "carekeep:", text)
}
