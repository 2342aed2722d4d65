package router_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/internal/faultstore"
)

// aside returns what a store keeps aside, records left out.
func aside(s *faultstore.Store) (out []string) {
	for k, v := range s.Objects() {
		if strings.HasPrefix(k, ".router/aside/") && !strings.HasSuffix(k, ".json") {
			out = append(out, string(v))
		}
	}
	slices.Sort(out)
	return out
}

// twoBehind is a world of five sites, of which d and e have missed an epoch.
func twoBehind(t *testing.T) *world {
	w := newWorld(t, 3, "a", "b", "c", "d", "e")
	w.open()
	p := w.process()
	p.cut(true, "d", "e")
	require.NoError(t, promote(p.mustOpen(), "a", false))
	return w
}

// TestAsideOfTwoSites keeps two objects of one key, from two sites, apart when one of the sites is left.
func TestAsideOfTwoSites(t *testing.T) {
	for _, old := range []bool{false, true} {
		w := twoBehind(t)
		w.stores["d"].Set("k", []byte("of d"))
		w.stores["e"].Set("k", []byte("of e"))
		r := w.open()
		rep, err := r.Reconcile(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, rep.Aside, 2)
		if old { // as an earlier release named them
			for _, n := range []string{"d", "e"} {
				for k, v := range w.stores[n].Objects() {
					if rest, ok := strings.CutPrefix(k, ".router/aside/"); ok {
						w.stores[n].Remove(k)
						w.stores[n].Set(".router/aside/"+rest[:len("2/")+32]+map[bool]string{true: ".json"}[strings.HasSuffix(k, ".json")], v)
					}
				}
			}
		}
		report, err := r.Migrate(t.Context(), planned(t, r, migration("e", "d")), nil)
		require.NoError(t, err)
		require.True(t, report.Done)
		require.Equal(t, []string{"of d", "of e"}, aside(w.stores["d"]))
		require.Zero(t, records(w.stores["e"], "aside/"))
		named := map[string]bool{}
		for k, v := range w.stores["d"].Objects() {
			if name, ok := strings.CutSuffix(k, ".json"); ok {
				require.NotEmpty(t, w.stores["d"].Get(name), "each record has its object")
				named[string(v)] = true
			}
		}
		require.Len(t, named, 2)
	}
}

// TestAsideTwice keeps two objects of one key and one site apart, of which the second came when the first was kept.
func TestAsideTwice(t *testing.T) {
	w := twoBehind(t)
	p := w.process()
	w.stores["d"].Set("k", []byte("first"))
	p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
		if site == "d" && o.Kind == faultstore.Delete && o.Key == "k" {
			return faultstore.Fail(gcerrors.Internal)
		}
		return faultstore.Fault{}
	})
	_, err := p.mustOpen().Reconcile(t.Context(), nil)
	require.Error(t, err)
	w.stores["d"].Set("k", []byte("second"))
	_, err = w.open().Reconcile(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"first", "second"}, aside(w.stores["d"]))
}
