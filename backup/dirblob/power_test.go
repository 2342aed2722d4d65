package dirblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const modelRoot = "/vol/repo"

// ledger is what a client may believe about a set of keys.
type ledger struct {
	mu    sync.Mutex
	state map[string]string   // what the last confirmed call left; "" is absent
	maybe map[string][]string // what calls that got no answer may have left
}

func newLedger() *ledger {
	return &ledger{state: map[string]string{}, maybe: map[string][]string{}}
}

// note records the end of a call that wanted the key to have the value.
func (l *ledger) note(key, value string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.state[key]; !known {
		l.state[key] = ""
	}
	if err == nil {
		l.state[key] = value
	} else {
		l.maybe[key] = append(l.maybe[key], value)
	}
}

// client runs steps on a bucket until one fails.
type client struct {
	b   *blob.Bucket
	log *ledger
	err error
}

// body is the content of a value: long enough to be torn, and different throughout.
func body(value string) string { return strings.Repeat(value+";", 300) }

// put writes in several pieces; a value with a star carries attributes.
func (c *client) put(key, value string, exclusive bool) {
	if c.err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts := &blob.WriterOptions{ContentType: defaultType, IfNotExist: exclusive}
	if strings.Contains(value, "*") {
		opts.Metadata = map[string]string{"value": value}
	}
	w, err := c.b.NewWriter(ctx, key, opts)
	if err == nil {
		for text := body(value); text != "" && err == nil; {
			n := min(len(text), 777)
			_, err = io.WriteString(w, text[:n])
			text = text[n:]
		}
		if err != nil {
			cancel()
		}
		err = errors.Join(err, w.Close())
	}
	c.log.note(key, value, err)
	c.err = err
}

func (c *client) del(key string) {
	if c.err == nil {
		c.err = c.b.Delete(context.Background(), key)
		c.log.note(key, "", c.err)
	}
}

func (c *client) copy(dst, src, value string) {
	if c.err == nil {
		c.err = c.b.Copy(context.Background(), dst, src, nil)
		c.log.note(dst, value, c.err)
	}
}

// verdict opens what the power cut left and compares it with the ledger. It
// returns what is wrong, or "".
func verdict(m *model, log *ledger) string {
	d, err := open(&view{model: m}, modelRoot, &Options{CreateDir: true})
	if err != nil {
		return "cannot open: " + err.Error()
	}
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	ctx := context.Background()
	for key, want := range log.state {
		got, err := value(ctx, b, key)
		if err != nil {
			return fmt.Sprintf("%s: %v", key, err)
		}
		ok := got == want
		for _, m := range log.maybe[key] {
			ok = ok || got == m
		}
		if !ok {
			return fmt.Sprintf("%s is %q, want %q or one of %q", key, got, want, log.maybe[key])
		}
	}
	for it := b.List(nil); ; {
		obj, err := it.Next(ctx)
		if err == io.EOF {
			return ""
		}
		if err != nil {
			return err.Error()
		}
		if _, known := log.state[obj.Key]; !known {
			return "a key that nobody wrote: " + obj.Key
		}
	}
}

// value reads an object back to the value it was made from; "" is absent.
// Anything that is not exactly such an object, attributes included, is an error.
func value(ctx context.Context, b *blob.Bucket, key string) (string, error) {
	data, err := b.ReadAll(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	v, _, _ := strings.Cut(string(data), ";")
	if string(data) != body(v) {
		return "", errors.New("torn")
	}
	attrs, err := b.Attributes(ctx, key)
	if err != nil {
		return "", err
	}
	if strings.Contains(v, "*") != (attrs.Metadata["value"] == v) {
		return "", errors.New("visible without its attributes")
	}
	return v, nil
}

// story is one client that uses everything, in a new bucket.
func story(v *view, log *ledger) {
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	if err != nil {
		return
	}
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	c := &client{b: b, log: log}
	c.put("data/aa/1", "first", true)
	c.put("head", "one", false)
	c.put("data/aa/2", "second*", true)
	c.put("head", "two*", false)
	c.put("data/bb/3", "third", true)
	c.copy("data/bb/4", "data/aa/2", "second*")
	c.del("data/aa/1")
	c.put("head", "three", false)
	c.del("data/bb/3")
	c.del("data/bb/4") // the folder goes
	c.put("data/bb/5", "fifth", true)
	c.put("data/aa/1", "again", true)
}

// crowd is several clients at once, each with its own keys in shared folders.
func crowd(v *view, log *ledger) {
	d, err := open(v, modelRoot, &Options{CreateDir: true})
	if err != nil {
		return
	}
	b := blob.NewBucket(d)
	defer func() { _ = b.Close() }()
	var all sync.WaitGroup
	for id := range 4 {
		all.Go(func() {
			c := &client{b: b, log: log}
			for i := range 3 {
				key := fmt.Sprintf("data/%02d/%d", i, id)
				c.put(key, fmt.Sprintf("v%d.%d", id, i), true)
				c.del(key)
				c.put(key, fmt.Sprintf("w%d.%d*", id, i), true)
			}
		})
	}
	all.Wait()
}

// cutEverywhere runs the story with the power going after each call in turn, and several
// outcomes of each cut. It returns the first thing that was wrong.
func cutEverywhere(t *testing.T, tell func(*view, *ledger), skip func(flushCall) bool, fault func(string, string) error, seeds, step int) string {
	t.Helper()
	whole := &view{model: newModel(), skip: skip, fault: fault}
	log := newLedger()
	tell(whole, log)
	require.Empty(t, log.maybe, "the story fails without a power cut")
	for limit := 0; limit <= whole.calls+1; limit += step {
		log := newLedger()
		v := &view{model: newModel(), skip: skip, fault: fault}
		v.limit = limit
		tell(v, log)
		for seed := range seeds {
			m := v.crash(rand.New(rand.NewPCG(uint64(limit), uint64(seed))))
			if wrong := verdict(m, log); wrong != "" {
				return fmt.Sprintf("power cut after call %d, seed %d: %s", limit, seed, wrong)
			}
		}
	}
	return ""
}

// effort is the number of outcomes tried for each power cut.
func effort(short, long int) int {
	if os.Getenv("CAREKEEP_LONG") != "" {
		return long
	}
	return short
}

// ways are file systems that differ in what they offer for exclusive creates.
func ways() map[string]func(string, string) error {
	return map[string]func(string, string) error{
		"rename": nil,
		"link":   refuse("renameNew"),
		"lock":   refuse("renameNew", "link"),
	}
}

func TestPowerCut(t *testing.T) {
	for name, fault := range ways() {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, cutEverywhere(t, story, nil, fault, effort(5, 300), 1))
		})
	}
}

func TestPowerCutAmongConcurrentWriters(t *testing.T) {
	require.Empty(t, cutEverywhere(t, crowd, nil, nil, effort(4, 100), effort(5, 1)))
}

// TestPowerCutFindsEveryMissingFlush leaves out one flush at a time. Each must
// show up as a loss: otherwise the model, or the story, would be blind to it.
func TestPowerCutFindsEveryMissingFlush(t *testing.T) {
	entry := func(path string) func(flushCall) bool {
		return func(c flushCall) bool { return c.path == path && !c.removed }
	}
	for name, skip := range map[string]func(flushCall) bool{
		"of the file":                       func(c flushCall) bool { return c.file },
		"of the folder":                     entry(modelRoot + "/data/aa"),
		"of the root as folder":             func(c flushCall) bool { return c.path == modelRoot },
		"of the parent of a new folder":     entry(modelRoot + "/data"),
		"of the root as parent":             entry(modelRoot),
		"of the parent of a new root":       entry("/vol"),
		"of the grandparent of a new root":  entry("/"),
		"of the folder after a deletion":    func(c flushCall) bool { return !c.file && c.removed },
		"of every folder":                   func(c flushCall) bool { return !c.file },
		"of the folder, concurrent writers": entry(modelRoot + "/data/01"),
	} {
		t.Run(name, func(t *testing.T) {
			tell, step := story, 1
			if strings.Contains(name, "concurrent") {
				tell, step = crowd, 9
			}
			require.NotEmpty(t, cutEverywhere(t, tell, skip, nil, 12, step), "the missing flush went unnoticed")
		})
	}
}

// TestFolderOfAnotherWriter has a writer use folders that another process made,
// and later removed and remade, but never flushed. That they exist does not mean that they will.
func TestFolderOfAnotherWriter(t *testing.T) {
	for seed := range uint64(50) {
		m := newModel()
		require.NoError(t, createRoot(&view{model: m}, filepath.Dir(modelRoot)))
		require.NoError(t, (&view{model: m}).mkdir(modelRoot)) // as mkdir(1) does
		careless, err := open(&view{model: m, skip: func(flushCall) bool { return true }}, modelRoot, nil)
		require.NoError(t, err)
		theirs, ours := blob.NewBucket(careless), reopen(t, m)
		c := &client{b: ours, log: newLedger()}
		survives := func(key, want string) {
			got, err := value(t.Context(), reopen(t, m.crash(rand.New(rand.NewPCG(1, seed)))), key)
			require.NoError(t, err)
			require.Equal(t, want, got, "seed %d", seed)
		}

		require.NoError(t, theirs.WriteAll(t.Context(), "data/aa/theirs", nil, nil))
		c.put("data/aa/ours", "x", true)
		require.NoError(t, c.err)
		survives("data/aa/ours", "x")

		require.NoError(t, theirs.Delete(t.Context(), "data/aa/theirs"))
		require.NoError(t, theirs.Delete(t.Context(), "data/aa/ours"))
		require.NoError(t, theirs.WriteAll(t.Context(), "data/aa/theirs", nil, nil))
		c.put("data/aa/more", "y", true)
		require.NoError(t, c.err)
		survives("data/aa/more", "y")
		require.NoError(t, theirs.Close())
	}
}

func reopen(t *testing.T, m *model) *blob.Bucket {
	d, err := open(&view{model: m}, modelRoot, &Options{CreateDir: true})
	require.NoError(t, err)
	b := blob.NewBucket(d)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
