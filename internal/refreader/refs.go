package refreader

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// A Reference names an object that a snapshot needs: its type is P, M, I or S (all generations of a session); where
// objects are condemned also R.
type Reference struct {
	Type    byte
	Session [16]byte
	SHA256  [32]byte
}

func (v Reference) raw() []byte {
	return append(append([]byte{v.Type}, v.Session[:]...), v.SHA256[:]...)
}

func compareReferences(a, b Reference) int { return bytes.Compare(a.raw(), b.raw()) }

// References resolves the list of references of the snapshot (section 12). Should an object of it be gone, the log is
// read on: the list may have been replaced, or the snapshot forgotten.
func (s *Snapshot) References() ([]Reference, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for {
		sum, ok := s.list()
		if !ok {
			return nil, ErrForgotten
		}
		list, err := s.r.references(sum, -1)
		if err == nil {
			return list, nil
		}
		if e := s.r.readOn(); e != nil {
			return nil, errors.Join(err, e)
		}
		if now, ok := s.list(); ok && now == sum {
			return nil, fmt.Errorf("list of references: %w", err)
		}
	}
}

// references resolves a list of some depth, or of any with -1.
func (r *Repository) references(sum [32]byte, depth int) ([]Reference, error) {
	b, err := readObject(r.fsys, "refs/"+hex.EncodeToString(sum[:]), 256*mib)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != sum {
		return nil, errors.New("not the object that its name says")
	}
	d, err := object(b, 'R')
	if err != nil {
		return nil, err
	}
	own, base := int(d.u8()), d.id32()
	d.id16() // random
	removed, added := decodeReferences(d, false), decodeReferences(d, false)
	d.check(own <= 16 && (depth < 0 || own == depth) && (own == 0) == (base == [32]byte{}))
	if err := d.end(); err != nil {
		return nil, err
	}
	var list []Reference
	if own > 0 {
		if list, err = r.references(base, own-1); err != nil {
			return nil, err
		}
	}
	for _, v := range removed {
		i, ok := slices.BinarySearchFunc(list, v, compareReferences)
		if !ok {
			return nil, errMalformed
		}
		list = slices.Delete(list, i, i+1)
	}
	for _, v := range added {
		i, ok := slices.BinarySearchFunc(list, v, compareReferences)
		if ok {
			return nil, errMalformed
		}
		list = slices.Insert(list, i, v)
	}
	return list, nil
}

// decodeReferences decodes a sorted list. Lists are named only where objects are condemned.
func decodeReferences(d *dec, condemned bool) (list []Reference) {
	for n := d.count(49); n > 0; n-- {
		v := Reference{d.u8(), d.id16(), d.id32()}
		switch v.Type {
		case 'P', 'M':
		case 'I':
			d.check(v.Session == [16]byte{})
		case 'R':
			d.check(condemned && v.Session == [16]byte{})
		case 'S':
			d.check(v.SHA256 == [32]byte{})
		default:
			d.fail()
		}
		d.check(len(list) == 0 || compareReferences(list[len(list)-1], v) < 0)
		list = append(list, v)
	}
	return list
}
