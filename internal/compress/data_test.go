package compress_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The makers below give n bytes of one kind, the same for the same seed.

func random(n int, seed uint64) []byte {
	out := make([]byte, n)
	rand.NewChaCha8([32]byte{1: byte(seed), 2: byte(seed >> 8)}).Read(out)
	return out
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 42)) }

func word(r *rand.Rand) string {
	const syllables = "tanemirosilakepodufavibeguzoha"
	w := ""
	for range 1 + r.IntN(4) {
		at := 2 * r.IntN(len(syllables)/2)
		w += syllables[at : at+2]
	}
	return w
}

// fhir is a line for each of many observations.
func fhir(n int, seed uint64) []byte {
	r := source(seed)
	var out []byte
	for len(out) < n {
		out = fmt.Appendf(out, `{"resourceType":"Observation","id":"%08x-%04x","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"%d-%d"}],"text":"%s"},"subject":{"reference":"Patient/%d"},"effectiveDateTime":"2026-%02d-%02dT%02d:%02d:00+10:00","valueQuantity":{"value":%.1f,"unit":"mmol/L"},"note":[{"text":"%s %s %s"}]}`+"\n",
			r.Uint32(), r.IntN(65536), r.IntN(99999), r.IntN(9), word(r), r.IntN(5000), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.Float64()*20, word(r), word(r), word(r))
	}
	return out[:n]
}

// pages looks like a table of a database: 4 KiB pages of records in no order,
// with a header, offsets and a free gap.
func pages(n int, seed uint64) []byte {
	r := source(seed)
	out := make([]byte, 0, n+4096)
	for len(out) < n {
		page := make([]byte, 4096)
		page[0] = 13
		at, cells := 4096, 0
		for {
			cell := binary.AppendUvarint(nil, uint64(r.IntN(1<<20)))
			cell = append(cell, 7, 1, 23, 4, 6)
			cell = binary.BigEndian.AppendUint32(cell, r.Uint32())
			cell = fmt.Appendf(cell, "%s %s2026-%02d-%02d%s", word(r), word(r), 1+r.IntN(12), 1+r.IntN(28), word(r))
			cell = binary.BigEndian.AppendUint64(cell, math.Float64bits(float64(r.IntN(400))/10))
			if at-len(cell) < 8+2*cells+40 {
				break
			}
			at -= len(cell)
			copy(page[at:], cell)
			binary.BigEndian.PutUint16(page[8+2*cells:], uint16(at))
			cells++
		}
		binary.BigEndian.PutUint16(page[3:], uint16(cells))
		out = append(out, page...)
	}
	return out[:n]
}

// image16 is rows of 512 samples of 12 bits in 16: shapes, shade and noise.
func image16(n int, seed uint64) []byte {
	r := source(seed)
	out := make([]byte, 0, n+2)
	for i := 0; len(out) < n; i++ {
		x, y := float64(i%512-256), float64(i/512%512-256)
		v := 40.0
		if x*x/1.8+y*y < 200*200 {
			v = 1040 + 60*math.Sin(x/40)*math.Cos(y/31)
		}
		if (x-90)*(x-90)+y*y < 70*70 {
			v = 220
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(max(0, v+12*r.NormFloat64())))
	}
	return out[:n]
}

// speech is 16-bit PCM of some channels at 16 kHz.
func speech(n, channels int, seed uint64) []byte {
	r := source(seed)
	var out []byte
	for i := 0; len(out) < n; i++ {
		t := float64(i) / 16000
		loud := 3000 * math.Abs(math.Sin(t*3))
		for c := range channels {
			v := loud*math.Sin(2*math.Pi*(180+float64(c)*37)*t) + loud/3*math.Sin(2*math.Pi*910*t+float64(c)) + 30*r.NormFloat64()
			out = binary.LittleEndian.AppendUint16(out, uint16(int16(v)))
		}
	}
	return out[:n]
}

// jpegs is scanned pages, one after the other.
func jpegs(n int, seed uint64) []byte {
	r := source(seed)
	var out bytes.Buffer
	for out.Len() < n {
		m := image.NewGray(image.Rect(0, 0, 800, 800))
		for i := range m.Pix {
			m.Pix[i] = uint8(225 + 6*r.NormFloat64())
		}
		for range 4000 {
			x, y := r.IntN(800), r.IntN(80)*10
			for d := range 7 {
				m.SetGray(x, y+d, color.Gray{Y: 40})
			}
		}
		_ = jpeg.Encode(&out, m, &jpeg.Options{Quality: 75}) // a Buffer never fails
	}
	return out.Bytes()[:n]
}

func utf16Text(n int, seed uint64) []byte {
	var out []byte
	for _, b := range fhir(n/2+1, seed) {
		out = append(out, b, 0)
	}
	return out[:n]
}

func floats(n int, seed uint64) []byte {
	r := source(seed)
	var out []byte
	for len(out) < n {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(36+r.NormFloat64()))
	}
	return out[:n]
}

func base64Text(n int, seed uint64) []byte {
	return []byte(base64.StdEncoding.EncodeToString(random(n, seed)))[:n]
}

// odd puts one byte before data, so that samples start at an odd offset.
func odd(data []byte) []byte { return append([]byte{'x'}, data...) }

// kinds is one frame of every kind.
func kinds(t testing.TB, n int) map[string][]byte {
	t.Helper()
	all := map[string][]byte{
		"empty": {}, "zeros": make([]byte, n), "random": random(n, 1), "fhir": fhir(n, 2), "pages": pages(n, 3),
		"image": image16(n, 4), "image, odd": odd(image16(n-1, 4)), "mono": speech(n, 1, 5), "stereo": speech(n, 2, 6),
		"jpeg": jpegs(n, 7), "utf16": utf16Text(n, 8), "floats": floats(n, 9), "base64": base64Text(n, 10),
	}
	all["text then jpeg"] = append(bytes.Clone(all["fhir"][:n/2]), all["jpeg"][:n/2]...)
	counter := make([]byte, n)
	for i := range counter {
		counter[i] = byte(i)
	}
	all["counter"] = counter
	for name, b := range all {
		require.LessOrEqual(t, len(b), n, name)
	}
	return all
}
