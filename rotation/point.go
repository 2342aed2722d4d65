package rotation

import "time"

// PointID names a recovery point. It is what package backup calls a snapshot's id, in hexadecimal.
type PointID string

// Point is a recovery point: a state of the data that can be gone back to.
//
// Decisions rest on Seq and Observed, which the writer of a point cannot choose. Claimed and Day are its word: they are
// shown, and a word that cannot be true puts the point into quarantine.
type Point struct {
	ID PointID `json:"id"`
	// Lineage is the series that the point belongs to. Points of different lineages never displace each other.
	Lineage string `json:"lineage"`
	// Seq is the point's position in the commit log, an order that no clock can change.
	Seq uint64 `json:"seq"`
	// Claimed is the writer's clock when the run began. Zero: not known, or examined by a person and found wrong.
	Claimed time.Time `json:"claimed,omitzero"`
	// Observed is when the point is known to have existed, by the clock of a witness such as the store. It never
	// decreases as Seq grows.
	Observed time.Time `json:"observed"`
	// Day is the business day that the point stands for. Zero: the day of Observed, in the policy's zone.
	Day Day `json:"day,omitzero"`
	// Complete says that the point holds all that it was to hold.
	Complete bool      `json:"complete"`
	Verified Assurance `json:"verified"`
	// Anomalies says what looks wrong, such as a size that collapsed. A point that has any claims no bucket.
	Anomalies []string `json:"anomalies,omitempty"`
	// Requires lists the points without which this one cannot be restored.
	Requires []PointID `json:"requires,omitempty"`
	Copies   []Copy    `json:"copies,omitempty"`
	// Classes says which kinds of records the point contains, for holds that cover a class.
	Classes []string `json:"classes,omitempty"`
	// Promise is the time before which the point must not go, as promised when it was admitted or granted a bucket. No
	// later policy takes it back. Zero: none.
	Promise time.Time `json:"promise,omitzero"`
	Holds   []HoldID  `json:"holds,omitempty"` // placed on this very point; see also [Hold.Scope]
	// Promoted names the buckets that the point was granted earlier, such as "weekly 2026-W47". It keeps them.
	Promoted []string `json:"promoted,omitempty"`
	Bytes    int64    `json:"bytes,omitempty"` // what its release would free, at most
}

// Copy is one place where a point lies.
type Copy struct {
	Site string `json:"site"` // name of the place or medium, such as "s3-sydney" or "BLUE-2"
	// Offsite: away from where the live system stands.
	Offsite bool `json:"offsite,omitempty"`
	// Offline: no software can reach it.
	Offline bool `json:"offline,omitempty"`
	// LockedUntil is when the provider's legal lock ends. Zero: not locked.
	LockedUntil time.Time `json:"lockedUntil,omitzero"`
	Verified    Assurance `json:"verified"` // of this very copy: an unread tape may be blank
}

// Assurance says how well it is known that a point, or a copy of one, can be restored. Greater is better.
type Assurance uint8

// The grades of assurance.
const (
	Unverified Assurance = 0
	Checked    Assurance = 1 // the structure was checked
	ReadBack   Assurance = 2 // every byte was read and compared with its digest
	Restored   Assurance = 3 // it was restored and compared with what had been backed up
)

var assuranceNames = []string{
	Unverified: "unverified", Checked: "checked", ReadBack: "readBack", Restored: "restored",
}

// String returns "unverified", "checked", "readBack" or "restored".
func (a Assurance) String() string { return nameOf(assuranceNames, a) }

// MarshalText implements [encoding.TextMarshaler].
func (a Assurance) MarshalText() ([]byte, error) { return marshalName("assurance", assuranceNames, a) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Assurance) UnmarshalText(text []byte) error {
	return unmarshalName("assurance", assuranceNames, text, a)
}
