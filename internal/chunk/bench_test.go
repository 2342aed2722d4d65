package chunk_test

import (
	"testing"

	"github.com/carekeep/carekeep/internal/chunk"
)

func BenchmarkCut(b *testing.B) {
	for name, data := range map[string][]byte{
		"random": randomBytes(32<<20, 1), "text": recordText(32<<20, 2), "zeros": make([]byte, 32<<20),
	} {
		b.Run(name, func(b *testing.B) {
			c := newCutter(b, testKey(), chunk.DefaultParams())
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				eachChunk(c, data, func([]byte) {})
			}
		})
	}
}
