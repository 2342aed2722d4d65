package backup_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/carekeep/carekeep/backup"
)

// A key service that was not made must not count as the host's credential, which opens with fewer rights.
func TestNoKeyService(t *testing.T) {
	ctx, bucket := t.Context(), memory(t)
	opts := backup.Options{HostDir: t.TempDir()}
	admin := create(t, bucket, &backup.CreateOptions{Options: opts})
	_, err := backup.Open(ctx, bucket, backup.KMS("test://key", nil), &opts)
	require.ErrorIs(t, err, backup.ErrWrongKey)
	_, err = admin.AddKey(ctx, backup.KMS("test://key", nil))
	require.ErrorContains(t, err, "no key service")
	_, err = backup.Create(ctx, memory(t), backup.KMS("test://key", nil), &backup.CreateOptions{Options: opts})
	require.ErrorContains(t, err, "no key service")
}

// down is a key service that does not answer.
type down struct{ tink.AEAD }

var errDown = errors.New("connection refused")

func (down) Decrypt([]byte, []byte) ([]byte, error) { return nil, errDown }

// TestKeyServiceIsDown tells an operator who has to restore that not the key is wrong.
func TestKeyServiceIsDown(t *testing.T) {
	ctx, bucket := t.Context(), memory(t)
	admin := create(t, bucket, nil)
	service, err := subtle.NewAESGCM(make([]byte, 32))
	require.NoError(t, err)
	_, err = admin.AddKey(ctx, backup.KMS("test://key", service))
	require.NoError(t, err)
	_, err = backup.Open(ctx, bucket, backup.KMS("test://key", down{service}), &backup.Options{Stateless: true})
	require.ErrorIs(t, err, errDown)
	require.ErrorContains(t, err, "connection refused")
}
