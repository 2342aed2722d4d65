package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/engine"
	"github.com/carekeep/carekeep/internal/format"
)

// AcceptedLoss says what AcceptLoss has given up, and what it has not.
type AcceptedLoss struct {
	// Again: all of it had been accepted before, so nothing was written; only Objects and Record are filled in.
	Again   bool
	Objects []string // slots of the commit log
	// Unknown are those of Objects of which nobody knows what they held. It may have been a snapshot; a forgetting, with the
	// record of holds, policies and promises of that time; or a key that was added or removed.
	Unknown   []string
	Snapshots []string // ids of the snapshots that are known to have been in these slots: they are lost
	Damaged   []string // ids of snapshots that are kept and cannot be restored completely, as was named
	// Returned are ids of snapshots that are kept although a host had them as forgotten, or not at all: nothing that can
	// be read and that the administrator signed says that they were forgotten. Forget them again if they were.
	Returned []string
	// RecordLost: the newest record of holds, policies, promises and releases was in one of the slots. The one that counts
	// now was made at Record: holds that were placed later must be placed again before anything is forgotten. The same
	// goes for whatever is Unknown.
	RecordLost bool
	Record     time.Time // by the clock of who made it; zero if there is no record
	// Packs and Lists count what was found again although the entry is lost that told of it: packs that snapshots need,
	// and lists of what a snapshot needs.
	Packs, Lists int64
}

// AcceptLoss gives entries of the commit log up for lost, so that everything works again that refuses to while they may
// hold something: opening the latest snapshot, Catalogue, Forget, Hold and Compact. It is for the day on which no copy of
// the store has the object any more; as long as one has, bring it back from there instead. It cannot be undone: an entry
// that turns up later counts for nothing.
//
// Lost are the names of log objects as [Repository.Check] reports them ("log/…"), and the ids of snapshots that
// cannot be restored completely any more, or could not before. Just what is lost must be named: anything else is a
// [*LossError], which lists what is missing and what is too much; without any name it is a list of all that is lost.
// Snapshots that are named are kept, for what is left of them. When the same is accepted again, nothing happens.
//
// What goes: a snapshot whose own entry is lost; holds and policies that a lost entry recorded; the effect of a lost
// entry that forgot snapshots, or that added or removed a key. What was stored and nothing needs is stored again when it
// comes up. Backups under way, in whatever process, begin again, and what interrupted ones had stored is not taken up.
// Whatever else a lost entry told is found again, by reading what a check of the structure reads.
//
// Before it is called, every Compact must have ended that began before the loss: it may be deleting what the lost
// entry condemned. Hosts that remember the entry report the store as rolled back until it is accepted, so the call is
// made elsewhere: with Options.Stateless, or, in a repository for a single writer, by a host that takes it over. It
// needs the administrator's and the reader's roles, and may run beside backups, and beside others that accept the same.
func (r *Repository) AcceptLoss(ctx context.Context, lost ...string) (*AcceptedLoss, error) {
	slots, ids, err := parseLosses(lost)
	if err != nil {
		return nil, fmt.Errorf("backup: accept loss: %w", err)
	}
	rep, err := r.e.Settle(ctx, slots, ids)
	var e *engine.LossError
	if errors.As(err, &e) {
		err = &LossError{Unnamed: e.Unnamed, Sound: e.Sound, err: e}
	}
	if err != nil {
		return nil, fmt.Errorf("backup: accept loss: %w", err)
	}
	return &AcceptedLoss{
		Again: rep.Again, Objects: entryNames(rep.Slots), Unknown: entryNames(rep.Unknown),
		Snapshots: idTexts(rep.Snapshots), Damaged: idTexts(rep.Damaged), Returned: idTexts(rep.Returned),
		RecordLost: rep.RecordLost, Record: rep.Recorded, Packs: rep.Located, Lists: rep.Relisted,
	}, nil
}

// parseLosses tells slots of the log from snapshots.
func parseLosses(names []string) (slots []uint64, ids []format.SnapID, err error) {
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name, "log/"); ok {
			if seq, err := strconv.ParseUint(digits, 10, 64); err == nil && format.EntryKey(seq) == name {
				slots = append(slots, seq)
				continue
			}
		}
		var id format.SnapID
		if n, err := hex.Decode(id[:], []byte(name[:min(len(name), 2*len(id))])); err != nil || n != len(id) || len(name) != 2*n {
			return nil, nil, errors.New("a name is neither that of an object of the commit log nor the id of a snapshot")
		}
		ids = append(ids, id)
	}
	slices.Sort(slots)
	return slices.Compact(slots), ids, nil
}

func entryNames(slots []uint64) (names []string) {
	for _, seq := range slots {
		names = append(names, format.EntryKey(seq))
	}
	return names
}

func idTexts(ids []format.SnapID) (texts []string) {
	for _, id := range ids {
		texts = append(texts, id.String())
	}
	return texts
}
