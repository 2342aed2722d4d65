package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

// The known answers in testdata are part of the format: they are never made again. To add a kind, move
// vectors.json away, run with CAREKEEP_WRITE_VECTORS=1, and put the old entries back.

const vectorFile = "testdata/vectors.json"

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type (
	deriveVector struct {
		Secret, Salt, Info, Out hexBytes
	}
	prfVector    struct{ Key, Data, Out hexBytes }
	secretVector struct {
		Suite                       seal.Suite
		Key, AAD, Plaintext, Sealed hexBytes
	}
	wrapVector struct {
		Suite                                     seal.Suite
		Private, Public, Info, Plaintext, Wrapped hexBytes
	}
	// Plaintext byte i of a stream is i mod 251. An object that spans segments is in File, beside this one.
	streamVector struct {
		Suite            seal.Suite
		Key, AAD, Header hexBytes
		PlainLength      int
		Object           hexBytes `json:",omitempty"`
		File             string   `json:",omitempty"`
	}
	signatureVector struct {
		Seed, Public hexBytes
		Domain       string
		Msg, Sig     hexBytes
	}
	kdfVector struct {
		Algorithm       byte
		Salt            hexBytes
		Time, MemoryKiB uint32
		Threads         uint8
		Password, Out   hexBytes
	}
	slotVector struct{ Root, RepoID, KEK, Commitment hexBytes }
)

type vectors struct {
	Derive     []deriveVector
	PRF        []prfVector
	Stretch    []kdfVector
	Slots      []slotVector
	Signatures []signatureVector
	Secrets    []secretVector
	Wraps      []wrapVector
	Streams    []streamVector
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	if os.Getenv("CAREKEEP_WRITE_VECTORS") == "1" {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

func (v streamVector) object(t testing.TB) []byte {
	t.Helper()
	if v.File == "" {
		return v.Object
	}
	b, err := os.ReadFile(filepath.Join("testdata", v.File))
	require.NoError(t, err)
	return b
}

func (v kdfVector) kdf() seal.KDF {
	return seal.KDF{Algorithm: v.Algorithm, Salt: [32]byte(v.Salt), Time: v.Time, MemoryKiB: v.MemoryKiB, Threads: v.Threads}
}

func TestVectorsCommon(t *testing.T) {
	all := loadVectors(t)
	require.NotEmpty(t, all.Derive)
	for _, v := range all.Derive {
		got, err := seal.Derive(v.Secret, v.Salt, string(v.Info), len(v.Out))
		require.NoError(t, err)
		require.Equal(t, []byte(v.Out), got)
	}
	require.NotEmpty(t, all.PRF)
	for _, v := range all.PRF {
		prf, err := seal.NewPRF(v.Key)
		require.NoError(t, err)
		var got [32]byte
		prf.Sum(&got, v.Data)
		require.Equal(t, []byte(v.Out), got[:])
	}
	require.NotEmpty(t, all.Slots)
	for _, v := range all.Slots {
		got, err := seal.DeriveSlot(v.Root, [16]byte(v.RepoID))
		require.NoError(t, err)
		require.Equal(t, seal.SlotKeys{KEK: [32]byte(v.KEK), Commitment: [32]byte(v.Commitment)}, got)
	}
	require.NotEmpty(t, all.Signatures)
	for _, v := range all.Signatures {
		signer, err := seal.NewSigner(v.Seed)
		require.NoError(t, err)
		require.Equal(t, []byte(v.Public), signer.Public())
		require.Equal(t, []byte(v.Sig), signer.Sign(v.Domain, v.Msg))
		require.NoError(t, seal.Verify(v.Public, v.Domain, v.Msg, v.Sig))
	}
}

func TestVectors(t *testing.T) {
	all := loadVectors(t)
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		tested := map[string]int{}
		for _, v := range all.Stretch {
			if (v.Algorithm == seal.PBKDF2) != (s == seal.F1) {
				continue
			}
			got, err := v.kdf().Stretch(t.Context(), v.Password)
			require.NoError(t, err)
			require.Equal(t, []byte(v.Out), got)
			tested["stretch"]++
		}
		for _, v := range all.Secrets {
			if v.Suite != s {
				continue
			}
			got, err := s.Open(v.Key, v.AAD, v.Sealed)
			require.NoError(t, err)
			require.Equal(t, []byte(v.Plaintext), got)
			tested["secret"]++
		}
		for _, v := range all.Wraps {
			if v.Suite != s {
				continue
			}
			public, err := seal.RecipientPublic(s, v.Private)
			require.NoError(t, err)
			require.Equal(t, []byte(v.Public), public)
			got, err := seal.Unwrap(s, v.Private, v.Info, v.Wrapped)
			require.NoError(t, err)
			require.Equal(t, []byte(v.Plaintext), got)
			tested["wrap"]++
		}
		for _, v := range all.Streams {
			if v.Suite != s {
				continue
			}
			object := v.object(t)
			require.Equal(t, []byte(v.Header), object[:seal.HeaderSize])
			got, err := openAll(s, v.Key, v.AAD, object)
			require.NoError(t, err)
			require.True(t, bytes.Equal(pattern(v.PlainLength), got))
			tested["stream"]++
		}
		require.Equal(t, map[string]int{"stretch": 2, "secret": 2, "wrap": 1, "stream": 3}, tested)
	})
}

// writeVectors makes the files anew; it refuses to touch any that exist.
func writeVectors(t testing.TB) {
	t.Helper()
	require.NoFileExists(t, vectorFile)
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	var v vectors
	derive := func(secret, salt []byte, info string, n int) {
		out, err := seal.Derive(secret, salt, info, n)
		require.NoError(t, err)
		v.Derive = append(v.Derive, deriveVector{secret, salt, []byte(info), out})
	}
	derive(bytes.Repeat([]byte{0x0b}, 22), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, // RFC 5869, A.1
		"\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9", 42)
	derive(fixed("secret"), fixed("salt"), "carekeep/v1 example", 64)
	for _, n := range []int{0, 100} {
		prf, err := seal.NewPRF(fixed("prf"))
		require.NoError(t, err)
		var out [32]byte
		prf.Sum(&out, pattern(n))
		v.PRF = append(v.PRF, prfVector{fixed("prf"), pattern(n), out[:]})
	}
	for _, k := range []kdfVector{
		{Algorithm: seal.Argon2id, Time: 1, MemoryKiB: 8 << 10, Threads: 1},
		{Algorithm: seal.Argon2id, Time: 2, MemoryKiB: 10 << 10, Threads: 4},
		{Algorithm: seal.PBKDF2, Time: 1000},
		{Algorithm: seal.PBKDF2, Time: 1234},
	} {
		k.Salt, k.Password = fixed("salt"), []byte("correct horse battery staple")
		out, err := k.kdf().Stretch(t.Context(), k.Password)
		require.NoError(t, err)
		k.Out = out
		v.Stretch = append(v.Stretch, k)
	}
	root, id := append(fixed("root"), fixed("rest")...), fixed("repository")[:16]
	slot, err := seal.DeriveSlot(root, [16]byte(id))
	require.NoError(t, err)
	v.Slots = append(v.Slots, slotVector{root, id, slot.KEK[:], slot.Commitment[:]})
	signer, err := seal.NewSigner(fixed("seed"))
	require.NoError(t, err)
	v.Signatures = append(v.Signatures, signatureVector{fixed("seed"), signer.Public(), "carekeep/v1 example", pattern(40),
		signer.Sign("carekeep/v1 example", pattern(40))})
	for _, s := range []seal.Suite{seal.T1, seal.F1} {
		writeSuite(t, s, &v)
	}
	b, err := json.MarshalIndent(v, "", "\t")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(vectorFile, append(b, '\n'), 0o644))
}

func writeSuite(t testing.TB, s seal.Suite, v *vectors) {
	t.Helper()
	for _, n := range []int{0, 100} {
		sealed, err := s.Seal(fixed("secret key"), []byte("aad"), pattern(n))
		require.NoError(t, err)
		v.Secrets = append(v.Secrets, secretVector{s, fixed("secret key"), []byte("aad"), pattern(n), sealed})
	}
	private := fixed("recipient")
	public, err := seal.RecipientPublic(s, private)
	require.NoError(t, err)
	wrapped, err := seal.Wrap(s, public, []byte("info"), pattern(32))
	require.NoError(t, err)
	v.Wraps = append(v.Wraps, wrapVector{s, private, public, []byte("info"), pattern(32), wrapped})
	for _, n := range []int{0, 100, seal.SegmentSize + 100} {
		object, err := s.SealStream(nil, testHeader, fixed("stream key"), testAAD, pattern(n))
		require.NoError(t, err)
		sv := streamVector{Suite: s, Key: fixed("stream key"), AAD: testAAD, Header: testHeader, PlainLength: n, Object: object}
		if n > seal.SegmentSize {
			sv.File, sv.Object = "stream-"+s.String()+".bin", nil
			require.NoFileExists(t, filepath.Join("testdata", sv.File))
			require.NoError(t, os.WriteFile(filepath.Join("testdata", sv.File), object, 0o644))
		}
		v.Streams = append(v.Streams, sv)
	}
}
