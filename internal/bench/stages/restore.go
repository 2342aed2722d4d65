package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/carekeep/carekeep/internal/compress"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/pack"
	"github.com/carekeep/carekeep/internal/seal"
)

// way says what is done with each pack.
type way struct {
	digest, open, decode, names bool
	write                       func(place map[format.ID][]target, frame format.Frame, plain []byte) error
	place                       map[format.ID][]target
}

// checkLines measures the way of a full check, which verifies packs as they lie in the store first.
func checkLines(ctx context.Context, t *table, s *packSet) error {
	t.head("check")
	return s.lines(ctx, t, []string{"read packs", "+ SHA-256", "+ decrypt", "+ decompress", "+ HMAC"}, []way{
		{}, {digest: true}, {digest: true, open: true}, {digest: true, open: true, decode: true},
		{digest: true, open: true, decode: true, names: true},
	})
}

// restoreLines measures the way of a restore into an empty folder.
func restoreLines(ctx context.Context, t *table, s *packSet, files *fileSet, work string) error {
	t.head("restore")
	err := s.lines(ctx, t, []string{"read packs", "+ decrypt", "+ decompress", "+ HMAC"}, []way{
		{}, {open: true}, {open: true, decode: true}, {open: true, decode: true, names: true},
	})
	if err != nil {
		return err
	}
	var out string
	empty := func() (err error) { out, err = os.MkdirTemp(work, "restored-*"); return err }
	if err := t.line("make and write files alone", empty, func() error { return writeFiles(ctx, out, files, s.refs) }); err != nil {
		return err
	}
	place := s.places()
	return t.line("all of it", empty, func() error {
		if err := folders(out, files); err != nil {
			return err
		}
		w := way{open: true, decode: true, names: true, place: place}
		w.write = func(place map[format.ID][]target, frame format.Frame, plain []byte) error {
			return writeFrame(out, files, place, frame, plain)
		}
		return s.each(ctx, w)
	})
}

func (s *packSet) lines(ctx context.Context, t *table, names []string, ways []way) error {
	for i, w := range ways {
		if err := t.line(names[i], nil, func() error { return s.each(ctx, w) }); err != nil {
			return err
		}
	}
	return nil
}

// each takes every pack one way, as many at once as there are cores.
func (s *packSet) each(ctx context.Context, w way) error {
	var next atomic.Int64
	return parallel(ctx, runtime.GOMAXPROCS(0), func(ctx context.Context, _ int) error {
		prf, err := seal.NewPRF(s.keys.id)
		if err != nil {
			return err
		}
		dec, err := compress.NewDecoder()
		if err != nil {
			return err
		}
		u := &unpacker{set: s, way: w, prf: prf, dec: dec}
		for i := next.Add(1) - 1; i < int64(len(s.packs)); i = next.Add(1) - 1 {
			if err := u.pack(ctx, &s.packs[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// unpacker takes one pack after the other.
type unpacker struct {
	set                  *packSet
	way                  way
	prf                  *seal.PRF
	dec                  *compress.Decoder
	object, plain, frame []byte
}

var errWrong = errors.New("a pack does not hold what was put into it")

func (u *unpacker) pack(ctx context.Context, p *packed) error {
	var err error
	if u.object, err = u.set.store.ReadRange(ctx, p.ref.Key(), 0, int64(p.ref.Size), u.object[:0]); err != nil {
		return err
	}
	if u.way.digest && sha256.Sum256(u.object) != p.ref.Hash {
		return errWrong
	}
	if !u.way.open {
		return nil
	}
	aad := pack.AAD(seal.T1, u.set.keys.repo, format.TypeData, u.set.keys.session, p.ref.Number)
	st, err := seal.T1.OpenStream(u.set.keys.stream, aad, u.object[:seal.PrologueSize])
	if err != nil {
		return err
	}
	if u.plain, _, err = st.Decrypt(u.plain[:0], 0, u.object, int64(p.ref.Size)); err != nil || !u.way.decode {
		return err
	}
	off := uint32(0)
	for _, f := range p.frames {
		if u.frame, err = u.dec.Decode(u.frame[:0], f.Codec, u.plain[off:off+f.Stored], int(f.Plain)); err != nil {
			return err
		}
		off += f.Stored
		if err := u.chunks(f); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) chunks(f format.Frame) error {
	if !u.way.names {
		return nil
	}
	start := uint32(0)
	for _, c := range f.Chunks {
		var id format.ID
		u.prf.Sum((*[32]byte)(&id), u.frame[start:start+c.Len])
		if id != c.ID {
			return errWrong
		}
		start += c.Len
	}
	if u.way.write == nil {
		return nil
	}
	return u.way.write(u.way.place, f, u.frame)
}

// writeFiles makes files of the right sizes, which hold anything: what the system asks for a restore, however
// the content is come by.
func writeFiles(ctx context.Context, out string, files *fileSet, refs [][]format.Ref) error {
	if err := folders(out, files); err != nil {
		return err
	}
	var next atomic.Int64
	return parallel(ctx, runtime.GOMAXPROCS(0), func(ctx context.Context, _ int) error {
		noise := make([]byte, frameSize)
		fill(noise)
		for i := next.Add(1) - 1; i < int64(len(files.names)) && ctx.Err() == nil; i = next.Add(1) - 1 {
			size := int64(0)
			for _, r := range refs[i] {
				size += r.Len
			}
			if err := writeFile(filepath.Join(out, files.names[i]), noise, size); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

func writeFile(name string, noise []byte, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for ; size > 0 && err == nil; size -= int64(len(noise)) {
		_, err = f.Write(noise[:min(size, int64(len(noise)))])
	}
	return errors.Join(err, f.Close())
}

// target is where a chunk belongs.
type target struct {
	file int
	off  int64
}

// places finds out where every chunk belongs.
func (s *packSet) places() map[format.ID][]target {
	m := map[format.ID][]target{}
	for file, refs := range s.refs {
		off := int64(0)
		for _, r := range refs {
			m[r.ID] = append(m[r.ID], target{file, off})
			off += r.Len
		}
	}
	return m
}

// folders makes the folders of the files.
func folders(out string, files *fileSet) error {
	made := map[string]bool{}
	for _, name := range files.names {
		dir := filepath.Dir(name)
		if made[dir] {
			continue
		}
		if err := os.MkdirAll(filepath.Join(out, dir), 0o700); err != nil {
			return err
		}
		made[dir] = true
	}
	return nil
}

// writeFrame writes the chunks of a frame to all files that want them. Neighbours are one write.
func writeFrame(out string, files *fileSet, place map[format.ID][]target, frame format.Frame, plain []byte) (err error) {
	var f *os.File
	file := -1
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	var at target // of what waits to be written
	var wait []byte
	write := func() error {
		if len(wait) == 0 {
			return nil
		}
		if file != at.file {
			if f != nil {
				if err := f.Close(); err != nil {
					return err
				}
			}
			file = at.file
			if f, err = os.OpenFile(filepath.Join(out, files.names[file]), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
				return err
			}
		}
		_, err := f.WriteAt(wait, at.off)
		return err
	}
	start := uint32(0)
	for _, c := range frame.Chunks {
		data := plain[start : start+c.Len]
		start += c.Len
		for i, t := range place[c.ID] {
			if i == 0 && len(wait) > 0 && t.file == at.file && t.off == at.off+int64(len(wait)) {
				wait = plain[int(start)-len(wait)-len(data) : start]
				continue
			}
			if err := write(); err != nil {
				return err
			}
			at, wait = t, data
		}
	}
	return write()
}
