package register

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// Register is where one set of data is kept, at one moment. It is a plain value, safe to share between goroutines as
// long as nobody writes to it.
type Register struct {
	Practice string `json:"practice"` // whose register it is
	// At is the moment that the values are of. Dates are shown in its location.
	At      time.Time         `json:"at"`
	Subject residency.Subject `json:"subject"` // whose data it is, and of what class
	// Encryption says in a few words how the data was encrypted before it went to the sites, such as
	// "AES-256-GCM, before it leaves the practice". Empty: not known, and shown so.
	Encryption string `json:"encryption,omitempty"`
	Ruleset    string `json:"ruleset"` // the SHA-256 of the rules asked, as in a decision
	Wanted     Wanted `json:"wanted"`
	Sites      []Site `json:"sites"`
	// Overrides are the exceptions that hold or have held lately.
	Overrides []Override `json:"overrides,omitempty"`
	Moves     []Move     `json:"moves,omitempty"`
	Residuals []Residual `json:"residuals,omitempty"`
	// Warnings are of what ends soon. Nil: as [Expiring] finds them.
	Warnings []Warning `json:"warnings,omitempty"`
	// Names are the names of places for people, such as "New Zealand" for NZ. Others are shown by their codes.
	Names map[residency.Place]string `json:"names,omitempty"`
	// Heads are the newest heads of the evidence, as text. Printed with the page they are noted where nobody can
	// alter them.
	Heads []string `json:"heads,omitempty"`
}

// Wanted is the placement that was asked for. Zero is not asked for.
type Wanted struct {
	Copies       int `json:"copies"`
	MustReach    int `json:"mustReach,omitempty"` // copies before a write is reported as done
	Operators    int `json:"operators,omitempty"`
	Subdivisions int `json:"subdivisions,omitempty"` // different places
	Offsite      int `json:"offsite,omitempty"`
}

// Site is one place where copies are kept.
type Site struct {
	Name      string             `json:"name"`
	Home      bool               `json:"home,omitempty"` // it decides what is written
	Onsite    bool               `json:"onsite,omitempty"`
	Removable bool               `json:"removable,omitempty"` // such as a disk that is carried away
	ReadOnly  bool               `json:"readOnly,omitempty"`
	Operator  string             `json:"operator,omitempty"` // who runs it
	Target    residency.Target   `json:"target"`
	Decision  residency.Decision `json:"decision"`
	Since     time.Time          `json:"since,omitzero"` // since when it has held data
	Objects   int64              `json:"objects"`
	Bytes     int64              `json:"bytes"`
	Counted   time.Time          `json:"counted,omitzero"` // when the objects were counted; zero: they never were
	// Owed counts the objects that the site lacks, and since when it has lacked some.
	Owed      int64     `json:"owed,omitempty"`
	OwedSince time.Time `json:"owedSince,omitzero"`
	// Quarantined is since when the site is shut, and why. Zero: it is not.
	Quarantined time.Time `json:"quarantined,omitzero"`
	Why         string    `json:"why,omitempty"`
}

// Override is an exception at a site.
type Override struct {
	Site string `json:"site"`
	residency.Override
}

// Move brings data from one site to another.
type Move struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	Stage   string    `json:"stage"` // such as "copied"
	Why     string    `json:"why,omitempty"`
	Objects int64     `json:"objects"`
	Bytes   int64     `json:"bytes"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended,omitzero"` // zero: under way
}

// Residual is ciphertext that a site's store does not yet let go, because it is under a lock.
type Residual struct {
	Site     string    `json:"site"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Release  time.Time `json:"release"`            // when the last of it can be deleted
	Shredded bool      `json:"shredded,omitempty"` // the keys to it were destroyed, so that nobody can read it
}

// Warning is of something that ends soon, or has ended.
type Warning struct {
	Site string    `json:"site,omitempty"`
	What string    `json:"what"` // such as "paper dpa"
	Ends time.Time `json:"ends"`
	Days int       `json:"days"` // the threshold that was passed: 180, 90, 30; or 0 when it has ended
}

// WriteJSON writes the values of the register. The page and the text show the SHA-256 of just these bytes.
func WriteJSON(w io.Writer, r Register) error {
	data, err := r.json()
	if err != nil {
		return err
	}
	return write(w, data)
}

func (r Register) json() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("register: a date or time in it cannot be written: %w", err)
	}
	return b.Bytes(), nil
}

func (r Register) digest() (string, error) {
	data, err := r.json()
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

func write(w io.Writer, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}
