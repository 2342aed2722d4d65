package media

import (
	"errors"
	"fmt"
	"slices"

	"github.com/carekeep/carekeep/rotation"
)

// Sanitisation levels of NIST SP 800-88 Rev. 2 (September 2025).
type Sanitisation string

const (
	// Clear overwrites by ordinary means: safe against simple recovery.
	Clear Sanitisation = "clear"
	// Purge makes recovery infeasible also for a laboratory.
	Purge Sanitisation = "purge"
	// Destroy makes the medium itself unusable too.
	Destroy Sanitisation = "destroy"
)

// Certificate records how a medium was sanitised. The particular techniques for each class of medium are
// those of IEEE 2883, to which NIST SP 800-88 Rev. 2 refers.
type Certificate struct {
	Day       rotation.Day
	Medium    Identity
	Level     Sanitisation
	Technique string // such as "overwrite", "block erase", "cryptographic erase", "shred"
	Tool      string // program with version, or the contractor
	Verified  string // how the result was checked
	By        string // who did it
	Witness   string // who saw it: another person
	// Erase is required where the technique is [CryptographicErase].
	Erase *KeyErasure `json:",omitempty"`
}

// CryptographicErase is the technique that destroys the key instead of the data.
const CryptographicErase = "cryptographic erase"

// KeyErasure says under what conditions a key was destroyed. It purges only if all of them hold.
type KeyErasure struct {
	AlwaysEncrypted bool   // nothing was ever written in clear
	EveryCopy       bool   // every copy of the key is gone: escrow, recovery shares and backups of keys too
	HoldsChecked    bool   // no hold on any copy of any point under this key
	KeyEpoch        string // which key
}

// Check refuses a certificate that proves nothing about the medium.
func (c Certificate) Check(m Medium) error {
	switch {
	case c.Medium != m.Identity:
		return errors.New("certificate: it is for another medium")
	case c.Day.IsZero() || c.Technique == "" || c.Tool == "" || c.Verified == "":
		return errors.New("certificate: it needs the day, the technique, the tool and how the result was checked")
	case c.By == "" || c.Witness == "" || c.By == c.Witness:
		return errors.New("certificate: it needs two different people, one who did it and one who saw it")
	case c.Level != Clear && c.Level != Purge && c.Level != Destroy:
		return fmt.Errorf("certificate: level %.20q: expected clear, purge or destroy", string(c.Level))
	case c.Technique != CryptographicErase:
		return nil
	case c.Erase == nil || !c.Erase.AlwaysEncrypted || !c.Erase.EveryCopy || !c.Erase.HoldsChecked || c.Erase.KeyEpoch == "":
		return errors.New("certificate: cryptographic erase counts only if all data was always encrypted, every copy of the " +
			"key including escrow and recovery shares is destroyed, and no hold needs the key")
	}
	return nil
}

// Reader is a device or program that reads a format of media: old backups are of use only as long as one is
// kept and works. The RACGP asks practices to retain access to previous backup technology and to test that
// previous media can be read.
type Reader struct {
	Name         string
	Reads        []string // formats, such as "usb-a", "lto-8", or a repository format with its pinned program
	Owned        bool     // at hand, not merely to be bought
	LastTested   rotation.Day
	EndOfSupport rotation.Day `json:",omitzero"` // zero: none is announced
}

// CheckReaders lists the media that nothing owned, supported and tested within the span reads, each with
// the reason.
func CheckReaders(media []Medium, readers []Reader, today rotation.Day, within rotation.Span) map[string][]Reason {
	out := map[string][]Reason{}
	for _, m := range media {
		if m.State == Destroyed {
			continue
		}
		var why []Reason
		found := false
		for _, r := range readers {
			if !slices.Contains(r.Reads, m.Format) {
				continue
			}
			found = true
			reason := Reason{Code: CodeReader}
			switch {
			case !r.Owned:
				reason.Text = fmt.Sprintf("the practice does not own the reader %s", r.Name)
			case r.LastTested.IsZero():
				reason.Text = fmt.Sprintf("the reader %s has never been tested", r.Name)
			case within.From(r.LastTested).Before(today):
				reason.Text = fmt.Sprintf("the reader %s was last tested on %s", r.Name, r.LastTested)
			case !r.EndOfSupport.IsZero() && r.EndOfSupport.Before(today):
				reason.Text = fmt.Sprintf("the reader %s has had no support since %s", r.Name, r.EndOfSupport)
			default:
				why = nil
			}
			if reason.Text == "" {
				break
			}
			why = append(why, reason)
		}
		if !found {
			why = []Reason{{Code: CodeReader, Text: fmt.Sprintf("no reader for the format %q is registered", m.Format)}}
		}
		if len(why) > 0 {
			out[m.Name] = why
		}
	}
	return out
}

// LTOReads reports whether a tape drive of one LTO generation reads tapes of another: to generation 7 two
// back, 8 and 9 one back, 10 its own alone (LTO Consortium's compatibility tables).
func LTOReads(drive, tape int) bool {
	back := 2
	switch {
	case drive < 1 || drive > 10 || tape < 1:
		return false
	case drive >= 10:
		back = 0
	case drive >= 8:
		back = 1
	}
	return tape <= drive && tape >= drive-back
}

// Task is something that people must do about a medium. Missing and quarantined media are no end by
// themselves.
type Task struct {
	Medium string
	Text   string
}

// Tasks lists what is open in the register.
func Tasks(register []Medium) []Task {
	var out []Task
	add := func(m Medium, text string) { out = append(out, Task{Medium: m.Name, Text: text}) }
	for _, m := range register {
		switch m.State {
		case Missing:
			add(m, "Find out when it was last seen, and by whom.")
			if len(m.Contents) > 0 {
				add(m, "Assess whether its loss is a notifiable data breach, and keep the evidence that it was encrypted.")
			}
			for _, c := range m.Contents {
				if c.Elsewhere == 0 {
					add(m, fmt.Sprintf("It held the only copy of %s: make another where the data still exists.", c.what()))
				}
			}
		case Quarantined:
			add(m, "Two people look at why it was set aside, and clear it or take it out of service.")
		case Retired:
			add(m, "Sanitise it, and file the certificate.")
		}
	}
	return out
}
