package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/carekeep/carekeep/residency/evidence"
)

// trailPrefix is where evidence lies at a site: among the router's own names, which no listing of the copies shows.
const trailPrefix = ".router/evidence/"

// trail keeps evidence of what the router does at every site that answers, beside the copies and not through the
// router: that a write was denied has to be recorded just when nothing may be written. It holds no personal
// data, so it may be anywhere.
type trail struct {
	a     *app
	names []string
	logs  []*evidence.Log // of the sites; nil where one does not answer
}

// openTrail opens the evidence of all sites. This host has one chain at each, under a name that does not tell its own.
func (a *app) openTrail(s *sites) (*trail, error) {
	host, _ := os.Hostname()
	sum := sha256.Sum256([]byte(host))
	writer := "host-" + hex.EncodeToString(sum[:8])
	t := &trail{a: a}
	for i, b := range s.buckets {
		log, err := evidence.Open(a.ctx, b, trailPrefix, &evidence.Options{Writer: writer, Now: a.now})
		if err != nil {
			if a.ctx.Err() != nil {
				return nil, a.ctx.Err()
			}
			log = nil
		}
		t.names = append(t.names, s.Sites[i].Name)
		t.logs = append(t.logs, log)
	}
	return t, nil
}

// record keeps what a router tells of. What no site can take does not keep anybody from reading; nothing can be
// written then either.
func (t *trail) record(ctx context.Context, kind evidence.Kind, site string, data any) error {
	kept := false
	for _, log := range t.logs {
		if log == nil {
			continue
		}
		err := log.Append(ctx, kind, site, data)
		if errors.Is(err, evidence.ErrRefused) || err != nil && ctx.Err() != nil {
			return err
		}
		kept = kept || err == nil
	}
	if !kept {
		fmt.Fprintf(t.a.stderr, "carekeep: no site takes evidence: that of a %s is lost\n", kind)
	}
	return nil
}
