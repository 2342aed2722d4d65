package main

import (
	"errors"
	"fmt"
	"strings"

	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/backup"
)

type acceptLossCmd struct {
	Lost []string `arg:"" name:"object" help:"Object of the commit log that carekeep check reports (log/...), or id of a snapshot that cannot be restored completely."`
}

func (c *acceptLossCmd) Help() string {
	return `This is for an entry of the commit log that is damaged or gone, and that no copy of the store has any more: bring
it back from a copy if you can. Until then nothing tells which snapshot is the latest, and nothing is forgotten, held or
compacted. What was in the entry is lost for good afterwards: a snapshot, or holds and policies, which must be placed again.

Just what is lost must be named, else nothing is done and the rest is listed. Snapshots that cannot be restored
completely are named by their ids and stay for what is left of them.

No compact may be at work that began before the loss. A host that remembers the entry calls the store rolled back; run
this with --no-host there, or on another host. Backups that are interrupted by it begin again.`
}

func (c *acceptLossCmd) Run(a *app) error {
	p := a.progress()
	return a.with(p.event, func(r *backup.Repository, _ *blob.Bucket) error {
		rep, err := r.AcceptLoss(a.ctx, c.Lost...)
		p.end()
		if err != nil {
			a.refusedLoss(err)
			return err
		}
		a.acceptedLoss(rep)
		return nil
	})
}

// refusedLoss lists what was not named, and what was and is sound.
func (a *app) refusedLoss(err error) {
	var e *backup.LossError
	if !errors.As(err, &e) {
		return
	}
	if a.JSON {
		a.line(map[string]any{"type": "refused", "unnamed": list(e.Unnamed), "sound": list(e.Sound)})
		return
	}
	for _, name := range e.Sound {
		fmt.Fprintln(a.stderr, "not lost:", show(name))
	}
	for _, name := range e.Unnamed {
		fmt.Fprintln(a.stderr, "lost as well:", show(name))
	}
}

func (a *app) acceptedLoss(rep *backup.AcceptedLoss) {
	if a.JSON {
		a.line(map[string]any{
			"type": "accepted", "again": rep.Again, "objects": list(rep.Objects), "unknown": list(rep.Unknown),
			"snapshots": list(rep.Snapshots), "damaged": list(rep.Damaged), "returned": list(rep.Returned),
			"record_lost": rep.RecordLost, "record": rep.Record, "packs": rep.Packs, "lists": rep.Lists,
		})
		return
	}
	if rep.Again {
		fmt.Fprintln(a.stdout, "accepted before; nothing was changed")
		return
	}
	fmt.Fprintf(a.stdout, "given up for lost: %s of the commit log\n", entries(int64(len(rep.Objects))))
	say := func(names []string, text string) {
		if len(names) > 0 {
			fmt.Fprintf(a.stdout, "%s: %s\n", text, strings.Join(names, ", "))
		}
	}
	say(rep.Snapshots, "snapshots that are lost")
	say(rep.Damaged, "snapshots that are kept and cannot be restored completely")
	say(rep.Returned, "snapshots that are kept, as nothing tells that they were forgotten")
	say(rep.Unknown, "what these held is not known")
	if rep.RecordLost || len(rep.Unknown) > 0 {
		since := ""
		if !rep.Record.IsZero() {
			since = " that were set after " + rep.Record.Format("2006-01-02 15:04 MST")
		}
		may := "may be"
		if rep.RecordLost {
			may = "are"
		}
		fmt.Fprintf(a.stdout, "holds and policies%s %s lost: look at carekeep hold list\n", since, may)
	}
}

// list is never null in JSON.
func list(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
