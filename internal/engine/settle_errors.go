package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/carekeep/carekeep/internal/ledger"
	"github.com/carekeep/carekeep/internal/store"
)

// waysOut is what to do about an entry of the log that cannot be read.
const waysOut = "bring that object back from a copy of the store, or accept its loss"

// lostEntry says what to do about an error of reading an entry, if that is lost.
func lostEntry(err error) error {
	if errors.Is(err, ledger.ErrAltered) || errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w: %s", ErrDamaged, err, waysOut)
	}
	return err
}

// LossError refuses to give up what was named, because it is not just what is lost.
type LossError struct {
	Unnamed []string // lost as well: slots of the log, by the names of their objects, and ids of snapshots
	Sound   []string // named, and not lost
}

func (e *LossError) Error() string {
	var parts []string
	if n := len(e.Sound); n > 0 {
		parts = append(parts, fmt.Sprintf("not lost: %s", some(e.Sound)))
	}
	if n := len(e.Unnamed); n > 0 {
		parts = append(parts, fmt.Sprintf("lost as well, and not named: %s", some(e.Unnamed)))
	}
	return "nothing was accepted: " + strings.Join(parts, "; ")
}

var errNothingLost = errors.New("no slot of the commit log is lost")

// some lists the first few names.
func some(names []string) string {
	const most = 10
	s := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names); n > most {
		s += fmt.Sprintf(" and %d more", n-most)
	}
	return s
}
