package evidence

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// The lines of a file of evidence that are not blocks.
type (
	headerLine struct {
		Format  string    `json:"format"`
		Version int       `json:"version"`
		Made    time.Time `json:"made"`
	}
	damagedLine struct {
		Damaged damage `json:"damaged"`
	}
	damage struct {
		Writer string `json:"writer"`
		Seq    int64  `json:"seq"`
		Digest Digest `json:"digest"`
		Bytes  int    `json:"bytes"`
		Why    string `json:"why"` // in this package's words
	}
	endLine struct {
		End end `json:"end"`
	}
	end struct {
		Lines  int64  `json:"lines"` // before this one, the header among them
		Blocks int64  `json:"blocks"`
		SHA256 Digest `json:"sha256"` // of all bytes before this line
	}
)

const format = "carekeep evidence"

// Export writes all that is there as one file for [Verify]: JSON, one value on a line. The first line is a header; each
// that follows is a block as it lies in the bucket, in the order of [Log.Records]; the last has the SHA-256 of all
// lines before it. Of an object that is no block only the digest is written. Broken evidence is exported as it is;
// the error then is a [*BrokenError], and the file is complete all the same.
func (l *Log) Export(ctx context.Context, w io.Writer) error {
	out := &exporter{w: bufio.NewWriter(w), sum: sha256.New()}
	if err := out.value(headerLine{format, version, l.now().UTC().Truncate(time.Second)}); err != nil {
		return err
	}
	ck, found := newChecker(), &BrokenError{}
	for it, err := range l.items(ctx) {
		if err != nil {
			return err
		}
		found.add(ck.item(it))
		switch {
		case it.missing:
		case it.block == nil:
			err = out.value(damagedLine{damage{it.writer, it.seq, it.digest, len(it.data), it.why}})
		default:
			out.blocks++
			err = out.line(it.data)
		}
		if err != nil {
			return err
		}
	}
	if err := out.value(endLine{end{out.lines, out.blocks, Digest(out.sum.Sum(nil))}}); err != nil {
		return err
	}
	if err := out.w.Flush(); err != nil {
		return fmt.Errorf("evidence: export: %w", err)
	}
	return found.orNil()
}

// add takes up faults, and lists them up to a limit.
func (e *BrokenError) add(faults []Fault) {
	n := min(len(faults), maxFaults-len(e.Faults))
	e.Faults = append(e.Faults, faults[:n]...)
	e.More += len(faults) - n
}

func (e *BrokenError) orNil() error {
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

type exporter struct {
	w             *bufio.Writer
	sum           hash.Hash
	lines, blocks int64
}

func (x *exporter) value(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("evidence: export: %w", err)
	}
	return x.line(data)
}

func (x *exporter) line(data []byte) error {
	x.lines++
	for _, part := range [][]byte{data, {'\n'}} {
		x.sum.Write(part)
		if _, err := x.w.Write(part); err != nil {
			return fmt.Errorf("evidence: export: %w", err)
		}
	}
	return nil
}

// Summary is what a file of evidence holds.
type Summary struct {
	Made    time.Time      `json:"made"` // when the file was made, by its maker's clock
	Blocks  int64          `json:"blocks"`
	Records int64          `json:"records"`
	Kinds   map[Kind]int64 `json:"kinds"`
	First   time.Time      `json:"first,omitzero"` // the earliest time of a record
	Last    time.Time      `json:"last,omitzero"`  // the latest
	// Heads are the newest blocks of all chains, by writer. Keep them for the next time.
	Heads []Head `json:"heads"`
	// Foreign is how many records have data that this version would not have written, as those of a later one.
	// That they were not altered is checked all the same.
	Foreign int64 `json:"foreign,omitempty"`
}

// Verify checks a file made by [Log.Export], without the bucket, and that it holds the heads that were noted
// elsewhere. It returns what the file holds as far as it can be read. Faults are a [*BrokenError]; any other error is
// the reader's. Memory is bounded by the number of writers, and 40 bytes for each block.
func Verify(r io.Reader, noted ...Head) (Summary, error) {
	v := &verifier{ck: newChecker(), found: &BrokenError{}, sum: sha256.New()}
	v.s.Kinds = map[Kind]int64{}
	if err := v.read(bufio.NewReaderSize(r, maxBlock+1)); err != nil {
		return v.s, err
	}
	v.s.Heads = v.ck.heads()
	for _, h := range noted {
		if why := v.ck.find(h); why != "" && h.Seq != 0 {
			v.found.add([]Fault{{h.Writer, h.Seq, "it was noted elsewhere, but " + why}})
		}
	}
	return v.s, v.found.orNil()
}

type verifier struct {
	s     Summary
	ck    *checker
	found *BrokenError
	sum   hash.Hash
	lines int64
	ended bool
}

func (v *verifier) fault(problem string, args ...any) {
	v.found.add([]Fault{{Problem: fmt.Sprintf(problem, args...)}})
}

func (v *verifier) read(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			v.fault("line %d is longer than any can be; the rest was not read", v.lines+1)
			return nil
		case errors.Is(err, io.EOF) && len(line) == 0:
			if !v.ended {
				v.fault("the file is cut: its last line is missing")
			}
			return nil
		case errors.Is(err, io.EOF):
			v.fault("the file is cut in line %d", v.lines+1)
			return nil
		case err != nil:
			return fmt.Errorf("evidence: verify: %w", err)
		case v.ended:
			v.fault("something follows the last line")
			return nil
		}
		v.line(line[:len(line)-1])
		v.sum.Write(line)
		v.lines++
	}
}

// line checks one line, without its newline.
func (v *verifier) line(data []byte) {
	switch {
	case v.lines == 0:
		var h headerLine
		if !exact(data, &h) || h.Format != format || h.Version != version {
			v.fault("the first line is not the header of a file of evidence of version %d", version)
			return
		}
		v.s.Made = h.Made
	case bytes.HasPrefix(data, []byte(`{"end":`)):
		v.ended = true
		var e endLine
		if !exact(data, &e) || e.End != (end{v.lines, v.s.Blocks, Digest(v.sum.Sum(nil))}) {
			v.fault("the digest in the last line is not that of the lines before it")
		}
	case bytes.HasPrefix(data, []byte(`{"damaged":`)):
		var d damagedLine
		if !exact(data, &d) || !isWriter(d.Damaged.Writer) || d.Damaged.Seq < 1 || len(d.Damaged.Why) > 100 {
			v.fault("line %d is not as a file of evidence has it", v.lines+1)
			return
		}
		v.found.add(v.ck.item(item{writer: d.Damaged.Writer, seq: d.Damaged.Seq, digest: d.Damaged.Digest, why: d.Damaged.Why}))
	default:
		b, err := decodeBlock(data)
		if err != nil {
			v.fault("line %d: %v", v.lines+1, err)
			return
		}
		v.block(b, digestOf(data))
	}
}

func (v *verifier) block(b *block, digest Digest) {
	v.found.add(v.ck.item(item{writer: b.Writer, seq: b.Seq, digest: digest, block: b}))
	v.s.Blocks++
	records, foreign := b.records()
	v.s.Foreign += int64(foreign)
	for _, r := range records {
		v.s.Records++
		v.s.Kinds[r.Kind]++
		if v.s.First.IsZero() || r.Time.Before(v.s.First) {
			v.s.First = r.Time
		}
		if r.Time.After(v.s.Last) {
			v.s.Last = r.Time
		}
	}
}

// exact decodes a line that is written as Export writes it.
func exact[T any](data []byte, to *T) bool {
	if _, err := strictjson.Decode(data, to); err != nil {
		return false
	}
	again, err := json.Marshal(to)
	return err == nil && bytes.Equal(again, data)
}

// String returns the head as a line that can be noted, and read by [ParseHead].
func (h Head) String() string { return fmt.Sprintf("%s/%d/%s", h.Writer, h.Seq, h.Digest) }

// ParseHead reads a head that [Head.String] wrote.
func ParseHead(s string) (Head, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 && isWriter(parts[0]) {
		h := Head{Writer: parts[0]}
		var err error
		h.Seq, err = strconv.ParseInt(parts[1], 10, 64)
		if err == nil && h.Digest.UnmarshalText([]byte(parts[2])) == nil && h.String() == s {
			return h, nil
		}
	}
	return Head{}, errors.New("evidence: head: expected a writer, a number and a digest with / between them")
}
