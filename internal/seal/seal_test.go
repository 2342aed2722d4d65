package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	tinkaead "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	tinkhpke "github.com/tink-crypto/tink-go/v2/hybrid/hpke"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkmac "github.com/tink-crypto/tink-go/v2/mac/subtle"
	tinkprf "github.com/tink-crypto/tink-go/v2/prf/subtle"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	tinksig "github.com/tink-crypto/tink-go/v2/signature/subtle"
	"github.com/tink-crypto/tink-go/v2/subtle"

	"github.com/carekeep/carekeep/internal/seal"
)

func TestDerive(t *testing.T) {
	secret := fixed("secret")
	for _, n := range []int{1, 16, 32, 33, 64, 8160} {
		for _, salt := range [][]byte{nil, []byte("salt"), fixed("salt")} {
			got, err := seal.Derive(secret, salt, "info", n)
			require.NoError(t, err)
			if n >= 10 { // Tink's least
				want, err := subtle.ComputeHKDF("SHA256", secret, salt, []byte("info"), uint32(n))
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
			require.Len(t, got, n)
		}
	}
	for _, n := range []int{-1, 0, 8161, math.MaxInt} {
		_, err := seal.Derive(secret, nil, "", n)
		require.Error(t, err)
	}
	_, err := seal.Derive(secret[:15], nil, "", 32)
	require.Error(t, err)
}

func TestPRF(t *testing.T) {
	prf, err := seal.NewPRF(fixed("k"))
	require.NoError(t, err)
	theirs, err := tinkprf.NewHMACPRF("SHA256", fixed("k"))
	require.NoError(t, err)
	clone := prf.Clone()
	for _, n := range []int{0, 1, 63, 64, 65, 1000, 16 << 10, 256<<10 + 3} {
		want, err := theirs.ComputePRF(pattern(n), 32)
		require.NoError(t, err)
		var a, b [32]byte
		prf.Sum(&a, pattern(n))
		clone.Sum(&b, pattern(n))
		require.Equal(t, want, a[:])
		require.Equal(t, a, b)
	}
	for _, key := range [][]byte{nil, make([]byte, 31), make([]byte, 64)} {
		_, err = seal.NewPRF(key)
		require.Error(t, err)
	}
}

func TestSecret(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		key, aad, plaintext := fixed("k"), []byte("slot header"), []byte("a keyset")
		sealed, err := s.Seal(key, aad, plaintext)
		require.NoError(t, err)
		again, err := s.Seal(key, aad, plaintext)
		require.NoError(t, err)
		require.NotEqual(t, sealed, again)
		got, err := s.Open(key, aad, sealed)
		require.NoError(t, err)
		require.Equal(t, plaintext, got)

		refuse := func(s seal.Suite, key, aad, sealed []byte) {
			got, err := s.Open(key, aad, sealed)
			require.ErrorIs(t, err, seal.ErrAuthentication)
			require.Nil(t, got)
		}
		for i := range sealed {
			for bit := range 8 {
				sealed[i] ^= 1 << bit
				refuse(s, key, aad, sealed)
				sealed[i] ^= 1 << bit
			}
			refuse(s, key, aad, sealed[:i])
		}
		refuse(s, fixed("other"), aad, sealed)
		refuse(s, key, nil, sealed)
		refuse(s, key, append(aad, 0), sealed)
		_, err = (3 - s).Open(key, aad, sealed)
		require.Error(t, err)

		empty, err := s.Seal(key, nil, nil)
		require.NoError(t, err)
		got, err = s.Open(key, nil, empty)
		require.NoError(t, err)
		require.Empty(t, got)
		for _, bad := range [][]byte{nil, make([]byte, 16), make([]byte, 64)} {
			_, err = s.Seal(bad, nil, plaintext)
			require.Error(t, err)
			_, err = s.Open(bad, nil, sealed)
			require.Error(t, err)
		}
	})
}

// TestSecretLayout opens secrets with Tink by the layout that Seal documents.
func TestSecretLayout(t *testing.T) {
	key, aad, plaintext := fixed("k"), []byte("aad"), []byte("plaintext")
	gcm, err := tinkaead.NewAESGCM(key)
	require.NoError(t, err)
	sealed, err := seal.T1.Seal(key, aad, plaintext)
	require.NoError(t, err)
	require.Len(t, sealed, 12+len(plaintext)+16)
	got, err := gcm.Decrypt(sealed, aad)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)

	keys, err := subtle.ComputeHKDF("SHA256", key, nil, []byte("carekeep/v1 secret aes-ctr hmac"), 64)
	require.NoError(t, err)
	ctr, err := tinkaead.NewAESCTR(keys[:32], 16)
	require.NoError(t, err)
	mac, err := tinkmac.NewHMAC("SHA256", keys[32:], 32)
	require.NoError(t, err)
	both, err := tinkaead.NewEncryptThenAuthenticate(ctr, mac, 32)
	require.NoError(t, err)
	sealed, err = seal.F1.Seal(key, aad, plaintext)
	require.NoError(t, err)
	require.Len(t, sealed, 16+len(plaintext)+32)
	got, err = both.Decrypt(sealed, aad)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
}

func TestWrap(t *testing.T) {
	sizes := map[seal.Suite][2]int{seal.T1: {1216, 1120}, seal.F1: {1249, 1153}} // public key, encapsulated key
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		private, err := seal.GenerateRecipient(s)
		require.NoError(t, err)
		require.Len(t, private, 32)
		public, err := seal.RecipientPublic(s, private)
		require.NoError(t, err)
		require.Len(t, public, sizes[s][0])
		info, plaintext := []byte("session info"), fixed("session secret")
		wrapped, err := seal.Wrap(s, public, info, plaintext)
		require.NoError(t, err)
		require.Len(t, wrapped, sizes[s][1]+len(plaintext)+16)
		got, err := seal.Unwrap(s, private, info, wrapped)
		require.NoError(t, err)
		require.Equal(t, plaintext, got)

		refuse := func(private, info, wrapped []byte) {
			t.Helper()
			got, err := seal.Unwrap(s, private, info, wrapped)
			require.ErrorIs(t, err, seal.ErrAuthentication)
			require.Nil(t, got)
		}
		for i := 0; i < len(wrapped); i += 1 + i%7 {
			wrapped[i] ^= 4
			refuse(private, info, wrapped)
			wrapped[i] ^= 4
		}
		for _, n := range []int{0, 1, sizes[s][1] - 1, sizes[s][1], sizes[s][1] + 15, len(wrapped) - 1} {
			refuse(private, info, wrapped[:n])
		}
		refuse(private, info, append(bytes.Clone(wrapped), 0))
		refuse(private, []byte("other"), wrapped)
		refuse(fixed("another recipient"), info, wrapped)
		_, err = seal.Wrap(s, public[1:], info, plaintext)
		require.Error(t, err)
		_, err = seal.Wrap(s, make([]byte, len(public)-1), info, plaintext)
		require.Error(t, err)
		_, err = seal.Unwrap(s, private[1:], info, wrapped)
		require.Error(t, err)
	})
}

func TestWrapAgainstTink(t *testing.T) {
	params, err := tinkhpke.NewParameters(tinkhpke.ParametersOpts{
		KEMID: tinkhpke.X_WING, KDFID: tinkhpke.HKDFSHA256, AEADID: tinkhpke.AES256GCM, Variant: tinkhpke.VariantNoPrefix,
	})
	require.NoError(t, err)
	private, err := seal.GenerateRecipient(seal.T1)
	require.NoError(t, err)
	public, err := seal.RecipientPublic(seal.T1, private)
	require.NoError(t, err)
	key, err := tinkhpke.NewPrivateKey(secretdata.NewBytesFromData(private, insecuresecretdataaccess.Token{}), 0, params)
	require.NoError(t, err)
	manager := keyset.NewManager()
	id, err := manager.AddKey(key)
	require.NoError(t, err)
	require.NoError(t, manager.SetPrimary(id))
	handle, err := manager.Handle()
	require.NoError(t, err)
	publicHandle, err := handle.Public()
	require.NoError(t, err)
	encrypter, err := hybrid.NewHybridEncrypt(publicHandle)
	require.NoError(t, err)
	decrypter, err := hybrid.NewHybridDecrypt(handle)
	require.NoError(t, err)

	info, plaintext := []byte("info"), []byte("plaintext")
	wrapped, err := seal.Wrap(seal.T1, public, info, plaintext)
	require.NoError(t, err)
	got, err := decrypter.Decrypt(wrapped, info)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
	wrapped, err = encrypter.Encrypt(plaintext, info)
	require.NoError(t, err)
	got, err = seal.Unwrap(seal.T1, private, info, wrapped)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
}

func TestSigner(t *testing.T) {
	seed, err := seal.GenerateSigner()
	require.NoError(t, err)
	signer, err := seal.NewSigner(seed)
	require.NoError(t, err)
	public, err := seal.SignerPublic(seed)
	require.NoError(t, err)
	require.Equal(t, public, signer.Public())
	msg := []byte("message")
	sig := signer.Sign("domain", msg)
	require.Len(t, sig, seal.SignatureSize)
	require.NoError(t, seal.Verify(public, "domain", msg, sig))

	verifier, err := tinksig.NewED25519Verifier(public)
	require.NoError(t, err)
	require.NoError(t, verifier.Verify(sig, []byte("domain\x00message")))

	other, err := seal.SignerPublic(fixed("other"))
	require.NoError(t, err)
	for _, c := range []struct {
		public []byte
		domain string
		msg    []byte
		sig    []byte
	}{
		{other, "domain", msg, sig},
		{public, "domai", msg, sig},
		{public, "", []byte("domain\x00message"), sig},
		{public, "domain\x00message", nil, sig},
		{public, "domain", []byte("messag"), sig},
		{public, "domain", msg, sig[:63]},
		{public, "domain", msg, nil},
		{public, "a\x00b", []byte("c"), signer.Sign("a", []byte("b\x00c"))},
	} {
		require.ErrorIs(t, seal.Verify(c.public, c.domain, c.msg, c.sig), seal.ErrAuthentication)
	}
	for i := range sig {
		sig[i] ^= 1
		require.ErrorIs(t, seal.Verify(public, "domain", msg, sig), seal.ErrAuthentication)
		sig[i] ^= 1
	}
	require.Error(t, seal.Verify(public[1:], "domain", msg, sig))
	_, err = seal.NewSigner(seed[1:])
	require.Error(t, err)
	_, err = seal.SignerPublic(nil)
	require.Error(t, err)
}

func TestKDFBounds(t *testing.T) {
	salt := [32]byte{1}
	for _, k := range []seal.KDF{
		{Algorithm: seal.Argon2id, Salt: salt, Time: 1, MemoryKiB: 8 << 10, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 16, MemoryKiB: 1 << 20, Threads: 16},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 1000},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 10_000_000},
	} {
		require.NoError(t, k.Check(), k)
	}
	for _, k := range []seal.KDF{
		{},
		{Algorithm: seal.Argon2id, Time: 3, MemoryKiB: 64 << 10, Threads: 1}, // no salt
		{Algorithm: 0, Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 1},
		{Algorithm: 3, Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 0, MemoryKiB: 64 << 10, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 17, MemoryKiB: 64 << 10, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 3, MemoryKiB: 8<<10 - 1, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 3, MemoryKiB: 1<<20 + 1, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 3, MemoryKiB: math.MaxUint32, Threads: 1},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 0},
		{Algorithm: seal.Argon2id, Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 17},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 999},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 10_000_001},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 1000, MemoryKiB: 1},
		{Algorithm: seal.PBKDF2, Salt: salt, Time: 1000, Threads: 1},
	} {
		require.Error(t, k.Check(), k)
		_, err := k.Stretch(t.Context(), []byte("password"))
		require.Error(t, err, k)
	}
}

func TestKDFDefaults(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		a, err := seal.DefaultKDF(s)
		require.NoError(t, err)
		b, err := seal.DefaultKDF(s)
		require.NoError(t, err)
		require.NotEqual(t, a.Salt, b.Salt)
		require.NoError(t, a.Check())
		require.LessOrEqual(t, a.MemoryKiB, uint32(64<<10))
	})
	_, err := seal.DefaultKDF(0)
	require.Error(t, err)
}

// quickKDF is the cheapest derivation that is allowed.
func quickKDF(s seal.Suite) seal.KDF {
	k := seal.KDF{Algorithm: seal.Argon2id, Salt: [32]byte{1}, Time: 1, MemoryKiB: 8 << 10, Threads: 1}
	if s == seal.F1 {
		k = seal.KDF{Algorithm: seal.PBKDF2, Salt: [32]byte{1}, Time: 1000}
	}
	return k
}

func TestKDFStretch(t *testing.T) {
	eachSuite(t, func(t *testing.T, s seal.Suite) {
		k := quickKDF(s)
		seen := map[string]bool{}
		add := func(k seal.KDF, password string) {
			t.Helper()
			out, err := k.Stretch(t.Context(), []byte(password))
			require.NoError(t, err)
			require.Len(t, out, 64)
			require.False(t, seen[string(out)])
			seen[string(out)] = true
		}
		add(k, "password")
		add(k, "passwore")
		k.Salt[31]++
		add(k, "password")
		k.Time++
		add(k, "password")
		_, err := k.Stretch(t.Context(), nil)
		require.Error(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = k.Stretch(ctx, []byte("password"))
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestSlot(t *testing.T) {
	root := append(fixed("root"), fixed("rest")...)
	id := [16]byte{7}
	a, err := seal.DeriveSlot(root, id)
	require.NoError(t, err)
	for _, f := range []struct {
		got  []byte
		info string
	}{
		{a.KEK[:], "carekeep/v1 slot key"},
		{a.Commitment[:], "carekeep/v1 slot commitment"},
	} {
		want, err := subtle.ComputeHKDF("SHA256", root, id[:], []byte(f.info), uint32(len(f.got)))
		require.NoError(t, err)
		require.Equal(t, want, f.got)
	}
	b, err := seal.DeriveSlot(root, [16]byte{8})
	require.NoError(t, err)
	require.NotEqual(t, a.KEK, b.KEK)
	require.NotEqual(t, a.Commitment, b.Commitment)
	_, err = seal.DeriveSlot(root[:31], id)
	require.Error(t, err)
}

func TestNoSuite(t *testing.T) {
	for _, s := range []seal.Suite{0, 3, 255} {
		require.False(t, s.Valid())
		require.Equal(t, "unknown suite", s.String())
		_, err := s.SealStream(nil, testHeader, fixed("k"), nil, nil)
		require.Error(t, err)
		_, err = s.OpenStream(fixed("k"), nil, make([]byte, 100))
		require.Error(t, err)
		require.Zero(t, s.StreamSize(1))
		_, err = s.PlainSize(1000)
		require.Error(t, err)
		_, err = s.Seal(fixed("k"), nil, nil)
		require.Error(t, err)
		_, err = s.Open(fixed("k"), nil, make([]byte, 100))
		require.Error(t, err)
		_, err = seal.GenerateRecipient(s)
		require.Error(t, err)
		_, err = seal.RecipientPublic(s, fixed("k"))
		require.Error(t, err)
		_, err = seal.Wrap(s, make([]byte, 1216), nil, nil)
		require.Error(t, err)
		_, err = seal.Unwrap(s, fixed("k"), nil, make([]byte, 1216))
		require.Error(t, err)
	}
}

func TestEqual(t *testing.T) {
	require.True(t, seal.Equal(nil, nil))
	require.True(t, seal.Equal([]byte("ab"), []byte("ab")))
	require.False(t, seal.Equal([]byte("ab"), []byte("ac")))
	require.False(t, seal.Equal([]byte("ab"), []byte("abc")))
}

func TestKeysDoNotPrint(t *testing.T) {
	seed := bytes.Repeat([]byte{0xA7}, 32) // 167 in decimal
	signer, err := seal.NewSigner(seed)
	require.NoError(t, err)
	keys := seal.SlotKeys{KEK: [32]byte(seed)}
	prf, err := seal.NewPRF(seed)
	require.NoError(t, err)
	object, err := seal.F1.SealStream(nil, testHeader, seed, nil, nil)
	require.NoError(t, err)
	st, err := seal.F1.OpenStream(seed, nil, object)
	require.NoError(t, err)
	require.Equal(t, "(hidden)", fmt.Sprintf("%+v", st))
	var out strings.Builder
	for _, v := range []any{signer, *signer, keys, &keys, prf, *prf, struct{ K seal.SlotKeys }{keys}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info("x", "v", v)
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(b)
	}
	for _, leak := range []string{"a7a7", "A7A7", "167 167", "0xa7", "167,167", `\xa7`} {
		require.NotContains(t, out.String(), leak)
	}
}
