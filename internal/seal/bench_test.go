package seal_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

const benchSize = 16 << 20

func benchSuites(b *testing.B, f func(b *testing.B, s seal.Suite)) {
	for _, s := range []seal.Suite{seal.T1, seal.F1} {
		b.Run(s.String(), func(b *testing.B) {
			b.ReportAllocs()
			f(b, s)
		})
	}
}

func BenchmarkSealStream(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		plaintext, dst := pattern(benchSize), make([]byte, 0, s.StreamSize(benchSize))
		b.SetBytes(benchSize)
		for b.Loop() {
			_, err := s.SealStream(dst, testHeader, fixed("k"), testAAD, plaintext)
			require.NoError(b, err)
		}
	})
}

// BenchmarkTinkStream is what SealStream would cost by way of Tink's writer.
func BenchmarkTinkStream(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		plaintext := pattern(benchSize)
		var dst bytes.Buffer
		dst.Grow(int(s.StreamSize(benchSize)))
		b.SetBytes(benchSize)
		for b.Loop() {
			dst.Reset()
			w, err := tinkStream(b, s, fixed("k")).NewEncryptingWriter(&dst, testAAD)
			require.NoError(b, err)
			_, err = io.Copy(w, bytes.NewReader(plaintext))
			require.NoError(b, err)
			require.NoError(b, w.Close())
		}
	})
}

func BenchmarkDecrypt(b *testing.B) {
	for name, span := range map[string]int64{"16MiB": benchSize, "64KiB": 60 << 10} {
		b.Run(name, func(b *testing.B) {
			benchSuites(b, func(b *testing.B, s seal.Suite) {
				object, err := s.SealStream(nil, testHeader, fixed("k"), testAAD, pattern(benchSize))
				require.NoError(b, err)
				size := int64(len(object))
				st, err := s.OpenStream(fixed("k"), testAAD, object)
				require.NoError(b, err)
				off, n := st.Span(0, span)
				part := object[off:min(off+n, size)]
				dst := make([]byte, 0, len(part))
				b.SetBytes(int64(len(part)))
				for b.Loop() {
					_, _, err := st.Decrypt(dst, off, part, size)
					require.NoError(b, err)
				}
			})
		})
	}
}

func BenchmarkOpenStream(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		object, err := s.SealStream(nil, testHeader, fixed("k"), testAAD, nil)
		require.NoError(b, err)
		for b.Loop() {
			_, err := s.OpenStream(fixed("k"), testAAD, object)
			require.NoError(b, err)
		}
	})
}

func BenchmarkPRF(b *testing.B) {
	for name, n := range map[string]int{"16KiB": 16 << 10, "256KiB": 256 << 10} {
		b.Run(name, func(b *testing.B) {
			prf, err := seal.NewPRF(fixed("k"))
			require.NoError(b, err)
			data := pattern(n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				var id [32]byte
				prf.Sum(&id, data)
			}
		})
	}
}

func BenchmarkSecret(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		for b.Loop() {
			sealed, err := s.Seal(fixed("k"), testAAD, fixed("plaintext"))
			require.NoError(b, err)
			_, err = s.Open(fixed("k"), testAAD, sealed)
			require.NoError(b, err)
		}
	})
}

func BenchmarkWrap(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		public, err := seal.RecipientPublic(s, fixed("recipient"))
		require.NoError(b, err)
		for b.Loop() {
			_, err := seal.Wrap(s, public, nil, fixed("k"))
			require.NoError(b, err)
		}
	})
}

func BenchmarkUnwrap(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		public, err := seal.RecipientPublic(s, fixed("recipient"))
		require.NoError(b, err)
		wrapped, err := seal.Wrap(s, public, nil, fixed("k"))
		require.NoError(b, err)
		for b.Loop() {
			_, err := seal.Unwrap(s, fixed("recipient"), nil, wrapped)
			require.NoError(b, err)
		}
	})
}

func BenchmarkSignature(b *testing.B) {
	signer, err := seal.NewSigner(fixed("seed"))
	require.NoError(b, err)
	msg := pattern(1000)
	b.Run("Sign", func(b *testing.B) {
		for b.Loop() {
			signer.Sign("domain", msg)
		}
	})
	b.Run("Verify", func(b *testing.B) {
		sig := signer.Sign("domain", msg)
		for b.Loop() {
			require.NoError(b, seal.Verify(signer.Public(), "domain", msg, sig))
		}
	})
}

func BenchmarkStretch(b *testing.B) {
	benchSuites(b, func(b *testing.B, s seal.Suite) {
		k, err := seal.DefaultKDF(s)
		require.NoError(b, err)
		for b.Loop() {
			_, err := k.Stretch(b.Context(), []byte("password"))
			require.NoError(b, err)
		}
	})
}
