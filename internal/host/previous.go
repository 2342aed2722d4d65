package host

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/seal"
)

// Previous is what a host remembers of the last snapshot of a lineage. Its records stand in a file beside.
type Previous struct {
	Snapshot    format.SnapID
	Outcome     byte
	Description format.Description
	Refs        format.Hash
	RefsDepth   uint8
	Condemned   uint64          // the newest condemn entry of the log when the snapshot was committed
	Packs       []format.Object // the table that records count in

	file string
}

func (p *Previous) append(b []byte) []byte {
	b = append(b, p.Snapshot[:]...)
	b = append(b, p.Outcome, p.RefsDepth)
	b = append(b, p.Refs[:]...)
	b = binary.BigEndian.AppendUint64(b, p.Condemned)
	d := p.Description.Append(nil)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d)))
	b = append(b, d...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.file)))
	b = append(b, p.file...)
	for _, o := range p.Packs {
		b = append(b, byte(o.Type))
		b = append(b, o.Session[:]...)
		b = append(b, o.Hash[:]...)
	}
	return b
}

func decodePrevious(b []byte) (*Previous, error) {
	bad := errors.New("a remembered snapshot is damaged")
	take := func(n uint32) []byte {
		k := int(min(uint64(n), uint64(len(b))))
		v := b[:k]
		b = b[k:]
		return v
	}
	counted := func() []byte {
		h := take(4)
		if len(h) < 4 {
			return nil
		}
		return take(binary.BigEndian.Uint32(h))
	}
	p := &Previous{}
	copy(p.Snapshot[:], take(16))
	two := take(2)
	if len(two) < 2 {
		return nil, bad
	}
	p.Outcome, p.RefsDepth = two[0], two[1]
	copy(p.Refs[:], take(32))
	seq := take(8)
	if len(seq) < 8 {
		return nil, bad
	}
	p.Condemned = binary.BigEndian.Uint64(seq)
	d, err := format.DecodeDescription(counted())
	if err != nil {
		return nil, err
	}
	p.Description = *d
	p.file = string(counted())
	if len(b)%49 != 0 || !strings.HasPrefix(p.file, "previous-") {
		return nil, bad
	}
	for len(b) > 0 {
		o := format.Object{Type: format.Type(take(1)[0])}
		copy(o.Session[:], take(16))
		copy(o.Hash[:], take(32))
		p.Packs = append(p.Packs, o)
	}
	return p, nil
}

// Recall returns what is remembered of a lineage's last snapshot and its records, or nil when nothing
// usable is.
func (f *Folder) Recall(lineage string) (*Previous, *RecordReader) {
	b, ok := f.Load("last-" + lineage)
	if !ok {
		return nil, nil
	}
	p, err := decodePrevious(b)
	if err != nil {
		return nil, nil
	}
	r, err := f.newBlockReader(filepath.Join(f.dir, p.file), p.file)
	if err != nil {
		return nil, nil
	}
	return p, &RecordReader{r: r}
}

// Keep starts the records of a snapshot that is about to be committed. They take the place of the
// lineage's remembered ones when [Keeper.Commit] is called.
func (f *Folder) Keep(lineage string) (*Keeper, error) {
	var tag [8]byte
	seal.Random(tag[:])
	k := &Keeper{f: f, lineage: lineage, name: "previous-" + lineage + "-" + hex.EncodeToString(tag[:])}
	w, err := f.newBlockWriter(filepath.Join(f.dir, k.name), k.name)
	if err != nil {
		return nil, err
	}
	k.RecordWriter = RecordWriter{w: w}
	return k, nil
}

// Keeper writes the records of a snapshot to be remembered.
type Keeper struct {
	RecordWriter
	f       *Folder
	lineage string
	name    string
}

// Commit makes the records what is remembered, with p, and removes older ones.
func (k *Keeper) Commit(p Previous) error {
	p.file = k.name
	if err := k.f.Save("last-"+k.lineage, p.append(nil)); err != nil {
		return err
	}
	names, err := os.ReadDir(k.f.dir)
	if err != nil {
		return withoutPath(err)
	}
	for _, de := range names {
		if strings.HasPrefix(de.Name(), "previous-"+k.lineage+"-") && de.Name() != k.name {
			os.Remove(filepath.Join(k.f.dir, de.Name()))
		}
	}
	return nil
}

// Renew replaces what is remembered about the lineage's last snapshot but keeps its records: a new snapshot
// holds the same entries.
func (f *Folder) Renew(lineage string, p *Previous) error {
	return f.Save("last-"+lineage, p.append(nil))
}

// Drop removes the records of a snapshot that was not committed.
func (k *Keeper) Drop() {
	k.Abandon()
	os.Remove(filepath.Join(k.f.dir, k.name))
}
