package host

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/carekeep/carekeep/internal/format"
)

// Record is one entry of a spool or of a remembered snapshot.
type Record struct {
	Entry format.Entry
	// Packs holds the numbers, in the table of the file's head, of the packs that the content lies in,
	// ascending. It is nil when not known, which is the case for what a run has just read.
	Packs []uint32
	// Fresh marks what the run that wrote the record read itself.
	Fresh bool
	// Refs is the content of a file that has more references than an entry holds itself, until a tree is
	// made of them; Side, if not 0, is the number of the side file that holds them instead.
	Refs []format.Ref
	Side uint32
}

const (
	recFresh = 1 << iota
	recPacks
	recRefs
	recSide
)

// RecordWriter writes records in the order of their paths. It is used by one goroutine.
type RecordWriter struct {
	w    *blockWriter
	prev string
	buf  []byte
}

// Write adds a record.
func (w *RecordWriter) Write(r *Record) error {
	flags := byte(0)
	if r.Fresh {
		flags |= recFresh
	}
	if r.Packs != nil {
		flags |= recPacks
	}
	if r.Refs != nil {
		flags |= recRefs
	}
	if r.Side != 0 {
		flags |= recSide
	}
	e := r.Entry
	if flags&(recRefs|recSide) != 0 {
		e.Size = 0 // an entry's size is that of its own content
	}
	b := append(w.buf[:0], 0, 0, 0, 0, flags)
	b = format.AppendEntry(b, w.prev, &e)
	if flags&(recRefs|recSide) != 0 {
		b = binary.AppendUvarint(b, uint64(r.Entry.Size))
	}
	if flags&recPacks != 0 {
		b = binary.AppendUvarint(b, uint64(len(r.Packs)))
		last := uint32(0)
		for _, p := range r.Packs {
			b = binary.AppendUvarint(b, uint64(p-last))
			last = p
		}
	}
	if flags&recRefs != 0 {
		b = append(b, format.AppendRefs(nil, r.Refs)...) // the last field: it reaches to the record's end
	}
	if flags&recSide != 0 {
		b = binary.AppendUvarint(b, uint64(r.Side))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	w.buf, w.prev = b, r.Entry.Path
	_, err := w.w.Write(b)
	return err
}

// Flush makes what was written outlive this process.
func (w *RecordWriter) Flush() error { return w.w.Flush() }

// Finish marks the end.
func (w *RecordWriter) Finish() error { return w.w.finish() }

// Abandon closes the file without an end mark.
func (w *RecordWriter) Abandon() { w.w.abandon() }

// RecordReader reads records back. It is used by one goroutine.
type RecordReader struct {
	r    *blockReader
	rest []byte
	prev string
}

// Next decodes the next record into r, whose slices it replaces. It returns io.EOF at the end of a finished
// file and ErrUnfinished where an unfinished one ends.
func (x *RecordReader) Next(r *Record) error {
	for len(x.rest) == 0 {
		b, err := x.r.next()
		if err != nil {
			return err
		}
		x.rest = b
		if len(b) == 0 {
			continue
		}
	}
	if len(x.rest) < 5 {
		return ErrUnfinished
	}
	n := int(binary.BigEndian.Uint32(x.rest))
	if n < 1 || n > len(x.rest)-4 {
		return ErrUnfinished
	}
	b := x.rest[4 : 4+n]
	x.rest = x.rest[4+n:]
	*r = Record{}
	flags := b[0]
	rest, err := format.DecodeEntry(b[1:], x.prev, &r.Entry)
	if err != nil {
		return ErrUnfinished
	}
	r.Fresh = flags&recFresh != 0
	x.prev = r.Entry.Path
	if flags&(recRefs|recSide) != 0 {
		v, k := binary.Uvarint(rest)
		if k <= 0 {
			return ErrUnfinished
		}
		r.Entry.Size, rest = int64(v), rest[k:]
	}
	if flags&recPacks != 0 {
		if r.Packs, rest, err = packNumbers(rest); err != nil {
			return err
		}
	}
	if flags&recRefs != 0 {
		if r.Refs, err = format.DecodeRefs(rest); err != nil {
			return ErrUnfinished
		}
		rest = nil
	}
	if flags&recSide != 0 {
		v, k := binary.Uvarint(rest)
		if k <= 0 {
			return ErrUnfinished
		}
		r.Side = uint32(v)
	}
	return nil
}

func packNumbers(b []byte) ([]uint32, []byte, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return nil, nil, ErrUnfinished
	}
	b = b[k:]
	out := make([]uint32, 0, n)
	last := uint64(0)
	for range n {
		d, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, nil, ErrUnfinished
		}
		b = b[k:]
		last += d
		out = append(out, uint32(last))
	}
	return out, b, nil
}

// Close closes the file.
func (x *RecordReader) Close() { x.r.close() }

// AtEnd tells the two ends of a record file from errors.
func AtEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, ErrUnfinished) }
