package refreader

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// A table is the plaintext of an index segment: entries and packs.
type table struct {
	entries, packs []byte
}

const (
	entrySize = 56
	packSize  = 97
)

// A place is where a chunk lies.
type place struct {
	frame       frameKey
	stored      uint32
	decoded     uint32
	codec       byte
	at, size    uint32
	number      uint32
	objectBytes uint32
	prologue    []byte
}

// loadTable reads an index segment that the log names (section 11).
func (r *Repository) loadTable(s segment) (*table, error) {
	if t := r.tables[s.sum]; t != nil {
		return t, nil
	}
	b, err := readObject(r.fsys, "i/"+hex.EncodeToString(s.sum[:]), 1<<31)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != s.sum || uint64(len(b)) != s.size {
		return nil, errors.New("not the object that the log names")
	}
	p, err := r.openStream(b, 'I', r.index, join("carekeep/v1 index", r.scope()))
	if err != nil {
		return nil, err
	}
	d := &dec{b: p}
	e, n, f := d.u64(), uint64(d.u32()), uint64(d.u32())
	d.check(e >= 1 && e <= 1<<24 && e == s.entries && n >= 1 && n <= min(e, 1<<20) && f == (10*e+511)/512)
	t := &table{entries: d.take(e * entrySize), packs: d.take(n * packSize)}
	d.take(f * 64)
	if err := d.end(); err != nil {
		return nil, err
	}
	for i := range int(e) {
		if i > 0 && bytes.Compare(t.entries[(i-1)*entrySize:][:36], t.entries[i*entrySize:][:36]) >= 0 {
			return nil, errMalformed
		}
		if _, err := t.place(i); err != nil {
			return nil, err
		}
	}
	for i := range int(n) {
		if c := t.packs[i*packSize]; c != 'P' && c != 'M' {
			return nil, errMalformed
		}
	}
	r.tables[s.sum] = t
	return t, nil
}

// place decodes and checks entry i.
func (t *table) place(i int) (place, error) {
	d := &dec{b: t.entries[i*entrySize:][:entrySize]}
	d.id32()
	pack := uint64(d.u32())
	if (pack+1)*packSize > uint64(len(t.packs)) {
		return place{}, errMalformed
	}
	p := place{frame: frameKey{offset: d.u32()}, stored: d.u32(), decoded: d.u32(), codec: d.u8()}
	p.at = binary.BigEndian.Uint32(append([]byte{0}, d.take(3)...))
	p.size = d.u32()
	k := &dec{b: t.packs[pack*packSize:][:packSize]}
	p.frame.typ, p.frame.session, p.number, p.objectBytes = k.u8(), k.id16(), k.u32(), k.u32()
	p.frame.pack, p.prologue = k.id32(), k.take(40)
	p.frame.said = string(t.entries[i*entrySize:][36:49]) + string(t.packs[pack*packSize:][:packSize])
	end := uint64(p.frame.offset) + uint64(p.stored)
	if p.decoded > 4*mib || p.stored == 0 || p.stored > p.decoded || p.size == 0 ||
		uint64(p.at)+uint64(p.size) > uint64(p.decoded) || end > 1<<30 || end > uint64(p.objectBytes) {
		return place{}, errMalformed
	}
	return p, nil
}

// chunk gives the content of a chunk of n bytes: a data chunk, or with meta a metadata chunk. Should it be in no place
// that the segments name, the log is read on: a collector may have moved it.
func (r *Repository) chunk(id [32]byte, n uint64, meta bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		segments := r.state.segments
		b, err := r.find(id, n, meta)
		if err == nil {
			return b, nil
		}
		if e := r.readOn(); e != nil {
			return nil, errors.Join(err, e)
		}
		if slices.Equal(segments, r.state.segments) {
			return nil, err
		}
	}
}

// find searches the segments from the last; should a place that one names not hold the chunk, its other places and the
// earlier segments are tried.
func (r *Repository) find(id [32]byte, n uint64, meta bool) ([]byte, error) {
	err := error(nil)
	for i := len(r.state.segments) - 1; i >= 0; i-- {
		t, e := r.loadTable(r.state.segments[i])
		if e != nil {
			err = errors.Join(err, fmt.Errorf("index segment: %w", e))
			continue
		}
		k := sort.Search(len(t.entries)/entrySize, func(k int) bool {
			return bytes.Compare(t.entries[k*entrySize:][:32], id[:]) >= 0
		})
		for ; k*entrySize < len(t.entries) && [32]byte(t.entries[k*entrySize:][:32]) == id; k++ {
			b, e := r.chunkAt(t, k, id, n, meta)
			if e == nil {
				return b, nil
			}
			err = errors.Join(err, fmt.Errorf("chunk: %w", e))
		}
	}
	if err == nil {
		err = errors.New("a chunk is in no index segment")
	}
	return nil, err
}

func (r *Repository) chunkAt(t *table, k int, id [32]byte, n uint64, meta bool) ([]byte, error) {
	p, err := t.place(k)
	if err != nil {
		return nil, err
	}
	key, class := r.dataID, byte('P')
	if meta {
		key, class = r.metaID, 'M'
	}
	if p.frame.typ != class || uint64(p.size) != n {
		return nil, errors.New("of another class or length than asked for")
	}
	f, err := r.frame(p)
	if err != nil {
		return nil, err
	}
	b := f[p.at:][:p.size]
	if [32]byte(mac(key, b)) != id {
		return nil, errors.New("content does not have its id")
	}
	return b, nil
}
