package dirblob

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
)

// contenders opens both drivers in new folders on the same volume.
func contenders(b *testing.B, run func(*testing.B, *blob.Bucket)) {
	b.Run("dirblob", func(b *testing.B) {
		bucket, err := OpenBucket(b.TempDir(), nil)
		require.NoError(b, err)
		defer func() { _ = bucket.Close() }()
		run(b, bucket)
	})
	b.Run("fileblob", func(b *testing.B) {
		bucket, err := fileblob.OpenBucket(b.TempDir(), &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
		require.NoError(b, err)
		defer func() { _ = bucket.Close() }()
		run(b, bucket)
	})
}

func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return p
}

// BenchmarkWrite16MiB writes packs; it overwrites a few keys, not to fill the disk.
func BenchmarkWrite16MiB(b *testing.B) {
	data := noise(16 << 20)
	contenders(b, func(b *testing.B, bucket *blob.Bucket) {
		b.SetBytes(int64(len(data)))
		for i := 0; b.Loop(); i++ {
			require.NoError(b, bucket.Upload(b.Context(), fmt.Sprintf("data/%02d/pack", i%4), bytes.NewReader(data), plainType))
		}
	})
}

// BenchmarkCreateExclusive creates objects of 300 bytes in 16 folders.
func BenchmarkCreateExclusive(b *testing.B) {
	data := noise(300)
	for _, lanes := range []int{1, 16} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			contenders(b, func(b *testing.B, bucket *blob.Bucket) {
				var n atomic.Int64
				b.SetParallelism(lanes) // times GOMAXPROCS
				create := func() error {
					i := n.Add(1)
					return bucket.WriteAll(context.Background(), fmt.Sprintf("data/%02d/%08d", i%16, i), data,
						&blob.WriterOptions{ContentType: defaultType, IfNotExist: true})
				}
				if lanes == 1 {
					for b.Loop() {
						require.NoError(b, create())
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := create(); err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}

// BenchmarkReadRange reads 64 KiB at varying places of a pack of 16 MiB.
func BenchmarkReadRange(b *testing.B) {
	const size, length = 16 << 20, 64 << 10
	data := noise(size)
	contenders(b, func(b *testing.B, bucket *blob.Bucket) {
		require.NoError(b, bucket.WriteAll(b.Context(), "data/aa/pack", data, plainType))
		buf := make([]byte, length)
		b.SetBytes(length)
		for i := 0; b.Loop(); i++ {
			r, err := bucket.NewRangeReader(b.Context(), "data/aa/pack", int64(i*7919*4096%(size-length)), length, nil)
			require.NoError(b, err)
			_, err = io.ReadFull(r, buf)
			require.NoError(b, err)
			require.NoError(b, r.Close())
		}
	})
}

// BenchmarkListPage lists all of a folder of 20,000 objects in pages of 1000.
func BenchmarkList(b *testing.B) {
	const objects = 20_000
	contenders(b, func(b *testing.B, bucket *blob.Bucket) {
		fill(b, bucket, objects)
		for b.Loop() {
			it, n := bucket.List(&blob.ListOptions{Prefix: "flat/"}), 0
			for ; ; n++ {
				if _, err := it.Next(b.Context()); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
			require.Equal(b, objects, n)
		}
	})
}

// fill makes empty objects from many goroutines.
func fill(b *testing.B, bucket *blob.Bucket, objects int) {
	b.Helper()
	var n atomic.Int64
	done := make(chan error)
	const lanes = 64
	for range lanes {
		go func() {
			for {
				i := n.Add(1)
				if i > int64(objects) {
					done <- nil
					return
				}
				if err := bucket.WriteAll(context.Background(), fmt.Sprintf("flat/%08d", i), nil, plainType); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range lanes {
		require.NoError(b, <-done)
	}
}
