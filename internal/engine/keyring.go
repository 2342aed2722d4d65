package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/carekeep/carekeep/internal/format"
	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/seal"
	"github.com/carekeep/carekeep/internal/store"
)

// Info strings of what is derived from a session's secret; the salt is repository id ‖ session id.
const (
	infoSessionData       = "carekeep/v1 session data"
	infoSessionMetadata   = "carekeep/v1 session metadata"
	infoSessionCommitment = "carekeep/v1 session commitment"
)

// sessionKeys is what a session's secret gives.
type sessionKeys struct{ data, metadata, commitment []byte }

func deriveSession(repo format.RepoID, id format.SessionID, secret []byte) (*sessionKeys, error) {
	salt := append(repo[:len(repo):len(repo)], id[:]...)
	var err error
	derive := func(info string) []byte {
		k, derr := seal.Derive(secret, salt, info, seal.KeySize)
		err = errors.Join(err, derr)
		return k
	}
	k := &sessionKeys{data: derive(infoSessionData), metadata: derive(infoSessionMetadata), commitment: derive(infoSessionCommitment)}
	return k, err
}

// keyring finds the keys of sessions: those of this process's own runs, and, for a reader, those that the
// store holds wrapped. It is safe for concurrent use.
type keyring struct {
	store  *store.Store
	format *format.Format
	keys   *format.Keyset

	mu       sync.Mutex
	sessions map[format.SessionID]*sessionKeys
}

func newKeyring(s *store.Store, f *format.Format, ks *format.Keyset) *keyring {
	return &keyring{store: s, format: f, keys: ks, sessions: map[format.SessionID]*sessionKeys{}}
}

// add makes a session known whose secret this host drew itself.
func (k *keyring) add(id format.SessionID, secret []byte) (*sessionKeys, error) {
	sk, err := deriveSession(k.format.Repo, id, secret)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sessions[id] = sk
	return sk, nil
}

// StreamKey implements pack.Keyring.
func (k *keyring) StreamKey(ctx context.Context, id format.SessionID, t format.Type) ([]byte, error) {
	k.mu.Lock()
	sk := k.sessions[id]
	k.mu.Unlock()
	if sk == nil {
		var err error
		if sk, err = k.fetch(ctx, id); err != nil {
			return nil, err
		}
		k.mu.Lock()
		k.sessions[id] = sk
		k.mu.Unlock()
	}
	if t == format.TypeMetadata {
		return sk.metadata, nil
	}
	return sk.data, nil
}

func sessionInfo(f *format.Format, id format.SessionID, commitment []byte) []byte {
	b := append([]byte(domainSession), f.Suite)
	b = append(b, f.Repo[:]...)
	b = append(b, id[:]...)
	return append(b, commitment...)
}

func recipientID(public []byte) (id [8]byte) {
	h := sha256.Sum256(public)
	copy(id[:], h[:])
	return id
}

func (k *keyring) fetch(ctx context.Context, id format.SessionID) (*sessionKeys, error) {
	if len(k.keys.Reader) == 0 {
		return nil, fmt.Errorf("%w: reading needs the password or the key service, this is the writer's credential", ErrRole)
	}
	object, err := k.store.Get(ctx, format.SessionKey(id, 0), maxSmallObject)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	s, _, _, err := format.DecodeSession(object)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if s.Repo != k.format.Repo || s.ID != id {
		return nil, fmt.Errorf("session: %w: it belongs elsewhere", ErrDamaged)
	}
	suite := seal.Suite(k.format.Suite)
	me := recipientID(k.keys.ReaderKey)
	for _, w := range s.Wraps {
		if w.Recipient != me {
			continue
		}
		secret, err := seal.Unwrap(suite, k.keys.Reader, sessionInfo(k.format, id, s.Commitment[:]), w.Sealed)
		if err != nil {
			return nil, fmt.Errorf("session: %w: %w", ErrDamaged, err)
		}
		sk, err := deriveSession(k.format.Repo, id, secret)
		if err != nil {
			return nil, err
		}
		if !seal.Equal(sk.commitment, s.Commitment[:]) {
			return nil, fmt.Errorf("session: %w: its secret is not the one committed to", ErrDamaged)
		}
		return sk, nil
	}
	return nil, fmt.Errorf("session: %w: it is not wrapped to this reader", ErrRole)
}

// sessionObject wraps a session's secret to every recipient and signs it.
func sessionObject(f *format.Format, writer *seal.Signer, recipients [][]byte, id format.SessionID, secret []byte, created int64) ([]byte, error) {
	sk, err := deriveSession(f.Repo, id, secret)
	if err != nil {
		return nil, err
	}
	s := &format.Session{Repo: f.Repo, ID: id, Writer: ledger.SignerID(writer.Public()), Created: created}
	copy(s.Commitment[:], sk.commitment)
	if s.Wraps, err = wrapAll(seal.Suite(f.Suite), recipients, sessionInfo(f, id, sk.commitment), secret); err != nil {
		return nil, err
	}
	b := s.Append(nil)
	return append(b, writer.Sign(domainSession, b)...), nil
}

func wrapAll(suite seal.Suite, recipients [][]byte, info, secret []byte) ([]format.Wrap, error) {
	var ws []format.Wrap
	for _, public := range recipients {
		sealed, err := seal.Wrap(suite, public, info, secret)
		if err != nil {
			return nil, err
		}
		ws = append(ws, format.Wrap{Recipient: recipientID(public), Sealed: sealed})
	}
	if len(ws) == 0 {
		return nil, fmt.Errorf("%w: the log names no recipient", ErrDamaged)
	}
	return ws, nil
}
