package router

import (
	"context"
	"encoding/hex"
	"strings"
)

// asideRecord says what was kept aside.
type asideRecord struct {
	V    int    `json:"v"`
	Key  string `json:"key"`
	Site string `json:"site"`
}

// recordSuffix parts the name of what was kept aside from that of its record.
const recordSuffix = ".json"

// asideSuffix tells apart what was kept aside of one key in one epoch: by its bytes, and by the site that had it, which the
// record beside it names too. Names of earlier releases end before it.
func asideSuffix(content sum, site string) string {
	return "-" + hex.EncodeToString(content[:16]) + "-" + site
}

// setAside keeps a site's object under a name of the router's, there or at another. The object itself stays until it is
// replaced.
func (r *Router) setAside(ctx context.Context, key string, s, at *site) error {
	content, _, err := digest(ctx, key, s)
	if err != nil {
		return err
	}
	name := asidePrefix + itoa(r.epoch.Load().N) + "/" + shortDigest(key) + asideSuffix(content, s.Name)
	if err := at.put(ctx, name+recordSuffix, &asideRecord{V: recordVersion, Key: key, Site: s.Name}); err != nil {
		return err
	}
	// The bytes go through this process, because nobody says how far a store has come with a copy of its own.
	if err = transferAs(ctx, key, name, s, at, true); isTaken(err) {
		err = nil // by an earlier attempt
	}
	if err == nil {
		r.log("an object was kept aside", s.Name, nil)
	}
	return err
}

// aside brings what was kept aside at the leaving site to the desk, each object after its record. What has a name of an
// earlier release may have the name of another object there, and gets one of this.
func (l *leaving) aside(ctx context.Context, name string) error {
	m := l.m
	if err := m.mayGo(ctx, m.desk); err != nil {
		return err
	}
	object, record := strings.CutSuffix(name, recordSuffix)
	if record {
		if there, err := m.from.exists(ctx, object); err != nil || there {
			return err // it was brought with its object
		}
	}
	content, _, err := digest(ctx, name, m.from)
	if err != nil {
		return err
	}
	old := !strings.Contains(object[len(asidePrefix):], "-")
	switch {
	case record && old:
		if there, err := m.deskHas(ctx, object, content); err != nil || there {
			return err
		}
		return m.carry(ctx, name, object+asideSuffix(content, m.from.Name)+recordSuffix)
	case record:
		return m.carry(ctx, name, name)
	case old:
		object += asideSuffix(content, m.from.Name)
	}
	if err := m.carry(ctx, name+recordSuffix, object+recordSuffix); err != nil && !isNotFound(err) {
		return err // it is not there if the store has let go of it alone
	}
	return m.carry(ctx, name, object)
}

// deskHas reports whether the desk has a record with some content, of what an earlier release called by a name.
func (m *mover) deskHas(ctx context.Context, name string, content sum) (bool, error) {
	var all []string
	err := m.desk.list(ctx, name, func(found string) bool {
		all = append(all, found)
		return true
	})
	for _, found := range all {
		if err != nil || !strings.HasSuffix(found, recordSuffix) {
			continue
		}
		var got sum
		if got, _, err = digest(ctx, found, m.desk); err == nil && got == content {
			return true, nil
		}
	}
	return false, err
}

// carry copies an object of the leaving site to the desk under another name, and reads it back.
func (m *mover) carry(ctx context.Context, name, to string) error {
	content, _, err := digest(ctx, name, m.from)
	if err != nil {
		return err
	}
	if err := transferAs(ctx, name, to, m.from, m.desk, true); err != nil && !isTaken(err) {
		return err
	}
	got, _, err := digest(ctx, to, m.desk)
	if err == nil && got != content {
		err = &SiteError{Site: m.desk.Name, Op: "keep aside", err: ErrConflict}
	}
	return err
}
