package seal

import "errors"

// Sealer makes one stream object piece by piece, in place: plaintext is copied to where its ciphertext
// will lie and sealed a segment at a time, so an object needs no second buffer. It makes what
// [Suite.SealStream] makes. It is used by one goroutine.
type Sealer struct {
	suite Suite
	st    *Stream
	w     *worker
	buf   []byte // sealed segments, then the plaintext of the pending one
	start int    // of the pending segment in buf
	room  int    // plaintext bytes of a full pending segment
	next  uint32 // number of the pending segment
	plain int64
}

// NewSealer begins an object in buf's memory, from its start; what buf held is lost. The buffer grows if
// it is too small. See [Suite.SealStream] for the other parameters.
func (s Suite) NewSealer(buf, header, key, aad []byte) (*Sealer, error) {
	if !s.Valid() {
		return nil, errSuite
	}
	if len(header) != HeaderSize {
		return nil, errors.New("seal: stream header is not 4 bytes")
	}
	buf = append(buf[:0], header...)
	buf = append(buf, tinkHeaderSize)
	buf = append(buf, make([]byte, saltSize+prefixSize)...)
	Random(buf[HeaderSize+1:])
	st, err := s.OpenStream(key, aad, buf)
	if err != nil {
		return nil, err
	}
	return &Sealer{
		suite: s, st: st, w: st.worker(), buf: buf, start: len(buf),
		room: SegmentSize - int(s.tagSize()) - PrologueSize,
	}, nil
}

// Len is how many bytes of plaintext were written.
func (x *Sealer) Len() int64 { return x.plain }

// Write appends plaintext. It never fails.
func (x *Sealer) Write(p []byte) (int, error) {
	n := len(p)
	x.plain += int64(n)
	for len(p) > 0 {
		pending := len(x.buf) - x.start
		if pending == x.room { // full, and not the last
			x.flush(false)
			pending = 0
		}
		k := min(len(p), x.room-pending)
		x.buf = append(x.buf, p[:k]...)
		p = p[k:]
	}
	return n, nil
}

// Close seals the last segment and returns the object, which lies in the buffer. The Sealer is spent.
func (x *Sealer) Close() []byte {
	x.flush(true)
	x.st.release(x.w)
	return x.buf
}

func (x *Sealer) flush(last bool) {
	// The plaintext is where the ciphertext goes: every suite seals with exact overlap.
	x.buf = x.w.seal(x.buf[:x.start], x.buf[x.start:], x.st.nonce(x.w, x.next, last))
	x.start = len(x.buf)
	x.room = SegmentSize - int(x.suite.tagSize())
	x.next++
}
