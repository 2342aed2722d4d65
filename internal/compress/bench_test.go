package compress_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/carekeep/carekeep/internal/compress"
)

// benchFrames is 4 MiB of each kind in frames of n bytes. With
// CAREKEEP_PRACTICE naming the folder of a made practice, its files are used.
func benchFrames(b *testing.B, n int) map[string][][]byte {
	const total = 4 << 20
	all := map[string][]byte{
		"pages": pages(total, 1), "fhir": fhir(total, 2), "jpeg": jpegs(total, 3), "image": image16(total, 4), "mono": speech(total, 1, 5),
	}
	if dir := os.Getenv("CAREKEEP_PRACTICE"); dir != "" {
		all = map[string][]byte{
			"database": readSome(b, filepath.Join(dir, "clinical.db"), total),
			"fhir":     readSome(b, filepath.Join(dir, "fhir"), total), "hl7": readSome(b, filepath.Join(dir, "hl7"), total),
			"scans": readSome(b, filepath.Join(dir, "scans"), total), "images": readSome(b, filepath.Join(dir, "images"), total),
			"audio": readSome(b, filepath.Join(dir, "audio"), total),
		}
	}
	out := map[string][][]byte{}
	for name, data := range all {
		for len(data) > 0 {
			m := min(n, len(data))
			out[name] = append(out[name], data[:m])
			data = data[m:]
		}
	}
	return out
}

// readSome returns up to total bytes of the files under root.
func readSome(b *testing.B, root string, total int) (out []byte) {
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(out) >= total {
			return err
		}
		data, err := os.ReadFile(path)
		out = append(out, data...)
		return err
	})
	if err != nil {
		b.Fatal("cannot read the practice")
	}
	return out[:min(len(out), total)]
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20} {
		for name, frames := range benchFrames(b, size) {
			for level := compress.Fastest; level <= compress.Smallest; level++ {
				b.Run(fmt.Sprintf("%s/%dK/level%d", name, size>>10, level), func(b *testing.B) {
					e, _ := codecs(b, level)
					benchEncode(b, e, frames)
				})
			}
		}
	}
}

func benchEncode(b *testing.B, e *compress.Encoder, frames [][]byte) {
	var in, out int
	var dst []byte
	for b.Loop() {
		in, out = 0, 0
		for _, f := range frames {
			dst, _ = e.Encode(dst[:0], f, compress.Unknown)
			in += len(f)
			out += len(dst)
		}
	}
	b.SetBytes(int64(in))
	b.ReportMetric(float64(in)/float64(out), "ratio")
}

func BenchmarkDecode(b *testing.B) {
	for name, frames := range benchFrames(b, 512<<10) {
		b.Run(name, func(b *testing.B) {
			e, d := codecs(b, compress.Fastest)
			var stored [][]byte
			var kind []byte
			in := 0
			for _, f := range frames {
				s, c := e.Encode(nil, f, compress.Unknown)
				stored, kind, in = append(stored, s), append(kind, c), in+len(f)
			}
			b.SetBytes(int64(in))
			var dst []byte
			for b.Loop() {
				for i, s := range stored {
					dst, _ = d.Decode(dst[:0], kind[i], s, len(frames[i]))
				}
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	for name, frames := range benchFrames(b, 256<<10) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				compress.Classify(frames[0])
			}
		})
	}
}
