package host

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// A block file is a sequence of sealed blocks, each a uint32 length and that many sealed bytes. The
// associated data of a block is its number and whether it is the last, so a file that was cut off can be
// told from a finished one, and still be read up to where it ends.

const blockSize = 128 << 10

// ErrUnfinished is returned at the end of a block file that was not closed: a run that was cut off. What
// was read before it is sound.
var ErrUnfinished = errors.New("the file ends before its end mark")

type blockWriter struct {
	f    *Folder
	file *os.File
	what string
	buf  []byte
	n    uint64
}

func (f *Folder) newBlockWriter(path, what string) (*blockWriter, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, withoutPath(err)
	}
	return &blockWriter{f: f, file: file, what: what}, nil
}

func (w *blockWriter) aad(last bool) []byte {
	return blockAAD(w.f.aad(w.what), w.n, last)
}

func blockAAD(b []byte, n uint64, last bool) []byte {
	b = binary.BigEndian.AppendUint64(b, n)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// Write adds p; whole records stay within one flush, so a cut-off file ends at a record's end.
func (w *blockWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	if len(w.buf) >= blockSize {
		return len(p), w.flush(false)
	}
	return len(p), nil
}

// Flush hands what was written to the operating system, so that it outlives this process.
func (w *blockWriter) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	return w.flush(false)
}

func (w *blockWriter) flush(last bool) error {
	sealed, err := w.f.suite.Seal(w.f.key, w.aad(last), w.buf)
	if err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(sealed)), uint32(len(sealed)))
	if _, err := w.file.Write(append(out, sealed...)); err != nil {
		return withoutPath(err)
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*blockSize { // of a pack of very many chunks
		w.buf = nil
	}
	w.n++
	return nil
}

// finish writes the end mark.
func (w *blockWriter) finish() error {
	return errors.Join(w.flush(true), pathless(w.file.Close()))
}

func (w *blockWriter) abandon() { w.file.Close() }

func pathless(err error) error {
	if err == nil {
		return nil
	}
	return withoutPath(err)
}

// blockReader reads a block file as a stream of bytes.
type blockReader struct {
	f    *Folder
	file *os.File
	r    *bufio.Reader
	what string
	raw  []byte
	n    uint64
	end  error
}

func (f *Folder) newBlockReader(path, what string) (*blockReader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	return &blockReader{f: f, file: file, r: bufio.NewReaderSize(file, 64<<10), what: what}, nil
}

func (r *blockReader) close() { r.file.Close() }

// next returns the next block's bytes, valid until the next call; io.EOF after the last block of a
// finished file, ErrUnfinished where an unfinished one ends.
func (r *blockReader) next() ([]byte, error) {
	if r.end != nil {
		return nil, r.end
	}
	var head [4]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		r.end = ErrUnfinished
		return nil, r.end
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > 64<<20 {
		r.end = ErrUnfinished
		return nil, r.end
	}
	n := int(size)
	if cap(r.raw) < n {
		r.raw = make([]byte, n)
	}
	r.raw = r.raw[:n]
	if _, err := io.ReadFull(r.r, r.raw); err != nil {
		r.end = ErrUnfinished
		return nil, r.end
	}
	aad := r.f.aad(r.what)
	b, err := r.f.suite.Open(r.f.key, blockAAD(aad, r.n, false), r.raw)
	if err != nil {
		if b, err = r.f.suite.Open(r.f.key, blockAAD(aad, r.n, true), r.raw); err != nil {
			r.end = ErrUnfinished
			return nil, r.end
		}
		r.end = io.EOF
	}
	r.n++
	return b, nil
}
