package dirblob

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"io/fs"
)

// defaultType is the content type of an object without stored attributes.
const defaultType = "application/octet-stream"

// The trailer that holds attributes is, from front to back: JSON, zero bytes, and a footer of
//
//	4 bytes  length of the whole trailer, little endian
//	4 bytes  length of the JSON
//	4 bytes  CRC-32C of the JSON and the eight bytes before
//	16 bytes magic
//
// The zero bytes bring the length of the file to trailerRest modulo trailerStep,
// so that a stat tells of almost every plain object that it has no trailer.
// A plain object that happens to look as if it had one gets an empty one.
const (
	trailerMagic = "dirblob attrs 1\n"
	trailerStep  = 512
	trailerRest  = 347
	footerSize   = 12 + len(trailerMagic)
	maxTrailer   = 1 << 20
)

// attributes are what an object carries besides its bytes.
type attributes struct {
	CacheControl       string            `json:"cache_control,omitempty"`
	ContentDisposition string            `json:"content_disposition,omitempty"`
	ContentEncoding    string            `json:"content_encoding,omitempty"`
	ContentLanguage    string            `json:"content_language,omitempty"`
	ContentType        string            `json:"content_type,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
}

// plain is whether nothing needs to be stored.
func (a *attributes) plain() bool {
	return a.CacheControl == "" && a.ContentDisposition == "" && a.ContentEncoding == "" &&
		a.ContentLanguage == "" && (a.ContentType == "" || a.ContentType == defaultType) && len(a.Metadata) == 0
}

// contentType never returns "".
func (a *attributes) contentType() string {
	if a.ContentType == "" {
		return defaultType
	}
	return a.ContentType
}

// mayHaveTrailer is whether a file of this size can have a trailer at all.
func mayHaveTrailer(size int64) bool {
	return size%trailerStep == trailerRest && size >= int64(footerSize)
}

// makeTrailer returns the trailer for an object of size bytes.
func makeTrailer(a *attributes, size int64) ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil || len(text) > maxTrailer-trailerStep-footerSize {
		return nil, invalid("store the attributes: they are too large, keep them below a mebibyte")
	}
	length := len(text) + footerSize
	length += int((2*trailerStep + trailerRest - (size+int64(length))%trailerStep) % trailerStep)
	out := make([]byte, length)
	copy(out, text)
	footer := out[length-footerSize:]
	binary.LittleEndian.PutUint32(footer, uint32(length))
	binary.LittleEndian.PutUint32(footer[4:], uint32(len(text)))
	binary.LittleEndian.PutUint32(footer[8:], trailerSum(text, footer[:8]))
	copy(footer[12:], trailerMagic)
	return out, nil
}

func trailerSum(text, lengths []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(text, table), table, lengths)
}

// looksTrailed is whether the file of this size ends as a trailer does.
func looksTrailed(r io.ReaderAt, size int64) (bool, error) {
	if !mayHaveTrailer(size) {
		return false, nil
	}
	var end [len(trailerMagic)]byte
	if err := readFull(r, end[:], size-int64(len(end))); err != nil {
		return false, err
	}
	return string(end[:]) == trailerMagic, nil
}

// readTrailer returns the length of the object's bytes in a file of this size,
// and its attributes. A plain file costs no read, except for one file size in 512.
func readTrailer(r io.ReaderAt, size int64) (int64, attributes, error) {
	var a attributes
	if found, err := looksTrailed(r, size); err != nil || !found {
		return size, a, err
	}
	footer := make([]byte, footerSize)
	if err := readFull(r, footer, size-int64(footerSize)); err != nil {
		return 0, a, err
	}
	length := int64(binary.LittleEndian.Uint32(footer))
	textLen := int64(binary.LittleEndian.Uint32(footer[4:]))
	if length > min(size, maxTrailer) || length < int64(footerSize) || textLen > length-int64(footerSize) {
		return 0, a, errBadTrailer
	}
	trailer := make([]byte, length-int64(footerSize))
	if err := readFull(r, trailer, size-length); err != nil {
		return 0, a, err
	}
	text, pad := trailer[:textLen], trailer[textLen:]
	if trailerSum(text, footer[:8]) != binary.LittleEndian.Uint32(footer[8:]) ||
		len(bytes.Trim(pad, "\x00")) > 0 || json.Unmarshal(text, &a) != nil {
		return 0, attributes{}, errBadTrailer
	}
	return size - length, a, nil
}

// readFull is io.ReadFull at an offset; a file that ends too early has changed under us.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// isObject is whether a file can be an object: not a folder, pipe or device.
func isObject(st fs.FileInfo) bool { return st.Mode().IsRegular() }
