// Package observe is how the library tells what it does: progress events, a slog logger, and OpenTelemetry
// spans and metrics. Everything comes in through [Options]; nothing goes to a global.
//
// Names are patient data. What is recorded here is made of closed sets of words and of numbers; no call
// takes a file name, a path, a label or an error's text. Errors are recorded by their class.
package observe

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	mnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tnoop "go.opentelemetry.io/otel/trace/noop"
)

// scope names this library to OpenTelemetry.
const scope = "github.com/carekeep/carekeep/backup"

// Options say who listens. The zero value is silence.
type Options struct {
	Logger *slog.Logger
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	// Progress receives events. An error ends the operation with it, and the events.
	Progress func(Progress) error
	// Classify gives the class of an error, one of a closed set of words; nil means "error" for all.
	Classify func(error) string
}

// Progress is one event of a running operation.
type Progress struct {
	Operation string        // "backup", "restore" or "check"
	Phase     string        // "scan", "metadata", "commit", "read", "write", …
	Files     int64         // files done
	Bytes     int64         // bytes of content done
	Stored    int64         // bytes written to, or read from, the store
	FilesAll  int64         // estimate of all files; 0 when not known
	BytesAll  int64         // estimate of all bytes; 0 when not known
	Elapsed   time.Duration // since the operation began
	Remaining time.Duration // estimate; 0 when not known
	Done      bool          // the last event
}

// Observer hands out observed operations. It is safe for concurrent use.
type Observer struct {
	log      *slog.Logger
	tracer   trace.Tracer
	progress func(Progress) error
	classify func(error) string

	duration metric.Float64Histogram
	bytes    metric.Int64Counter
	stored   metric.Int64Counter
	files    metric.Int64Counter
	retries  metric.Int64Counter
}

// orSilent puts somebody who does not listen where nobody does.
func (o Options) orSilent() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Tracer == nil {
		o.Tracer = tnoop.NewTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = mnoop.NewMeterProvider()
	}
	if o.Classify == nil {
		o.Classify = func(error) string { return "error" }
	}
	return o
}

// New returns an Observer. An instrument that the meter refuses is left out.
func New(o Options) *Observer {
	o = o.orSilent()
	m := o.Meter.Meter(scope)
	x := &Observer{log: o.Logger, tracer: o.Tracer.Tracer(scope), progress: o.Progress, classify: o.Classify}
	x.duration, _ = m.Float64Histogram("carekeep.operation.duration", metric.WithUnit("s"), metric.WithDescription("Duration of an operation."))
	x.bytes, _ = m.Int64Counter("carekeep.content.bytes", metric.WithUnit("By"), metric.WithDescription("Bytes of file content processed."))
	x.stored, _ = m.Int64Counter("carekeep.store.bytes", metric.WithUnit("By"), metric.WithDescription("Bytes written to or read from the store."))
	x.files, _ = m.Int64Counter("carekeep.files", metric.WithUnit("{file}"), metric.WithDescription("Files processed."))
	x.retries, _ = m.Int64Counter("carekeep.store.retries", metric.WithUnit("{retry}"), metric.WithDescription("Requests to the store that were tried again."))
	return x
}

// Retry records that a request to the store is tried again. Op is a verb of package store.
func (o *Observer) Retry(op string, err error) {
	class := o.classify(err)
	o.retries.Add(context.Background(), 1, metric.WithAttributes(attribute.String("operation", op), attribute.String("error.type", class)))
	o.log.Warn("request to the store failed and is tried again", "operation", op, "error.type", class)
}

// Operation is one observed run. Its counters may be raised from any goroutine.
type Operation struct {
	o     *Observer
	name  string
	span  trace.Span
	began time.Time

	files, bytes, stored atomic.Int64
	filesAll, bytesAll   atomic.Int64
	phase                atomic.Pointer[string]
	stop                 chan struct{}
	wg                   sync.WaitGroup

	cancel  context.CancelCauseFunc
	refused error // of Progress
}

// Begin starts an operation; End must follow, and ends the context.
func (o *Observer) Begin(ctx context.Context, name string) (context.Context, *Operation) {
	ctx, span := o.tracer.Start(ctx, "carekeep."+name)
	ctx, cancel := context.WithCancelCause(ctx)
	p := &Operation{o: o, name: name, span: span, began: time.Now(), stop: make(chan struct{}), cancel: cancel}
	first := "start"
	p.phase.Store(&first)
	o.log.InfoContext(ctx, name+" begins")
	if o.progress != nil {
		p.wg.Go(p.report)
	}
	return ctx, p
}

// report sends events until the operation ends.
func (p *Operation) report() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			select {
			case <-p.stop: // both were ready: the end comes first
				return
			default:
			}
			if p.refused = p.o.progress(p.event()); p.refused != nil {
				p.cancel(p.refused)
				return
			}
		}
	}
}

func (p *Operation) event() Progress {
	e := Progress{
		Operation: p.name, Phase: *p.phase.Load(), Files: p.files.Load(), Bytes: p.bytes.Load(), Stored: p.stored.Load(),
		FilesAll: p.filesAll.Load(), BytesAll: p.bytesAll.Load(), Elapsed: time.Since(p.began),
	}
	if e.BytesAll > e.Bytes && e.Bytes > 0 {
		e.Remaining = time.Duration(float64(e.Elapsed) / float64(e.Bytes) * float64(e.BytesAll-e.Bytes))
	}
	return e
}

// Phase names what the operation does now; a fixed word.
func (p *Operation) Phase(name string) {
	p.phase.Store(&name)
	p.span.AddEvent(name)
}

// Expect sets the estimate of what there is to do.
func (p *Operation) Expect(files, bytes int64) {
	p.filesAll.Store(files)
	p.bytesAll.Store(bytes)
}

// Add raises the counters.
func (p *Operation) Add(files, bytes int64) {
	p.files.Add(files)
	p.bytes.Add(bytes)
}

// AddStored counts bytes written to or read from the store.
func (p *Operation) AddStored(n int64) { p.stored.Add(n) }

// Stored is how many bytes AddStored has counted.
func (p *Operation) Stored() int64 { return p.stored.Load() }

// End finishes the operation, with the error it failed with or nil, which it returns; if the receiver of
// progress ended the operation, that is the error. It sends the last progress event and waits for earlier ones
// to have been taken. What an operation has done counts, whatever the receiver says too late.
func (p *Operation) End(ctx context.Context, err error) error {
	close(p.stop)
	p.wg.Wait()
	defer p.cancel(nil)
	if p.refused != nil && err != nil {
		err = p.refused
	}
	took := time.Since(p.began)
	outcome := "ok"
	if err != nil {
		outcome = p.o.classify(err)
		p.span.SetStatus(codes.Error, outcome)
	}
	set := metric.WithAttributes(attribute.String("operation", p.name), attribute.String("outcome", outcome))
	p.o.duration.Record(ctx, took.Seconds(), set)
	p.o.bytes.Add(ctx, p.bytes.Load(), set)
	p.o.stored.Add(ctx, p.stored.Load(), set)
	p.o.files.Add(ctx, p.files.Load(), set)
	p.span.SetAttributes(
		attribute.Int64("carekeep.files", p.files.Load()),
		attribute.Int64("carekeep.content.bytes", p.bytes.Load()),
		attribute.Int64("carekeep.store.bytes", p.stored.Load()),
		attribute.String("outcome", outcome),
	)
	p.span.End()
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
	}
	p.o.log.Log(ctx, level, p.name+" ends", "outcome", outcome, "seconds", took.Seconds(),
		"files", p.files.Load(), "bytes", p.bytes.Load(), "stored", p.stored.Load())
	if p.o.progress != nil && p.refused == nil {
		e := p.event()
		e.Done = true
		p.refused = p.o.progress(e)
	}
	if p.refused != nil && err == nil {
		p.o.log.WarnContext(ctx, "the receiver of progress failed", "error.type", p.o.classify(p.refused))
	}
	return err
}
