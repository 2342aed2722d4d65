package router_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/router"
)

// ear hears all that a router tells.
type ear struct {
	mu     sync.Mutex
	logged bytes.Buffer
	spans  *tracetest.SpanRecorder
	reader *metric.ManualReader
}

// Write implements io.Writer.
func (e *ear) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.logged.Write(b)
}

func listen(o *router.Options) *ear {
	e := &ear{spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	o.Logger = slog.New(slog.NewJSONHandler(e, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.TracerProvider = trace.NewTracerProvider(trace.WithSpanProcessor(e.spans))
	o.MeterProvider = metric.NewMeterProvider(metric.WithReader(e.reader))
	return e
}

// metrics are all values, by instrument and attributes; of durations how many.
func (e *ear) metrics(t *testing.T) map[string]int64 {
	var rm metricdata.ResourceMetrics
	require.NoError(t, e.reader.Collect(t.Context(), &rm))
	out := map[string]int64{}
	name := func(m string, set attribute.Set) string {
		for _, kv := range set.ToSlice() {
			m += " " + string(kv.Key) + "=" + kv.Value.AsString()
		}
		return strings.TrimPrefix(m, "carekeep.router.")
	}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				out[name(m.Name, p.Attributes)] = p.Value
			}
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				out[name(m.Name, p.Attributes)] = int64(p.Count)
			}
		}
	}
	return out
}

// TestWhatIsObserved: operations by kind, requests by kind and site, debts, quarantines and denials by site.
func TestWhatIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		w, rules, _ := lawWorld(t, 2, "a", "b", "c")
		e := listen(&w.opts)
		p := w.process()
		r := p.mustOpen()
		require.NoError(t, create(r, "one", "x"))
		require.Error(t, create(r, "one", "y"))
		p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
			if site == "c" && o.Kind == faultstore.Write && o.Key == "slow" {
				return faultstore.Hang()
			}
			return faultstore.Fault{}
		})
		require.NoError(t, create(r, "slow", "x"))
		p.setFault(nil)
		time.Sleep(time.Hour)
		_, err := r.Reconcile(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, readable(r, map[string]string{"one": "x", "slow": "x"}))
		require.NoError(t, r.Bucket().Delete(ctx, "one"))
		require.NoError(t, r.Quarantine(ctx, "c", "Dr Ada", evidence.CauseOther))
		require.NoError(t, r.Release(ctx, "c", "Dr Ada", evidence.CauseSettled))
		rules.set(w.places["a"], 0)
		time.Sleep(2 * time.Hour)
		require.Error(t, create(r, "two", "x"))

		got := e.metrics(t)
		for name, n := range map[string]int64{
			"operation.duration operation=open outcome=ok": 1, "operation.duration operation=write outcome=ok": 2,
			"operation.duration operation=write outcome=exists": 1, "operation.duration operation=write outcome=denied": 1,
			"operation.duration operation=read outcome=ok": 2, "operation.duration operation=delete outcome=ok": 1,
			"operation.duration operation=reconcile outcome=ok":       1,
			"request.duration operation=write outcome=stalled site=c": 1,
			"request.duration operation=open outcome=ok site=a":       2,
			"debts.taken site=c": 1, "debts.paid site=c": 1, "quarantines site=c": 1, "releases site=c": 1, "denials site=a": 1,
		} {
			require.Equal(t, n, got[name], "%s in %v", name, got)
		}
		begun := map[string]trace.ReadOnlySpan{}
		for _, s := range e.spans.Ended() {
			begun[s.SpanContext().SpanID().String()] = s
		}
		stalled := false
		for _, s := range e.spans.Ended() {
			if s.Status() == (trace.Status{Code: codes.Error, Description: "stalled"}) {
				stalled = true
				require.Equal(t, time.Minute, s.EndTime().Sub(s.StartTime()))
				require.Contains(t, s.Attributes(), attribute.String("site", "c"))
				require.Equal(t, "carekeep.router.write", begun[s.Parent().SpanID().String()].Name(), "it is within the operation")
			}
		}
		require.True(t, stalled)
		require.Len(t, e.spans.Started(), len(e.spans.Ended()), "every span ends")
		require.Contains(t, e.logged.String(), `"level":"INFO","msg":"router: reconcile ends","outcome":"ok"`)
	})
}

// named is what package blob puts before an error of a driver.
var named = regexp.MustCompile(`blob \(key "[^"]*"\)`)

// TestCanary works with keys that carry a mark, on good paths and on failing ones, and looks for it in all that is told.
func TestCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const canary = "zyxwvut"
		ctx := t.Context()
		w := newMoveWorld(t, 3, "a", "b", "c", "d")
		e := listen(&w.opts)
		notes := &diary{}
		w.opts.Evidence = notes.note
		p := w.process()
		r := p.mustOpen()
		var texts []string
		tell := func(err error) {
			if err == nil {
				return
			}
			texts = append(texts, named.ReplaceAllString(err.Error(), ""))
		}
		fails := func(kinds ...faultstore.Kind) {
			p.setFault(func(site string, o faultstore.Op) faultstore.Fault {
				for _, k := range kinds {
					if o.Kind == k && site != "a" {
						return faultstore.FailWith(errors.New("cannot do that with " + o.Key))
					}
				}
				return faultstore.Fault{}
			})
		}
		key := func(n int) string { return fmt.Sprintf("%s/%d", canary, n) }
		for n := range 8 {
			fails([][]faultstore.Kind{nil, {faultstore.Write}, {faultstore.Delete}, {faultstore.Read}, {faultstore.List}, {faultstore.Copy}}[n%6]...)
			tell(create(r, key(n), "x"))
			tell(create(r, key(n), "y"))
			tell(confirm(r, key(n), "x"))
			_, err := r.Bucket().Attributes(ctx, key(n+1))
			tell(err)
			tell(r.Bucket().WriteAll(ctx, key(n), []byte("z"), nil))
			tell(r.Bucket().Copy(ctx, key(n+20), key(n), nil))
			tell(r.Bucket().Delete(ctx, key(n+20)))
			_, _, err = r.Bucket().ListPage(ctx, blob.FirstPageToken, 10, &blob.ListOptions{Prefix: canary})
			tell(err)
			_, err = r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
			tell(err)
			time.Sleep(time.Hour)
		}
		p.setFault(nil)
		w.stores["b"].Set(key(0), []byte("other"))
		p.cut(true, "c")
		tell(promote(r, "b", false))
		p.cut(false, "c")
		w.stores["c"].Set(canary+" stray", []byte("x"))
		time.Sleep(time.Hour)
		_, err := r.Reconcile(ctx, &router.ReconcileOptions{Deep: true})
		tell(err)
		fails(faultstore.Read)
		plan, err := r.PlanMigration(ctx, migration("c", "d"))
		require.NoError(t, err)
		_, err = r.Migrate(ctx, plan, nil)
		require.Error(t, err)
		tell(err)
		p.setFault(nil)
		time.Sleep(time.Hour)
		_, err = r.ResumeMigrations(ctx, nil)
		tell(err)
		_, err = r.Drill(ctx, "b", router.Site{Name: "drill", Bucket: faultstore.New().Bucket()}, nil)
		tell(err)
		require.NoError(t, r.Close(ctx))

		var exported strings.Builder
		for _, s := range e.spans.Ended() {
			fmt.Fprintln(&exported, s.Name(), s.Attributes(), s.Events(), s.Status())
		}
		require.Contains(t, exported.String(), "carekeep.router.migrate")
		require.Contains(t, e.logged.String(), "router: an object was kept aside")
		require.Greater(t, len(texts), 10)
		for what, text := range map[string]string{
			"an error": strings.Join(texts, "\n"), "a log": e.logged.String(), "a span": exported.String(),
			"a metric": fmt.Sprint(e.metrics(t)), "evidence": strings.Join(notes.lines, "\n"),
		} {
			require.NotEmpty(t, text)
			require.NotContains(t, strings.ToLower(text), canary, "the mark is in "+what)
		}
	})
}
