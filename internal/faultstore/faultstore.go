// Package faultstore is a bucket in memory that fails as it is told to. Tests of what survives a crash, a
// lost answer or a damaged object are written on it.
//
// A [Store] is the content; [Store.Bucket] opens it as any other bucket. Every request gets a number and is
// shown to the store's hook before it is carried out; the [Fault] that the hook returns is what goes wrong:
//
//	s := faultstore.New()
//	s.SetHook(faultstore.At(17, faultstore.Kill().Applied()))
//	… a run, which ends with an error that wraps ErrKilled …
//	after := s.Clone() // what a process that starts now finds
//
// A kill point test runs once without a hook to learn how many requests there are ([Store.Ops]), then once
// for each of them. A corruption test clones the store, and changes or removes one object at a time with
// [Store.Set] and [Store.Remove]. Clones share the bytes of objects, so a clone of a large store is cheap.
//
// Requests count as a provider would bill them: a write is one request, made when its writer is closed, and
// is atomic; Exists and Attributes are one [Stat]; each page of a list is one [List].
package faultstore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// ErrKilled is wrapped by the errors of a request that [Kill] met and of all that follow it. Its code is
// gcerrors.Canceled, so that nobody tries again.
var ErrKilled = errors.New("the process was killed")

// Kind says what a request does.
type Kind string

// The kinds of requests.
const (
	Read   Kind = "read" // of an object or a range of it
	Stat   Kind = "stat"
	Write  Kind = "write"
	Delete Kind = "delete"
	Copy   Kind = "copy"
	List   Kind = "list"
)

// Op is one request.
type Op struct {
	N         int // 1 for the first request that the store sees
	Kind      Kind
	Key       string // of the object; the prefix of a list; where a copy goes to
	Bytes     int    // to be written; asked for by a read, as far as the object has them; else 0
	Exclusive bool   // a write that must not replace an object
}

// Changes reports whether the request, if carried out, changes what the store holds.
func (o Op) Changes() bool { return o.Kind == Write || o.Kind == Delete || o.Kind == Copy }

// Fault is what goes wrong with one request. The zero Fault is nothing.
type Fault struct {
	how     how
	applied bool
	err     error
	n       int
	mask    byte
	wait    time.Duration
}

type how byte

const (
	sound how = iota
	fail
	kill
	hang
	delay
	short
	broken
	flip
	replace
)

// Error is an error with the code that a driver would give it.
type Error struct {
	Code gcerrors.ErrorCode
	Text string
}

func (e *Error) Error() string { return "fault: " + e.Text }

// Fail makes a request fail with an error of the given code: Unknown or Internal for a 500 or a broken
// connection, FailedPrecondition for a 412, AlreadyExists for a 409, PermissionDenied, ResourceExhausted, …
// NotFound for a read or stat is the answer of a replica that lags.
func Fail(code gcerrors.ErrorCode) Fault {
	return FailWith(&Error{Code: code, Text: fmt.Sprint(code)})
}

// FailWith makes a request fail with err, as with syscall.ENOSPC. Its code is that of an [*Error] in err, or
// Unknown.
func FailWith(err error) Fault { return Fault{how: fail, err: err} }

// Kill makes the request and every later one fail with [ErrKilled], until [Store.Revive]. Of requests that
// are under way at that moment none changes the store any more.
func Kill() Fault { return Fault{how: kill} }

// Hang makes a request wait until its context is done.
func Hang() Fault { return Fault{how: hang} }

// Delay makes a request wait, and then carries it out.
func Delay(d time.Duration) Fault { return Fault{how: delay, wait: d} }

// Applied makes the request take effect before it fails: the answer is lost. It is for Fail, FailWith, Kill
// and Hang; a read has no effect and fails all the same.
func (f Fault) Applied() Fault {
	f.applied = true
	return f
}

// Short makes a read end without an error after n bytes, or a write store no more than the first n bytes
// and report success.
func Short(n int) Fault { return Fault{how: short, n: n} }

// Broken makes a read deliver n bytes and then fail.
func Broken(n int) Fault {
	return Fault{how: broken, n: n, err: &Error{Code: gcerrors.Unknown, Text: "connection reset"}}
}

// Flip inverts the bits of mask in byte i, modulo the length, of what a read delivers or a write stores.
func Flip(i int, mask byte) Fault { return Fault{how: flip, n: i, mask: mask} }

// Replace makes a write ignore that it must not replace an object, as some stores do.
func Replace() Fault { return Fault{how: replace} }

// Hook decides what goes wrong. It is called by the goroutine that makes the request, so by several at
// once, and may use the store's methods: at that moment the request has had no effect.
type Hook func(Op) Fault

// At returns a hook that lets the n-th request meet the fault.
func At(n int, f Fault) Hook {
	return func(o Op) Fault {
		if o.N == n {
			return f
		}
		return Fault{}
	}
}

// Nth returns a hook that lets the n-th request that match picks, from 1, meet the fault; with n 0 every
// one of them. A count begins with every call of Nth.
func Nth(n int, match func(Op) bool, f Fault) Hook {
	var mu sync.Mutex
	seen := 0
	return func(o Op) Fault {
		if !match(o) {
			return Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if seen++; n == 0 || seen == n {
			return f
		}
		return Fault{}
	}
}

// On returns a match for [Nth]: requests of a kind whose key begins with prefix.
func On(kind Kind, prefix string) func(Op) bool {
	return func(o Op) bool { return o.Kind == kind && strings.HasPrefix(o.Key, prefix) }
}

// Store is the content of a bucket in memory. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	objects map[string]*object // an object is never changed, only replaced
	hook    Hook
	ops     int
	killed  bool
	log     []Op
	logging bool
}

// New returns an empty store.
func New() *Store { return &Store{objects: map[string]*object{}} }

// Clone returns a store of the same content that has seen no request, has no hook and is not killed. Later
// changes of one do not show in the other.
func (s *Store) Clone() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{objects: maps.Clone(s.objects)}
}

// Bucket opens the store. Any number of buckets may be open.
func (s *Store) Bucket() *blob.Bucket { return blob.NewBucket(&bucket{s: s}) }

// Gate lets the requests of one bucket pass. It is called by the goroutine that makes the request, may make it
// wait, and returns the fault that the request meets; done is called when the request has had its effect.
type Gate func(Op) (f Fault, done func())

// Gated opens the store through a gate. One for each of several users tells their requests apart, which may so
// be let pass in a chosen order, or be cut off for one user alone.
func (s *Store) Gated(g Gate) *blob.Bucket { return blob.NewBucket(&bucket{s: s, gate: g}) }

// Driver opens the store as a driver, for packages that wrap one.
func (s *Store) Driver() driver.Bucket { return &bucket{s: s} }

// SetHook sets what is asked before each request; nil for nothing. The count of requests begins again.
func (s *Store) SetHook(h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook, s.ops = h, 0
}

// Ops is how many requests there were since the store was made or SetHook was called.
func (s *Store) Ops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// Record begins a log of requests, which [Store.Log] returns; what was logged before is dropped.
func (s *Store) Record() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.logging = nil, true
}

// Log returns the requests since Record, in the order of their numbers.
func (s *Store) Log() []Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Killed reports whether a [Kill] has happened.
func (s *Store) Killed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}

// Revive ends a kill.
func (s *Store) Revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = false
}

// Keys returns the names of all objects, sorted. It is no request, as are the methods below.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Objects returns the content of every object. The map is the caller's; the bytes must not be changed.
func (s *Store) Objects() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string][]byte, len(s.objects))
	for k, o := range s.objects {
		out[k] = o.data
	}
	return out
}

// Get returns a copy of an object's bytes; nil if there is none.
func (s *Store) Get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[key]; o != nil {
		return append([]byte{}, o.data...)
	}
	return nil
}

// Set puts an object, which may be there already, and keeps a copy of data.
func (s *Store) Set(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = newObject(bytes.Clone(data))
}

// Remove removes an object, and reports whether it was there.
func (s *Store) Remove(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[key]
	delete(s.objects, key)
	return ok
}

// Size is the sum of all objects in bytes.
func (s *Store) Size() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.objects {
		n += int64(len(o.data))
	}
	return n
}
