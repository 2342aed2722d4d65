package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync/atomic"
)

// Stream opens segments of one stream object, in any order and from any number of goroutines. It holds
// the keys of this object only:
//
//	T1  AES key 32 bytes                = HKDF-SHA256(key, salt, info = header ‖ aad)
//	F1  AES key 32 ‖ HMAC key 32 bytes  = HKDF-SHA256(key, salt, info = header ‖ aad)
//
// The nonce of segment i is prefix(7) ‖ i(4, big-endian) ‖ last(1: 0 or 1), for F1 followed by four zero
// bytes. T1 seals a segment with AES-256-GCM and no associated data. F1 encrypts it with AES-256-CTR, the
// nonce as first counter block, and appends HMAC-SHA256(nonce ‖ ciphertext).
type Stream struct {
	suite    Suite
	prologue [PrologueSize]byte
	block    cipher.Block
	gcm      cipher.AEAD // T1 only
	macKey   []byte      // F1 only
	idle     atomic.Pointer[worker]
}

// OpenStream prepares random access to the object whose first 44 bytes are prologue; more may be given.
// Key is 32 bytes; aad is what was passed to [Suite.SealStream]. It reads no ciphertext yet, so a wrong
// key is found by the first [Stream.Decrypt].
func (s Suite) OpenStream(key, aad, prologue []byte) (*Stream, error) {
	if !s.Valid() {
		return nil, errSuite
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if len(prologue) < PrologueSize || prologue[HeaderSize] != tinkHeaderSize {
		return nil, fmt.Errorf("seal: stream prologue is malformed: %w", ErrAuthentication)
	}
	st := &Stream{suite: s, prologue: [PrologueSize]byte(prologue)}
	info := string(prologue[:HeaderSize]) + string(aad)
	salt := prologue[HeaderSize+1:][:saltSize]
	n := KeySize
	if s == F1 {
		n = 2 * KeySize
	}
	keys, err := Derive(key, salt, info, n)
	if err != nil {
		return nil, err
	}
	defer clear(keys[:KeySize])
	if st.block, err = aes.NewCipher(keys[:KeySize]); err != nil {
		return nil, fmt.Errorf("seal: prepare a stream: %w", err)
	}
	if s == F1 {
		st.macKey = keys[KeySize:]
		return st, nil
	}
	if st.gcm, err = cipher.NewGCM(st.block); err != nil {
		return nil, fmt.Errorf("seal: prepare a stream: %w", err)
	}
	return st, nil
}

// Format keeps the keys out of every fmt verb.
func (*Stream) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// worker is the scratch of one goroutine. A stream keeps one idle worker, so that a lone caller never
// allocates and callers that meet each pay a few hundred bytes.
type worker struct {
	gcm   cipher.AEAD  // T1
	block cipher.Block // F1
	mac   hash.Hash    // F1
	sum   [sha256.Size]byte
	buf   [aes.BlockSize]byte
}

func (st *Stream) worker() *worker {
	if w := st.idle.Swap(nil); w != nil {
		return w
	}
	w := &worker{gcm: st.gcm, block: st.block}
	if st.suite == F1 {
		w.mac = hmac.New(sha256.New, st.macKey)
	}
	return w
}

func (st *Stream) release(w *worker) { st.idle.Store(w) }

// nonce sets w's nonce for segment i. It is valid until the next call.
func (st *Stream) nonce(w *worker, i uint32, last bool) []byte {
	copy(w.buf[:], st.prologue[PrologueSize-prefixSize:])
	binary.BigEndian.PutUint32(w.buf[prefixSize:], i)
	w.buf[prefixSize+4] = 0
	if last {
		w.buf[prefixSize+4] = 1
	}
	if st.suite == F1 {
		return w.buf[:]
	}
	return w.buf[:prefixSize+5]
}

// seal appends one segment to dst. Plaintext may lie exactly where its ciphertext goes, and must not
// overlap the free capacity of dst otherwise.
func (w *worker) seal(dst, plaintext, nonce []byte) []byte {
	if w.gcm != nil {
		return w.gcm.Seal(dst, nonce, plaintext, nil)
	}
	n := len(dst)
	dst = slices.Grow(dst, len(plaintext)+sha256.Size)[:n+len(plaintext)]
	cipher.NewCTR(w.block, nonce).XORKeyStream(dst[n:], plaintext)
	return append(dst, w.tag(nonce, dst[n:])...)
}

// open appends the plaintext of one segment to dst, or returns dst and false if it is not authentic.
func (w *worker) open(dst, segment, nonce []byte) ([]byte, bool) {
	if w.gcm != nil {
		out, err := w.gcm.Open(dst, nonce, segment, nil)
		if err != nil {
			return dst, false
		}
		return out, true
	}
	if len(segment) < sha256.Size {
		return dst, false
	}
	ciphertext, tag := segment[:len(segment)-sha256.Size], segment[len(segment)-sha256.Size:]
	if !Equal(w.tag(nonce, ciphertext), tag) {
		return dst, false
	}
	n := len(dst)
	dst = slices.Grow(dst, len(ciphertext))[:n+len(ciphertext)]
	cipher.NewCTR(w.block, nonce).XORKeyStream(dst[n:], ciphertext)
	return dst, true
}

// tag is valid until the next call.
func (w *worker) tag(nonce, ciphertext []byte) []byte {
	w.mac.Reset()
	w.mac.Write(nonce)
	w.mac.Write(ciphertext)
	return w.mac.Sum(w.sum[:0])
}
