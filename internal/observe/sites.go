package observe

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// routerScope names the router to OpenTelemetry.
const routerScope = "github.com/carekeep/carekeep/residency/router"

// Sites observes work on several stores, which have names that whoever configured them chose. It is safe for concurrent use.
type Sites struct {
	log      *slog.Logger
	tracer   trace.Tracer
	classify func(error) string

	operations metric.Float64Histogram
	requests   metric.Float64Histogram
	events     map[Event]metric.Int64Counter
}

// Event is something that is counted by site.
type Event string

// The events.
const (
	DebtsTaken  Event = "carekeep.router.debts.taken"
	DebtsPaid   Event = "carekeep.router.debts.paid"
	Quarantined Event = "carekeep.router.quarantines"
	Released    Event = "carekeep.router.releases"
	Denied      Event = "carekeep.router.denials"
)

// NewSites returns a Sites. Progress is not used. An instrument that the meter refuses is left out.
func NewSites(o Options) *Sites {
	o = o.orSilent()
	m := o.Meter.Meter(routerScope)
	x := &Sites{log: o.Logger, tracer: o.Tracer.Tracer(routerScope), classify: o.Classify, events: map[Event]metric.Int64Counter{}}
	x.operations, _ = m.Float64Histogram("carekeep.router.operation.duration", metric.WithUnit("s"), metric.WithDescription("Duration of an operation on all sites."))
	x.requests, _ = m.Float64Histogram("carekeep.router.request.duration", metric.WithUnit("s"), metric.WithDescription("Duration of a request to one site."))
	for e, text := range map[Event]string{
		DebtsTaken: "Changes that a site has missed.", DebtsPaid: "Missed changes that a site was given.",
		Quarantined: "Sites put in quarantine.", Released: "Quarantines that were ended.",
		Denied: "Refused writes, by the sites that may not hold the data.",
	} {
		x.events[e], _ = m.Int64Counter(string(e), metric.WithDescription(text))
	}
	return x
}

// Begin starts an operation, named by a fixed word. The function that it returns ends it, and must be called once. With aloud
// the logger is told of both.
func (x *Sites) Begin(ctx context.Context, name string, aloud bool) (context.Context, func(error)) {
	ctx, span := x.tracer.Start(ctx, "carekeep.router."+name)
	began := time.Now()
	if aloud {
		x.log.InfoContext(ctx, "router: "+name+" begins")
	}
	return ctx, func(err error) {
		took, outcome := time.Since(began), x.end(span, err)
		x.operations.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("operation", name), attribute.String("outcome", outcome)))
		if !aloud {
			return
		}
		level := slog.LevelInfo
		if err != nil {
			level = slog.LevelError
		}
		x.log.Log(ctx, level, "router: "+name+" ends", "outcome", outcome, "seconds", took.Seconds())
	}
}

// Request starts a request to a site; op is a fixed word. The function that it returns ends it, and must be called once.
func (x *Sites) Request(ctx context.Context, site, op string) (context.Context, func(error)) {
	set := []attribute.KeyValue{attribute.String("site", site), attribute.String("operation", op)}
	ctx, span := x.tracer.Start(ctx, "carekeep.router.request", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(set...))
	began := time.Now()
	return ctx, func(err error) {
		outcome := attribute.String("outcome", x.end(span, err))
		x.requests.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(append(set, outcome)...))
	}
}

// end ends a span, and returns the word for how it went.
func (x *Sites) end(span trace.Span, err error) string {
	outcome := "ok"
	if err != nil {
		outcome = x.classify(err)
		span.SetStatus(codes.Error, outcome)
	}
	span.SetAttributes(attribute.String("outcome", outcome))
	span.End()
	return outcome
}

// Count counts what happened to a site.
func (x *Sites) Count(ctx context.Context, e Event, site string, n int64) {
	x.events[e].Add(ctx, n, metric.WithAttributes(attribute.String("site", site)))
}
