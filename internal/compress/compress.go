// Package compress turns a frame, a run of bytes of one or several chunks,
// into the form it is stored in, and back.
//
// # Stored forms, version 1 (frozen)
//
// A codec byte, kept beside the stored form, says how to read it. The size n
// of the frame is kept there as well.
//
//	0 Raw      the frame itself
//	1 Zstd     one Zstandard frame of the n bytes
//	2 Samples  a parameter byte, then one Zstandard frame of n filtered bytes
//
// The Zstandard frame is one of RFC 8878 with these fields: Single_Segment_flag
// 1, Frame_Content_Size n, no checksum, no dictionary, unused and reserved bits
// 0. Nothing follows its last block. A decoder refuses everything else, so one
// stored form cannot hold bytes that are not accounted for, and needs no more
// memory than n. Checksums are left out because the identity of every chunk is
// checked after decoding.
//
// Codec 2 is for samples of 16 bits, little-endian, as in uncompressed DICOM
// images and PCM audio. In the parameter byte bit 0 is the offset o of the
// first sample, bit 1 is the distance less one, d = 1 or 2, of the sample that
// is subtracted, and the others are 0. With m = (n-o)/2 samples x[0..m-1],
// rounded down, and x[i] = 0 for i < 0:
//
//	y[i] = x[i] - x[i-d] + 128   (mod 2^16)
//
// The filtered bytes are the first o bytes of the frame, the m low bytes of y,
// the m high bytes of y, and the last byte of the frame when n-o is odd. The
// 128 makes the high bytes of small differences of either sign equal. When n
// is 0, o is 0.
package compress

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Codecs, the first field of every stored form. Part of the format.
const (
	Raw     byte = 0 // not compressed
	Zstd    byte = 1 // one Zstandard frame
	Samples byte = 2 // filtered 16-bit samples in one Zstandard frame
)

// Level trades time for size when data is written. It does not change how data
// is read.
type Level int

// The levels, as measured on one core with pages of a database in frames of
// 512 KiB to 1 MiB. On JSON the sizes differ by half of that.
const (
	Fastest  Level = iota // the default: about 200 MB/s
	Balanced              // three fifths of the speed, 7 % smaller
	Smallest              // a third of the speed, 11 % smaller
)

// Class is what a frame looks like, which decides what is tried on it.
type Class uint8

// The classes. The zero value lets Encode find out.
const (
	Unknown Class = iota // not looked at yet
	Plain                // worth compressing
	Dense                // compressed or encrypted before: stored as it is
	Sampled              // may be 16-bit samples: the filter is tried
)

var (
	// ErrMalformed is returned for a stored form that breaks the format.
	ErrMalformed = errors.New("compress: stored form is malformed: the object is damaged or forged")
	// ErrCodec is returned for a codec that this version does not know.
	ErrCodec = errors.New("compress: unknown codec: written by a newer version, or damaged")
)

// window is how far back a match may lie, in bytes. It bounds the memory of an
// Encoder; more of it gained under 1 % in frames of 4 MiB.
const window = 1 << 20

// Encoder compresses frames one after the other. It must not be used by two
// goroutines at a time. It holds 3 MiB (4 MiB at Balanced, 7 MiB at Smallest),
// and once it met samples a buffer as long as the longest frame and, at levels
// other than Fastest, 3 MiB more.
// The zero value is not usable; see [NewEncoder].
type Encoder struct {
	main    *zstd.Encoder
	entropy *zstd.Encoder // for filtered samples, which have few matches to find
	planes  []byte        // filtered samples
	trial   trial
}

// NewEncoder returns an Encoder of a level. An unknown level is an error.
func NewEncoder(level Level) (*Encoder, error) {
	var zl zstd.EncoderLevel
	switch level {
	case Fastest:
		zl = zstd.SpeedFastest
	case Balanced:
		zl = zstd.SpeedDefault
	case Smallest:
		zl = zstd.SpeedBetterCompression
	default:
		return nil, fmt.Errorf("compress: unknown level %d", level)
	}
	e := new(Encoder)
	var err error
	if e.main, err = newZstd(zl); err != nil {
		return nil, err
	}
	e.entropy = e.main
	if zl != zstd.SpeedFastest {
		e.entropy, err = newZstd(zstd.SpeedFastest)
	}
	return e, err
}

func newZstd(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	w, err := zstd.NewWriter(nil,
		// The window first: the fastest level halves the size of blocks otherwise.
		zstd.WithWindowSize(window),
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true),
		// Literals are always entropy coded: samples and 8-bit images have few
		// matches. Dense data, for which this is slow, never gets here.
		zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, fmt.Errorf("compress: cannot make an encoder: %w", err)
	}
	return w, nil
}

// Encode appends the stored form of src to dst and returns the longer slice
// and the codec. The stored form is never longer than src. Hint is what
// [Classify] said of src or of the file it is from; Unknown makes Encode ask.
// Dst and src must not overlap. It allocates only while dst or the buffers of
// the Encoder are too small for a frame of this length.
func (e *Encoder) Encode(dst, src []byte, hint Class) (out []byte, codec byte) {
	if hint == Unknown {
		hint = Classify(src)
	}
	dst = slices.Grow(dst, len(src)+slack(len(src)))
	start := len(dst)
	switch hint {
	case Dense:
		return append(dst, src...), Raw
	case Sampled:
		f, ok := e.trial.choose(e.entropy, src)
		if !ok {
			break
		}
		e.planes = f.apply(e.planes[:0], src)
		dst = append(dst, byte(f))
		dst = e.entropy.EncodeAll(e.planes, dst)
		if pays(len(dst)-start, len(src)) {
			return dst, Samples
		}
		return append(dst[:start], src...), Raw
	}
	dst = e.main.EncodeAll(src, dst)
	if pays(len(dst)-start, len(src)) {
		return dst, Zstd
	}
	return append(dst[:start], src...), Raw
}

// pays says whether a stored form gains enough, 2 %, to be worth decoding.
func pays(stored, size int) bool { return stored < size-size/50 }

// slack is by how much a Zstandard frame of n bytes can be longer than they.
func slack(n int) int { return 32 + 3*(n>>16) }

// Decoder restores frames one after the other. It must not be used by two
// goroutines at a time. It holds 200 KiB and, once it met samples, a
// buffer as long as the longest frame. The zero value is not usable; see
// [NewDecoder].
type Decoder struct {
	zstd   *zstd.Decoder
	planes []byte
}

// NewDecoder returns a Decoder.
func NewDecoder() (*Decoder, error) {
	r, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("compress: cannot make a decoder: %w", err)
	}
	return &Decoder{zstd: r}, nil
}

// Decode appends to dst the size bytes whose stored form is src, and returns
// the longer slice. Size must come from an authenticated place: that much
// memory is used, and at most twice as much for samples. A stored form that
// would give more or fewer bytes is refused before or while it is read.
// Dst and src must not overlap.
//
// On error it returns dst as it came and ErrMalformed or ErrCodec; the bytes
// behind len(dst) may have been overwritten.
func (d *Decoder) Decode(dst []byte, codec byte, src []byte, size int) ([]byte, error) {
	if size < 0 {
		return dst, ErrMalformed
	}
	switch codec {
	case Raw:
		if len(src) != size {
			return dst, ErrMalformed
		}
		return append(dst, src...), nil
	case Zstd:
		return d.inflate(dst, src, size)
	case Samples:
		if len(src) == 0 || !filter(src[0]).valid() || filter(src[0]).offset() > size {
			return dst, ErrMalformed
		}
		planes, err := d.inflate(d.planes[:0], src[1:], size)
		if err != nil {
			return dst, err
		}
		d.planes = planes
		return filter(src[0]).undo(dst, planes), nil
	}
	return dst, ErrCodec
}

// overrun is room behind the output that lets the decoder copy in wide steps.
const overrun = 16

// inflate appends the contents of a Zstandard frame, size bytes, to dst.
func (d *Decoder) inflate(dst, src []byte, size int) ([]byte, error) {
	if !oneFrame(src, size) {
		return dst, ErrMalformed
	}
	dst = slices.Grow(dst, size+overrun)
	n := len(dst)
	out, err := d.zstd.DecodeAll(src, dst[n:n:n+size+overrun])
	if err != nil || len(out) != size {
		return dst, ErrMalformed
	}
	return dst[:n+size], nil
}
