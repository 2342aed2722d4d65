package engine

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/source"
)

// TestSettleForgedCheckpoint: a writer's checkpoint leaves one snapshot out, calls another forgotten, and gives a third a
// list of nothing. An administrator who opens the repository from it and settles the log keeps them all.
func TestSettleForgedCheckpoint(t *testing.T) {
	ctx, s := t.Context(), faultstore.New()
	k := Key{KMSName: "k", KMS: plainService{}}
	_, err := Create(ctx, s.Bucket(), k, Config{})
	require.NoError(t, err)
	open := func() *Repo {
		r, err := Open(ctx, s.Bucket(), k, Config{})
		require.NoError(t, err)
		t.Cleanup(r.Close)
		return r
	}
	var kept []format.SnapID
	snapshot := func(name string) {
		files := fstest.MapFS{name: {Data: []byte("content of " + name), ModTime: time.Unix(1, 0)}}
		res, err := open().Backup(ctx, source.FromFS(files), BackupOptions{Sources: []string{name}})
		require.NoError(t, err)
		kept = append(kept, res.Ref.ID)
	}
	for _, name := range []string{"left out", "forgotten", "no list", "lost"} {
		snapshot(name)
	}
	r := open()
	st, head := r.ledger.At()
	empty, err := r.putRefs(ctx, &format.Refs{})
	require.NoError(t, err)
	st.Forgotten, st.Snapshots = st.Snapshots[1:2:2], st.Snapshots[2:]
	st.Snapshots[0].Refs = empty
	writer, err := seal.NewSigner(r.keys.Writer)
	require.NoError(t, err)
	e := &format.LogEntry{
		Repo: r.format.Repo, Seq: head.Seq + 1, Prev: head.Chain, Kind: format.KindCheckpoint,
		Signer: ledger.SignerID(writer.Public()), Body: st.Append(nil),
	}
	object := e.Append(nil)
	s.Set(format.EntryKey(e.Seq), append(object, writer.Sign("carekeep/v1 log", object)...))
	snapshot("later")
	s.Set(format.EntryKey(head.Seq), []byte("rubbish"))
	r = open()
	require.Len(t, r.ledger.State().Snapshots, 3, "as the checkpoint says")

	rep, err := r.Settle(ctx, []uint64{head.Seq}, nil)
	require.NoError(t, err)
	require.Equal(t, kept[3:4], rep.Snapshots)
	require.ElementsMatch(t, kept[:2], rep.Returned)
	require.Empty(t, rep.Damaged)
	require.EqualValues(t, 1, rep.Relisted)
	_, err = open().Compact(ctx, CompactOptions{Grace: time.Nanosecond, Abandoned: time.Nanosecond})
	require.NoError(t, err)
	report, err := open().Check(ctx, CheckOptions{ReadAll: true})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.EqualValues(t, 4, report.Snapshots)
}

// plainService is a key service that encrypts nothing.
type plainService struct{}

func (plainService) Encrypt(b, _ []byte) ([]byte, error) { return b, nil }
func (plainService) Decrypt(b, _ []byte) ([]byte, error) { return b, nil }
