package residency

import (
	"time"

	"github.com/carekeep/carekeep/internal/civil"
)

// Day is a civil date without a zone, as laws name them. See [civil.Day] for its text.
type Day = civil.Day

// Place is a country by its ISO 3166-1 alpha-2 code, such as "AU", or a part of one by its ISO 3166-2 code, such
// as "AU-NSW". A part lies within its country.
type Place string

// Tag marks where records come from when that binds beyond their place: a record held under a scheme such as
// My Health Record, or by a body such as the NHS. The rules name the tags they know; see [Ruleset.Tags].
type Tag string

// Class says how much data tells about patients. Data of several classes has the highest; encrypted data has the
// class of its plaintext. Classes are ordered.
type Class int

// The classes, in order. The zero class is not yet decided, and judged as the highest.
const (
	Unclassified Class = iota
	Operational        // no personal data
	Deidentified       // of patients that nobody can tell
	Business           // the practice's finances and staff
	Demographic        // who the patients are
	Clinical           // what ails them, without who they are
	Identifiable       // both
)

// Purpose is what a target is wanted for. To hold ciphertext in a place is another act than to read it there.
type Purpose int

// The purposes.
const (
	Storage     Purpose = iota // keep ciphertext, which nobody there can read
	RestoreTest                // restore there to compare, in clear for a while
	Recovery                   // run the practice from there, in clear
	Migration                  // hold ciphertext on the way to another place
	Exit                       // hand everything to another provider
)

// Subject says whose data it is.
type Subject struct {
	Class   Class   `json:"class"`
	Origins []Place `json:"origins"`        // where the bodies that answer for it are; the rules of all bind
	Tags    []Tag   `json:"tags,omitempty"` // and what else binds
}

// Level says how well it is known where bytes rest.
type Level int

// The levels.
const (
	Declared Level = iota // E0: the operator says so
	Inferred              // E1: the endpoint says so
	Observed              // E2: the provider's interface says so
	Attested              // E3: observed, and a contract or an attestation is on file
)

// Location says where the bytes of a target rest, in all replicas.
type Location struct {
	// Provider and Region are looked up together in the region table, because a region's name means nothing
	// without its provider. Both are empty where an operator declares the places, as for a disk onsite.
	Provider string `json:"provider,omitempty"`
	Region   string `json:"region,omitempty"`
	// Redundancy is the provider's word for replication beyond the region, such as Azure's "GRS". It adds places.
	Redundancy string `json:"redundancy,omitempty"`
	// Places are added to what the table gives: declared ones where no provider is named, or replicas that a
	// probe found. Those that somebody else declares ask for a paper of kind [PaperLocation].
	Places []Place `json:"places,omitempty"`
	// Level is how well all this is known, and At when it was looked at.
	Level Level     `json:"level"`
	At    time.Time `json:"at,omitzero"`
}

// Exposure says who can be compelled to hand over what a target holds, or can reach it from elsewhere.
type Exposure struct {
	Operator Place   `json:"operator,omitempty"` // where the entity that runs it is established; none for one's own
	Parent   Place   `json:"parent,omitempty"`   // where its ultimate parent is
	Support  []Place `json:"support,omitempty"`  // from where its staff can reach it; some regimes judge that as a transfer
}

// Custody says who holds the keys.
type Custody struct {
	// Holder is where the keys are, and by whom: the zero Holder is not known.
	Holder Holder  `json:"holder,omitempty"`
	Places []Place `json:"places,omitempty"`
}

// Holder is who holds the keys to the data.
type Holder int

// The holders. With CustomerHeld nobody at the provider can decrypt.
const (
	HolderUnknown Holder = iota
	CustomerHeld
	ThirdPartyHeld
	ProviderHeld
)

// Paper is a piece of paper that is in place: a contract, a certificate, an approval, a listing; or a fact about
// the recipient that a rule asks for.
type Paper struct {
	Kind    string   `json:"kind"`            // such as "dpf-listing"; the rules name the kinds they know; see [Ruleset.PaperKinds]
	Scope   []string `json:"scope,omitempty"` // what it covers, in the rules' words, such as "uk-extension"
	Issuer  string   `json:"issuer,omitempty"`
	Subject string   `json:"subject,omitempty"` // the entity that it is about
	Ref     string   `json:"ref,omitempty"`
	From    Day      `json:"from,omitzero"`
	Until   Day      `json:"until,omitzero"` // the first day on which it no longer holds; zero: open
	Checked Day      `json:"checked,omitzero"`
	// Refuted says that the fact was looked at and does not hold, which is more than not knowing.
	Refuted bool `json:"refuted,omitempty"`
}

// Target is a place that data might go to, with everything that a rule may ask about it.
type Target struct {
	Location Location `json:"location"`
	Exposure Exposure `json:"exposure"`
	Custody  Custody  `json:"custody"`
	Papers   []Paper  `json:"papers,omitempty"`
}

// Request is a question to [Ruleset.Decide].
type Request struct {
	Subject Subject `json:"subject"`
	Purpose Purpose `json:"purpose"`
	Target  Target  `json:"target"`
	// Existing asks whether data that is at the target already may stay there. Otherwise the question is whether
	// new data may be written. The rules answer both alike; an [Override] can tell them apart.
	Existing bool `json:"existing,omitempty"`
	// AsOf is the date whose law is asked for. The zero Day is Now, in the zone of each regime.
	AsOf Day `json:"asOf,omitzero"`
	// Known is the date whose knowledge is asked for: what became known later is not used. Zero: everything.
	Known Day `json:"known,omitzero"`
	// Now is the time of asking, by which review dates, overrides and the age of evidence are judged. It must
	// be set.
	Now time.Time `json:"now"`
	// Override is an exception that a named person made for a while.
	Override *Override `json:"override,omitempty"`
}

// Override lets data be kept or written where the rules would not have it, for a clinical emergency: to lose
// the only copy is a harm too. The decision shows it beside the verdict of the rules.
type Override struct {
	ID     string    `json:"id"`
	Person string    `json:"person"` // who answers for it; never a patient
	Reason string    `json:"reason"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"` // at most [MaxOverride] after From
	Write  bool      `json:"write"` // new data too; otherwise what is there may stay, and nothing is added
}

// MaxOverride is the longest time for which an [Override] holds.
const MaxOverride = 7 * 24 * time.Hour
