// Package chunk finds where to cut a file into the pieces that are stored once.
//
// Most files are cut where their own content says so: an insertion moves the
// bytes behind it, and the cuts move with them, so only the pieces around the
// change are new. Database files change in whole pages that never move; for
// those [DetectPages] names a fixed unit, which is cheaper and follows the
// pages exactly.
//
// # Algorithm, version 1 (frozen)
//
// A chunker is fixed by a 32-byte key and three sizes Min < Avg < Max, Avg
// being 2^a.
//
// Table. T[0..255] are 64-bit numbers: the 2048 bytes of
// HKDF-SHA256(secret = key, salt = empty, info = "carekeep/v1 gear"), read
// eight at a time, big-endian.
//
// Hash. H(p) belongs to the position p between two bytes and covers the 64
// bytes before it, d[p-64] to d[p-1]:
//
//	H(p) = sum over k = 0..63 of T[d[p-1-k]] * 2^k   (mod 2^64)
//
// so H(p+1) = 2*H(p) + T[d[p]], older bytes being shifted out at the top.
//
// Cut. Let d start where the chunk starts, and let end be the smaller of Max
// and the number of bytes left in the file. The length of the chunk is:
//
//	landmark = 2^(64-(a-7))      one position in Avg/128
//	early    = 2^(64-(a-2))      one landmark in 32
//	late     = 2^(64-(a-5))      one landmark in 4
//	p = Min
//	repeat:
//	    p = p + 1
//	    if p >= end:                              return end
//	    if H(p) < (early if p <= Avg, else late): return p
//	    if H(p) < landmark:                       p = p + 7*Avg/128
//
// Why it looks like this. Two limits keep the sizes close to Avg (few small
// chunks, few forced cuts at Max). The jump after a landmark that is no cut
// leaves seven bytes in eight unread; because landmarks are chosen by content,
// two runs that start at different places soon stand on the same landmark and
// agree from there on. Measured against reading every byte, the jump is six
// times as fast and loses nothing in sizes or in deduplication. With the
// default sizes the mean chunk of random data and of text lies between 244 and
// 260 KiB, depending on the key.
//
// The key hides cut points from somebody who does not hold it only in part:
// lengths of chunks of known files reveal a gear table. Chunk lengths must
// therefore not be visible in the store; the packs see to that.
package chunk

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
)

// KeySize is the length in bytes of the key of a [Table].
const KeySize = 32

const (
	gearInfo = "carekeep/v1 gear" // HKDF info string, part of the format
	window   = 64                 // bytes a hash depends on

	minAvg = 1 << 10 // below this the exponents of the limits make no sense
	maxMax = 4 << 20 // bounds the buffer of every reader
)

var (
	// ErrKey is returned for a key that is not KeySize bytes long.
	ErrKey = errors.New("chunk: key must be 32 bytes")
	// ErrParams is returned for sizes that [Params.Validate] refuses.
	ErrParams = errors.New("chunk: sizes must hold 64 <= Min < Avg < Max <= 4 MiB, Avg a power of two of at least 1 KiB")
)

// Params are the sizes of chunks in bytes. Avg is the size aimed at; the
// measured mean is within a few per cent of it when Min is a quarter of Avg.
type Params struct {
	Min uint32 `json:"min"`
	Avg uint32 `json:"avg"`
	Max uint32 `json:"max"`
}

// DefaultParams returns 64 KiB, 256 KiB, 1 MiB.
func DefaultParams() Params {
	return Params{Min: 64 << 10, Avg: 256 << 10, Max: 1 << 20}
}

// Validate returns ErrParams unless 64 <= Min < Avg < Max <= 4 MiB and Avg is
// a power of two of at least 1 KiB.
func (p Params) Validate() error {
	switch {
	case p.Min < window, p.Min >= p.Avg, p.Avg >= p.Max, p.Max > maxMax:
		return ErrParams
	case p.Avg < minAvg, bits.OnesCount32(p.Avg) != 1:
		return ErrParams
	}
	return nil
}

// Table is the secret gear table of one repository. It does not change and may
// be used by many goroutines.
type Table struct {
	gear [256]uint64
}

// NewTable expands a key of KeySize bytes. It returns ErrKey for another length.
func NewTable(key []byte) (*Table, error) {
	if len(key) != KeySize {
		return nil, ErrKey
	}
	raw, err := hkdf.Key(sha256.New, key, nil, gearInfo, 256*8)
	if err != nil {
		return nil, err
	}
	t := new(Table)
	for i := range t.gear {
		t.gear[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return t, nil
}

// Cutter cuts with one table and one set of sizes. It keeps no state between
// calls and may be used by many goroutines.
type Cutter struct {
	gear          *[256]uint64
	min, avg, max int
	jump          int
	landmark      uint64
	early, late   uint64
}

// Cutter returns the cutter for p, or ErrParams.
func (t *Table) Cutter(p Params) (*Cutter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	a := bits.TrailingZeros32(p.Avg)
	return &Cutter{
		gear: &t.gear,
		min:  int(p.Min), avg: int(p.Avg), max: int(p.Max),
		jump:     int(p.Avg) / 128 * 7,
		landmark: 1 << (64 - (a - 7)),
		early:    1 << (64 - (a - 2)),
		late:     1 << (64 - (a - 5)),
	}, nil
}

// Max returns the greatest length in bytes that Cut returns.
func (c *Cutter) Max() int { return c.max }

// Cut returns the length in bytes of the first chunk of data. Data holds what
// has been read from the start of the chunk on; more than Max bytes are never
// looked at. With final, data ends where the file ends. Without it, Cut
// returns 0 when the end of the chunk lies behind what has been read; it never
// does so when data holds Max bytes. The result does not depend on how much of
// the file behind the chunk is in data. Cut of empty data is 0.
func (c *Cutter) Cut(data []byte, final bool) int {
	if len(data) >= c.max {
		data, final = data[:c.max], true
	}
	if p := c.search(data); p > 0 {
		return p
	}
	if final {
		return len(data)
	}
	return 0
}

// search returns the first position of data that content makes a cut, or 0.
func (c *Cutter) search(data []byte) int {
	p, limit, end := c.min, c.early, min(c.avg, len(data))
	for {
		for p < end {
			var h uint64
			p, h = scan(c.gear, c.warm(data, p), data, p, end, c.landmark)
			if h < limit {
				return p
			}
			if h < c.landmark {
				p += c.jump
			}
		}
		if end == len(data) {
			return 0
		}
		limit, end = c.late, len(data)
	}
}

// warm returns H(p). Callers hold window <= p <= len(data).
func (c *Cutter) warm(data []byte, p int) uint64 {
	var h uint64
	for _, b := range data[p-window : p] {
		h = h<<1 + c.gear[b]
	}
	return h
}

// scan goes from position p, whose hash is h, to the first position in
// p+1..end whose hash is below limit, and returns both. When there is none it
// returns end and the greatest hash. Four bytes a step: the sums of two bytes
// do not wait for h, which halves the chain of dependent operations.
func scan(gear *[256]uint64, h uint64, data []byte, p, end int, limit uint64) (int, uint64) {
	for end-p >= 4 {
		b := (*[4]byte)(data[p:])
		g0, g2 := gear[b[0]], gear[b[2]]
		h1 := h<<1 + g0
		if h1 < limit {
			return p + 1, h1
		}
		h2 := h<<2 + (g0<<1 + gear[b[1]])
		if h2 < limit {
			return p + 2, h2
		}
		h3 := h2<<1 + g2
		if h3 < limit {
			return p + 3, h3
		}
		h = h2<<2 + (g2<<1 + gear[b[3]])
		p += 4
		if h < limit {
			return p, h
		}
	}
	for ; p < end; p++ {
		h = h<<1 + gear[data[p]]
		if h < limit {
			return p + 1, h
		}
	}
	return end, ^uint64(0)
}
