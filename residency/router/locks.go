package router

import (
	"context"
	"sync"
)

// keyLocks lets one goroutine at a time change a key through a router. It is for order within a process only: nothing
// that has to hold between processes rests on it.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	free chan struct{} // holds one token while nobody has the lock
	want int
}

// lock waits for the key and returns what gives it back, once however often it is called.
func (k *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyLock{}
	}
	l := k.held[key]
	if l == nil {
		l = &keyLock{free: make(chan struct{}, 1)}
		l.free <- struct{}{}
		k.held[key] = l
	}
	l.want++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.want--; l.want == 0 {
			delete(k.held, key)
		}
	}
	select {
	case <-l.free:
		return sync.OnceFunc(func() {
			l.free <- struct{}{}
			leave()
		}), nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
