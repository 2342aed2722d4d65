package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/residency/evidence"
	"github.com/carekeep/carekeep/residency/register"
)

type evidenceCmd struct {
	Out  string   `help:"File to write; each site's name is put before its ending." required:"" placeholder:"FILE"`
	Head []string `help:"A head that was noted earlier: the evidence has to hold it. May be repeated." placeholder:"HEAD"`
}

func (c *evidenceCmd) Help() string {
	return `Each site keeps evidence of its own, so one file is written for each that answers, and checked as it is written. Note
the heads that are shown where nobody who can write to the sites can alter them: with --head they prove later that nothing
up to them was removed.`
}

func (c *evidenceCmd) Run(a *app) error {
	var noted []evidence.Head
	for _, text := range c.Head {
		h, err := evidence.ParseHead(text)
		if err != nil {
			return usageError{err}
		}
		noted = append(noted, h)
	}
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	var broken error
	exported := 0
	found := make([]bool, len(noted))
	for i, log := range s.trail.logs {
		name := s.trail.names[i]
		if log == nil {
			fmt.Fprintf(a.stderr, "carekeep: site %s: its evidence does not answer\n", name)
			continue
		}
		text, err := c.export(a, name, log)
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("site %s: %w", name, err))
			continue
		}
		exported++
		for j, h := range noted { // each site has chains of its own, so a head is of one of them
			if _, err := evidence.Verify(bytes.NewReader(text), h); err == nil {
				found[j] = true
			}
		}
	}
	if exported == 0 && broken == nil {
		return errors.New("no evidence was written, as that of no site answers")
	}
	for j, h := range noted {
		if !found[j] {
			broken = errors.Join(broken, fmt.Errorf("the head %s is in the sound evidence of no site: something up to it was removed, or its site does not answer", h))
		}
	}
	return broken
}

// export writes the evidence of a site and checks what it wrote, which it returns.
func (c *evidenceCmd) export(a *app, site string, log *evidence.Log) ([]byte, error) {
	var b bytes.Buffer
	if err := log.Export(a.ctx, &b); err != nil && !errors.As(err, new(*evidence.BrokenError)) {
		return nil, err
	}
	ending := filepath.Ext(c.Out)
	out := strings.TrimSuffix(c.Out, ending) + "-" + site + ending
	if err := os.WriteFile(out, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	sum, err := evidence.Verify(bytes.NewReader(b.Bytes()))
	if a.JSON {
		a.line(map[string]any{"type": "evidence", "site": site, "file": out, "sound": err == nil, "records": sum.Records, "heads": sum.Heads})
		return b.Bytes(), err
	}
	fmt.Fprintf(a.stdout, "%s: %s in %s\n", site, count(sum.Records, "record"), show(out))
	for _, h := range sum.Heads {
		fmt.Fprintf(a.stdout, "  head %s\n", h)
	}
	return b.Bytes(), err
}

type registerCmd struct {
	Out string `help:"File to write: .html for people, .txt, or .json." required:"" placeholder:"FILE"`
}

func (c *registerCmd) Run(a *app) error {
	write := map[string]func(io.Writer, register.Register) error{
		".html": register.WriteHTML, ".txt": register.WriteText, ".json": register.WriteJSON,
	}[filepath.Ext(c.Out)]
	if write == nil {
		return usageError{errors.New("--out: the file ends in .html, .txt or .json")}
	}
	s, err := a.openSites(nil)
	if err != nil {
		return err
	}
	r, err := a.register(s)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, b.Bytes(), 0o600); err != nil {
		return err
	}
	if a.JSON {
		a.line(map[string]any{"type": "register", "file": c.Out, "sites": len(r.Sites)})
		return nil
	}
	fmt.Fprintf(a.stdout, "%s in %s\n", count(len(r.Sites), "site"), show(c.Out))
	return nil
}

// register is where the data is now.
func (a *app) register(s *sites) (register.Register, error) {
	st, err := s.router.Status(a.ctx)
	if err != nil {
		return register.Register{}, err
	}
	p := s.Placement
	r := register.Register{Practice: s.Practice, At: a.now(), Subject: s.Subject, Ruleset: s.rules.Digest(),
		Encryption: "AES-256-GCM with keys of the practice, before it leaves this computer",
		Wanted: register.Wanted{Copies: p.Copies, MustReach: p.MustReach, Operators: p.Operators, Subdivisions: p.Subdivisions,
			Offsite: p.Offsite}}
	for i := range st.Sites {
		v, e := &st.Sites[i], &s.Sites[i]
		site := register.Site{Name: e.Name, Home: e.Name == st.Home, Onsite: e.Onsite, Removable: e.Removable, ReadOnly: e.ReadOnly,
			Operator: e.Operator, Target: e.target(), Decision: v.Decision}
		site.Target.Location = v.Location
		if v.Quarantined {
			site.Quarantined, site.Why = v.Since, "carekeep sites release ends it"
		}
		if v.Answers {
			if site.Objects, site.Bytes, err = a.tally(s.buckets[i]); err != nil {
				return r, fmt.Errorf("site %s: %w", e.Name, err)
			}
			site.Counted = a.now()
		}
		r.Sites = append(r.Sites, site)
	}
	for i := range s.Overrides {
		o := &s.Overrides[i]
		r.Overrides = append(r.Overrides, register.Override{Site: o.Site, Override: *o.override()})
	}
	for _, log := range s.trail.logs {
		if log != nil {
			r.Heads = append(r.Heads, log.Head().String())
		}
	}
	r.Warnings = register.Expiring(r)
	return r, nil
}

// tally counts what a site holds, without the records of the router.
func (a *app) tally(b *blob.Bucket) (objects, bytes int64, err error) {
	for it := b.List(nil); ; {
		o, err := it.Next(a.ctx)
		if err == io.EOF {
			return objects, bytes, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if !strings.HasPrefix(o.Key, ".router/") {
			objects++
			bytes += o.Size
		}
	}
}
