package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// Digest is a SHA-256. Its text is lower-case hexadecimal.
type Digest [sha256.Size]byte

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("digest: expected %d hexadecimal digits", 2*len(d))
	}
	copy(d[:], b)
	return nil
}

// digestDomain separates digests of blocks from all others.
const digestDomain = "carekeep/v1 evidence block\n"

func digestOf(data []byte) Digest {
	h := sha256.New()
	h.Write([]byte(digestDomain))
	h.Write(data)
	return Digest(h.Sum(nil))
}

// Head names a block of a chain, usually its newest. Noted where the writer of the evidence cannot write, it
// proves later that nothing up to it was altered or removed. The zero Head is that of an empty chain.
type Head struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"` // from 1
	Digest Digest `json:"digest"`
}

// Limits of a block.
const (
	maxBlock   = 256 << 10 // bytes
	maxRecords = 256
	maxSeen    = 32
	maxSeq     = 9_999_999_999 // ten digits in a name
	seqDigits  = 10
)

const version = 1

// block is what one object holds, as one line of JSON.
type block struct {
	V      int    `json:"v"`
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`
	// Nonce tells two processes apart that write as one writer.
	Nonce string `json:"nonce"`
	// Prev is the digest of the block before; zero for the first, and after an object that no block can be.
	Prev Digest `json:"prev"`
	// Seen are the newest blocks that were seen in other chains since this one's last block, sorted by writer.
	Seen    []Head `json:"seen,omitempty"`
	Records []line `json:"records"`
}

// line is one record in a block.
type line struct {
	Time time.Time       `json:"time"`
	Kind Kind            `json:"kind"`
	Site string          `json:"site,omitempty"`
	Data json.RawMessage `json:"data"`
}

func encodeBlock(b *block) ([]byte, error) { return json.Marshal(b) }

// decodeBlock accepts exactly what encodeBlock can have made, so that a block has one reading. The data of records
// is left as it is, because later versions may write what this one does not know.
func decodeBlock(data []byte) (*block, error) {
	if len(data) > maxBlock {
		return nil, fmt.Errorf("it is longer than %d bytes", maxBlock)
	}
	b := &block{}
	if _, err := strictjson.Decode(data, b); err != nil {
		return nil, errors.New("it is not a block of evidence")
	}
	if b.V != version {
		return nil, fmt.Errorf("it is of version %d; this program knows version %d", b.V, version)
	}
	if why := b.invalid(); why != "" {
		return nil, errors.New(why)
	}
	again, err := encodeBlock(b)
	if err != nil || string(again) != string(data) {
		return nil, errors.New("it is not written as a block of evidence is")
	}
	return b, nil
}

// invalid says what is wrong with a block by itself.
func (b *block) invalid() string {
	switch {
	case !isWriter(b.Writer):
		return "its writer's id is not one"
	case b.Seq < 1 || b.Seq > maxSeq:
		return "its number is out of range"
	case len(b.Nonce) != 16 || strings.Trim(b.Nonce, "0123456789abcdef") != "":
		return "its nonce is not one"
	case len(b.Seen) > maxSeen:
		return "it names too many blocks"
	case len(b.Records) == 0 || len(b.Records) > maxRecords:
		return fmt.Sprintf("it has %d records; 1 to %d are possible", len(b.Records), maxRecords)
	case !b.seenValid():
		return "a block that it names cannot be one"
	case slices.ContainsFunc(b.Records, line.invalid):
		return "one of its records cannot be one"
	}
	return ""
}

// seenValid reports whether the names of other blocks are as a writer makes them.
func (b *block) seenValid() bool {
	last := ""
	for _, h := range b.Seen {
		if !isWriter(h.Writer) || h.Writer == b.Writer || h.Writer <= last || h.Seq < 1 || h.Seq > maxSeq {
			return false
		}
		last = h.Writer
	}
	return true
}

// invalid leaves the data aside.
func (l line) invalid() bool {
	return len(l.Data) > maxData || l.Data == nil || !forms("site", string(l.Kind)) || l.Site != "" && !forms("site", l.Site) ||
		l.Time.Location() != time.UTC
}

// isWriter reports whether s can be a writer's id.
func isWriter(s string) bool {
	return len(s) <= maxSite && strictjson.Slug(s, "-")
}

// Record is one piece of evidence.
type Record struct {
	Writer string
	Block  int64 // in the writer's chain, from 1
	Index  int   // in the block, from 0
	Time   time.Time
	Kind   Kind
	Site   string // empty where it is about all of them
	// Data is a value of the kind's type, or a [json.RawMessage] if this version does not know it.
	Data any
}

// records decodes those of a block, and counts the foreign ones.
func (b *block) records() (out []Record, foreign int) {
	for i, l := range b.Records {
		data, strange := decodeData(l.Kind, l.Data)
		if strange {
			foreign++
		}
		out = append(out, Record{b.Writer, b.Seq, i, l.Time, l.Kind, l.Site, data})
	}
	return out, foreign
}
