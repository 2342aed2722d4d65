package chunk

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// PagesHead is the number of bytes at the start of a file that [DetectPages]
// wants to see; fewer are enough for some formats only.
const PagesHead = 256

const (
	pageUnit     = 16 << 10 // a multiple of every common page size
	bigPageUnit  = 64 << 10 // keeps the index of a big file small
	bigPagedFile = 16 << 30
)

// DetectPages says whether a file is a database that changes in whole pages at
// fixed places, and in units of how many bytes to cut it from offset 0 on.
// Head is the start of the file (see [PagesHead]) and size its length in
// bytes. The unit is 16 KiB, 64 KiB when the file is longer than 16 GiB, and
// never less than a page. It depends on the contents only, so two hosts agree.
//
// Recognised are SQLite, Microsoft Access (JET and ACE), Firebird, InnoDB
// table spaces, SQL Server data files, ESE and PostgreSQL relations. A wrong
// answer costs efficiency, never correctness: any cut can be restored.
func DetectPages(head []byte, size int64) (unit uint32, ok bool) {
	var page uint32
	for _, detect := range []func([]byte, int64) uint32{
		sqlitePage, accessPage, firebirdPage, innodbPage, mdfPage, esePage, postgresPage,
	} {
		if page = detect(head, size); page != 0 {
			break
		}
	}
	if page == 0 {
		return 0, false
	}
	unit = pageUnit
	if size > bigPagedFile {
		unit = bigPageUnit
	}
	return max(unit, page), true
}

// pageSize returns n when it is a power of two in lo..hi, else 0.
func pageSize(n, lo, hi uint32) uint32 {
	if n < lo || n > hi || bits.OnesCount32(n) != 1 {
		return 0
	}
	return n
}

// sqlitePage reads the database header: magic, then the page size as a
// big-endian 16-bit number in which 1 stands for 65536.
func sqlitePage(head []byte, _ int64) uint32 {
	if len(head) < 18 || !bytes.HasPrefix(head, []byte("SQLite format 3\x00")) {
		return 0
	}
	n := uint32(binary.BigEndian.Uint16(head[16:]))
	if n == 1 {
		n = 1 << 16
	}
	return pageSize(n, 512, 1<<16)
}

// accessPage knows .mdb (2 or 4 KiB pages) and .accdb (4 KiB).
func accessPage(head []byte, _ int64) uint32 {
	if bytes.HasPrefix(head, []byte("\x00\x01\x00\x00Standard Jet DB\x00")) ||
		bytes.HasPrefix(head, []byte("\x00\x01\x00\x00Standard ACE DB\x00")) {
		return 4096
	}
	return 0
}

// firebirdPage reads the header page: type 1, page number 0 at 12, page size
// at 16, on-disk structure 10 to 14 with the Firebird flag at 18.
func firebirdPage(head []byte, _ int64) uint32 {
	if len(head) < 20 || head[0] != 1 || binary.LittleEndian.Uint32(head[12:]) != 0 {
		return 0
	}
	ods := binary.LittleEndian.Uint16(head[18:])
	if ods&0x8000 == 0 || ods&0x7fff < 10 || ods&0x7fff > 14 {
		return 0
	}
	return pageSize(uint32(binary.LittleEndian.Uint16(head[16:])), 1024, 1<<15)
}

// innodbPage reads page 0 of a table space: page number 0 at 4, page type 8
// (file space header) at 24, the space id at 34 again at 38, a zero at 42, the
// number of pages at 46 and the flags at 54, which hold the page size.
func innodbPage(head []byte, size int64) uint32 {
	if len(head) < 58 {
		return 0
	}
	be := binary.BigEndian
	if be.Uint32(head[4:]) != 0 || be.Uint16(head[24:]) != 8 ||
		be.Uint32(head[34:]) != be.Uint32(head[38:]) || be.Uint32(head[42:]) != 0 {
		return 0
	}
	flags := be.Uint32(head[54:])
	shift := flags >> 6 & 15
	if flags&0x10 != 0 && flags&^0xff == 0 { // MariaDB 10.5 "full_crc32"
		shift = flags & 15
	}
	page := uint32(16 << 10)
	if shift != 0 {
		page = pageSize(512<<shift, 4096, 1<<16)
	}
	// Compressed table spaces have smaller pages, so the count bounds from
	// below only by the smallest of them, 1 KiB.
	if pages := int64(be.Uint32(head[46:])); pages == 0 || pages<<10 > size {
		return 0
	}
	return page
}

// mdfPage reads the file header page of SQL Server: header version 1, page
// type 15, page 0 of file 1 or more, in pages of 8 KiB.
func mdfPage(head []byte, size int64) uint32 {
	if len(head) < 96 || size < 8192 || size%8192 != 0 {
		return 0
	}
	if head[0] != 1 || head[1] != 15 || binary.LittleEndian.Uint32(head[32:]) != 0 {
		return 0
	}
	file := binary.LittleEndian.Uint16(head[36:])
	noLinks := bytes.Equal(head[8:14], make([]byte, 6)) && bytes.Equal(head[16:22], make([]byte, 6))
	if file == 0 || !noLinks {
		return 0
	}
	return 8192
}

// esePage reads the header of a Microsoft ESE database: signature at 4, page
// size at 236.
func esePage(head []byte, _ int64) uint32 {
	if len(head) < 240 || binary.LittleEndian.Uint32(head[4:]) != 0x89abcdef {
		return 0
	}
	return pageSize(binary.LittleEndian.Uint32(head[236:]), 2048, 1<<15)
}

// postgresPage reads the header of the first page of a relation. It has no
// magic of its own; size and layout version 4 stand at 18 (0x2004), and lower,
// upper and special offsets before it must be in order and inside the page.
func postgresPage(head []byte, size int64) uint32 {
	if len(head) < 24 || size < 8192 || size%8192 != 0 {
		return 0
	}
	le := binary.LittleEndian
	lower, upper, special := le.Uint16(head[12:]), le.Uint16(head[14:]), le.Uint16(head[16:])
	inOrder := lower >= 24 && lower <= upper && upper <= special && special <= 8192
	if le.Uint16(head[18:]) != 0x2004 || !inOrder || le.Uint16(head[10:]) > 7 {
		return 0
	}
	return 8192
}
