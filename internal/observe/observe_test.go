package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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
	"go.uber.org/goleak"

	"github.com/carekeep/carekeep/internal/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is in every error here, and must be in nothing that is recorded.
var errSecret = errors.New("open /patients/Jane Citizen.pdf: denied")

// words are all that may be recorded as text.
var words = []string{
	"backup", "check", "get", "put", "ok", "refused", "carekeep.backup", "carekeep.check", "scan",
	"backup begins", "backup ends", "check begins", "check ends", "request to the store failed and is tried again",
}

// run makes two operations, one of which fails, and a retry.
func run(o observe.Options) {
	o.Classify = func(error) string { return "refused" }
	x := observe.New(o)
	ctx, p := x.Begin(context.Background(), "backup")
	p.Phase("scan")
	p.Expect(10, 1000)
	p.Add(3, 300)
	p.AddStored(70)
	x.Retry("put", errSecret)
	p.End(ctx, nil)
	ctx, p = x.Begin(context.Background(), "check")
	p.End(ctx, errSecret)
}

func requireWords(t *testing.T, set attribute.Set, keys ...string) {
	for _, kv := range set.ToSlice() {
		require.Contains(t, keys, string(kv.Key))
		if kv.Value.Type() == attribute.STRING {
			require.Contains(t, words, kv.Value.AsString())
		} else {
			require.Equal(t, attribute.INT64, kv.Value.Type())
		}
	}
}

func TestSpans(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	run(observe.Options{Tracer: trace.NewTracerProvider(trace.WithSpanProcessor(rec))})
	ended := rec.Ended()
	require.Len(t, ended, 2)
	for _, s := range ended {
		require.Contains(t, words, s.Name())
		requireWords(t, attribute.NewSet(s.Attributes()...), "carekeep.files", "carekeep.content.bytes", "carekeep.store.bytes", "outcome")
		for _, e := range s.Events() {
			require.Contains(t, words, e.Name)
			require.Empty(t, e.Attributes)
		}
	}
	require.Equal(t, codes.Unset, ended[0].Status().Code)
	require.Contains(t, ended[0].Attributes(), attribute.Int64("carekeep.content.bytes", 300))
	require.Equal(t, trace.Status{Code: codes.Error, Description: "refused"}, ended[1].Status())
}

func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	run(observe.Options{Meter: metric.NewMeterProvider(metric.WithReader(reader))})
	var rm metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &rm))
	sums := map[string]int64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				requireWords(t, p.Attributes, "operation", "outcome", "error.type")
				sums[m.Name] += p.Value
			}
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				requireWords(t, p.Attributes, "operation", "outcome")
				sums[m.Name] += int64(p.Count)
			}
		default:
			require.Fail(t, "another kind of instrument")
		}
	}
	require.Equal(t, map[string]int64{
		"carekeep.operation.duration": 2, "carekeep.content.bytes": 300, "carekeep.store.bytes": 70, "carekeep.files": 3, "carekeep.store.retries": 1,
	}, sums)
}

// TestSites: what is told of sites is made of the words that were given, and of numbers.
func TestSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec, reader := tracetest.NewSpanRecorder(), metric.NewManualReader()
		var out bytes.Buffer
		x := observe.NewSites(observe.Options{
			Logger: slog.New(slog.NewTextHandler(&out, nil)), Classify: func(error) string { return "refused" },
			Tracer: trace.NewTracerProvider(trace.WithSpanProcessor(rec)), Meter: metric.NewMeterProvider(metric.WithReader(reader)),
		})
		ctx, end := x.Begin(t.Context(), "reconcile", true)
		_, requested := x.Request(ctx, "north", "list")
		time.Sleep(3 * time.Second)
		requested(errSecret)
		end(nil)
		_, end = x.Begin(t.Context(), "write", false)
		end(errSecret)
		x.Count(t.Context(), observe.DebtsTaken, "north", 2)

		ended := rec.Ended()
		require.Len(t, ended, 3)
		require.Equal(t, ended[1].SpanContext().SpanID(), ended[0].Parent().SpanID())
		require.Equal(t, trace.Status{Code: codes.Error, Description: "refused"}, ended[0].Status())
		require.Equal(t, codes.Unset, ended[1].Status().Code)
		require.ElementsMatch(t, []attribute.KeyValue{
			attribute.String("site", "north"), attribute.String("operation", "list"), attribute.String("outcome", "refused"),
		}, ended[0].Attributes())
		require.Empty(t, ended[0].Events())

		var rm metricdata.ResourceMetrics
		require.NoError(t, reader.Collect(t.Context(), &rm))
		sums := map[string]float64{}
		for _, m := range rm.ScopeMetrics[0].Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				sums[m.Name] = float64(d.DataPoints[0].Value)
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					sums[m.Name] += p.Sum
				}
			}
		}
		require.Equal(t, map[string]float64{
			"carekeep.router.operation.duration": 3, "carekeep.router.request.duration": 3, "carekeep.router.debts.taken": 2,
		}, sums)
		require.Equal(t, 2, bytes.Count(out.Bytes(), []byte("\n")), "who writes is not heard: %s", &out)
		require.Contains(t, out.String(), `msg="router: reconcile ends" outcome=ok seconds=3`)
		require.NotContains(t, out.String()+fmt.Sprint(ended, rm), "Jane")
	})
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	run(observe.Options{Logger: slog.New(slog.NewJSONHandler(&out, nil))})
	require.NotContains(t, out.String(), "Jane")
	var levels []string
	for line := range bytes.Lines(out.Bytes()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal(line, &m))
		levels = append(levels, m["level"].(string))
		for k, v := range m {
			switch k {
			case "time", "level":
			case "msg", "operation", "outcome", "error.type":
				require.Contains(t, words, v)
			case "seconds", "files", "bytes", "stored":
				require.IsType(t, float64(0), v)
			default:
				require.Fail(t, "another attribute", k)
			}
		}
	}
	require.Equal(t, []string{"INFO", "WARN", "INFO", "INFO", "ERROR"}, levels)
}

func TestSilence(t *testing.T) {
	s := observe.NewSites(observe.Options{})
	s.Count(t.Context(), observe.Denied, "north", 1)
	_, done := s.Begin(t.Context(), "open", true)
	done(errSecret)
	x := observe.New(observe.Options{})
	x.Retry("put", errSecret)
	ctx, p := x.Begin(t.Context(), "backup")
	p.AddStored(5)
	require.Equal(t, int64(5), p.Stored())
	p.End(ctx, errSecret)
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []observe.Progress
		x := observe.New(observe.Options{Progress: func(e observe.Progress) error {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
			return nil
		}})
		ctx, p := x.Begin(t.Context(), "backup")
		p.Expect(4, 1000)
		for range 4 {
			time.Sleep(250 * time.Millisecond)
			p.Phase("scan")
			p.Add(1, 250)
			p.AddStored(10)
		}
		p.End(ctx, nil)
		require.GreaterOrEqual(t, len(events), 10)
		require.Equal(t, "start", events[0].Phase)
		for i, e := range events {
			require.Equal(t, i == len(events)-1, e.Done)
			require.Equal(t, "backup", e.Operation)
			require.Equal(t, int64(4), e.FilesAll)
		}
		require.True(t, slices.IsSortedFunc(events, func(a, b observe.Progress) int { return int(a.Bytes - b.Bytes) }))
		require.Equal(t, observe.Progress{
			Operation: "backup", Phase: "scan", Files: 4, Bytes: 1000, Stored: 40, FilesAll: 4, BytesAll: 1000, Elapsed: time.Second, Done: true,
		}, events[len(events)-1])
		require.Equal(t, observe.Progress{ // at 0.4 s a quarter was done
			Operation: "backup", Phase: "scan", Files: 1, Bytes: 250, Stored: 10, FilesAll: 4, BytesAll: 1000,
			Elapsed: 400 * time.Millisecond, Remaining: 1200 * time.Millisecond,
		}, events[3])
	})
}

// End returns when no call of the callback is under way, and none follows; the last event is sent even where
// the operation failed at once.
func TestEndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, calls, done atomic.Int32
		x := observe.New(observe.Options{Progress: func(e observe.Progress) error {
			if inside.Add(1) > 1 {
				t.Error("two calls at once")
			}
			calls.Add(1)
			time.Sleep(3 * time.Second)
			if e.Done {
				done.Add(1)
			}
			inside.Add(-1)
			return nil
		}})
		ctx, p := x.Begin(t.Context(), "backup")
		time.Sleep(150 * time.Millisecond) // the callback is busy
		require.Equal(t, int32(1), inside.Load())
		began := time.Now()
		p.End(ctx, nil)
		require.Equal(t, 5950*time.Millisecond, time.Since(began))
		require.Zero(t, inside.Load())
		require.Equal(t, int32(1), done.Load())
		time.Sleep(time.Minute)
		require.Equal(t, int32(2), calls.Load())

		ctx, p = x.Begin(t.Context(), "check")
		p.End(ctx, errSecret)
		require.Equal(t, int32(2), done.Load())
	})
}
