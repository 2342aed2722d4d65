package rotation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// ActKind is something that cannot be taken back.
type ActKind string

const (
	// ActReview is no act: only what stands is looked at.
	ActReview ActKind = "review"
	// ActLock asks a store to lock points until a day. See [Act.Lock].
	ActLock ActKind = "lock"
	// ActDestroyKey destroys the key of an epoch, and with it every copy of the points under it.
	ActDestroyKey ActKind = "destroy-key"
	// ActSanitise clears or destroys a medium.
	ActSanitise ActKind = "sanitise"
	// ActForget deletes points.
	ActForget ActKind = "forget"
	// ActShorten puts a shorter retention in force. Points are those that it would let go earlier.
	ActShorten ActKind = "shorten-retention"
)

// LockKind is a way in which a store locks objects. What each can do and cannot is the providers' word, with
// the source in the conflict.
type LockKind string

const (
	// LockS3Compliance is S3 Object Lock in compliance mode: nobody ends it early, only lengthens it.
	LockS3Compliance LockKind = "s3-compliance"
	// LockS3Governance is S3 Object Lock in governance mode: a permission ends it early.
	LockS3Governance LockKind = "s3-governance"
	// LockAzureContainer is a locked time-based policy on an Azure container: extended five times at most.
	LockAzureContainer LockKind = "azure-container"
	// LockAzureVersion is a locked time-based policy on an Azure blob version.
	LockAzureVersion LockKind = "azure-version"
	// LockGCSBucket is a locked retention policy on a Cloud Storage bucket.
	LockGCSBucket LockKind = "gcs-bucket"
	// LockGCSObject is a locked retention configuration on a Cloud Storage object.
	LockGCSObject LockKind = "gcs-object"
)

// Act is what is about to be done.
type Act struct {
	Kind ActKind `json:"kind"`
	// Points are all that the act touches: those under the key, on the medium, in the bucket.
	Points []PointID `json:"points,omitempty"`
	// NoPoints says that none is touched, for instance by a medium that was never written. Otherwise an
	// empty Points is an error, because nothing could be checked.
	NoPoints bool `json:"noPoints,omitempty"`
	// Name is the key epoch, or the medium as in [Copy.Site].
	Name string `json:"name,omitempty"`

	// Until is the last day of a lock.
	Until Day      `json:"until,omitzero"`
	Lock  LockKind `json:"lock,omitempty"`
	// Extensions is how often the container's locked policy was extended before.
	Extensions int `json:"extensions,omitempty"`
	// EventHold says that objects bear an event-based hold of Cloud Storage.
	EventHold bool `json:"eventHold,omitempty"`

	// KeyCopies names the copies of the key that would be left: escrow, recovery shares, key stores.
	KeyCopies []string `json:"keyCopies,omitempty"`
	// AlwaysEncrypted says that no plaintext ever lay where the key is to be destroyed instead of the data.
	AlwaysEncrypted Answer `json:"alwaysEncrypted,omitzero"`
}

// Situation is what an act is checked against.
type Situation struct {
	AsOf Day  `json:"asOf"`
	Zone Zone `json:"zone,omitzero"`
	// Points is the whole catalogue, not only what the act touches.
	Points []Point `json:"points"`
	Holds  []Hold  `json:"holds,omitempty"`
	// Expiries is the day on which the policy lets each point go, from [Plan.Expiries].
	Expiries map[PointID]Day `json:"expiries,omitempty"`
	// Archives are points that are themselves the record, such as the last state of a closed practice.
	Archives []PointID `json:"archives,omitempty"`
	// Records says how long the records in the points must be kept; see [Obligations]. Nil: not looked up.
	Records *Term `json:"records,omitempty"`
	// Erasure is within how long a person's data is gone from every point, as promised to them. Zero: no promise.
	Erasure Span `json:"erasure,omitzero"`
	// ErasureLag is [ErasureOptions.Lag].
	ErasureLag Span `json:"erasureLag,omitzero"`
	// MaxLock is the longest lock that anybody may ask for. Zero: none was set.
	MaxLock Span `json:"maxLock,omitzero"`
	// LastExpiry is the day on which a point last went by the policy; zero if none ever did. ExpireWithin is
	// how long that may be ago. Zero: not checked.
	LastExpiry   Day  `json:"lastExpiry,omitzero"`
	ExpireWithin Span `json:"expireWithin,omitzero"`
}

// Severity says what a conflict asks for.
type Severity uint8

const (
	SeverityNote  Severity = iota // somebody should know
	SeverityWarn                  // somebody must decide, and sign
	SeverityBlock                 // do not do it
)

// String returns "note", "warning" or "block".
func (s Severity) String() string { return nameOf(severityNames(), s) }

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return marshalName("severity", severityNames(), s) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Severity) UnmarshalText(text []byte) error {
	return unmarshalName("severity", severityNames(), text, s)
}

func severityNames() []string { return []string{"note", "warning", "block"} }

// Conflict is a reason not to go on, or to think first.
type Conflict struct {
	Severity Severity `json:"severity"`
	// Code is stable: programs may depend on it.
	Code string `json:"code"`
	Text string `json:"text"`
	// Remedy says what to do instead.
	Remedy    string     `json:"remedy"`
	Points    []PointID  `json:"points,omitempty"`
	Reference *Reference `json:"reference,omitempty"`
	Until     Day        `json:"until,omitzero"`
}

// String renders the conflict for people.
func (c Conflict) String() string {
	s := fmt.Sprintf("%s %s: %s. %s.", strings.ToUpper(c.Severity.String()), c.Code, c.Text, c.Remedy)
	if c.Reference != nil {
		s += fmt.Sprintf(" [%s, %s]", c.Reference.Citation, c.Reference.Date)
	}
	return s
}

// Conflicts says what speaks against an act that cannot be taken back, the gravest first. No conflict means
// that nothing was found in the situation as given, and not that the act is lawful.
//
// It holds that a hold keeps a point from being forgotten, its medium from being sanitised and its key from
// being destroyed; that a lock lasts at least as long as what was promised, and at most MaxLock; and that
// retention which does not run breaks a promise of erasure just as a lock does.
//
// An error is an act that cannot be checked: an unknown kind, a lock without an end, no points.
func Conflicts(act Act, s Situation) ([]Conflict, error) {
	if !s.AsOf.Valid() {
		return nil, errors.New("conflicts: no day given to judge on")
	}
	c := check{act: act, s: s, touched: map[PointID]bool{}}
	for _, id := range act.Points {
		c.touched[id] = true
	}
	if act.Kind != ActReview && len(act.Points) == 0 && !act.NoPoints {
		return nil, fmt.Errorf("conflicts: %s: name the points that it touches, or say NoPoints", strictjson.Clip(string(act.Kind)))
	}
	if act.Kind == ActSanitise && act.Name == "" {
		return nil, errors.New("conflicts: sanitise: name the medium, as in the points' copies")
	}
	c.unknown()
	switch act.Kind {
	case ActReview:
	case ActLock:
		if err := c.lock(); err != nil {
			return nil, err
		}
	case ActDestroyKey, ActSanitise, ActForget:
		c.destroy()
	case ActShorten:
		c.shorten()
	default:
		return nil, fmt.Errorf("conflicts: act %q: expected review, lock, destroy-key, sanitise, forget or shorten-retention",
			strictjson.Clip(string(act.Kind)))
	}
	c.stalled()
	c.horizon()
	slices.SortStableFunc(c.found, func(a, b Conflict) int { return int(b.Severity) - int(a.Severity) })
	return c.found, nil
}

// check is one evaluation.
type check struct {
	act     Act
	s       Situation
	touched map[PointID]bool
	found   []Conflict
}

func (c *check) add(x Conflict) { c.found = append(c.found, x) }

// pick returns the touched points for which f says so.
func (c *check) pick(f func(Point) bool) (ids []PointID) {
	for _, p := range c.s.Points {
		if c.touched[p.ID] && f(p) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

func (c *check) unknown() {
	known := map[PointID]bool{}
	for _, p := range c.s.Points {
		known[p.ID] = true
	}
	var ids []PointID
	for _, id := range c.act.Points {
		if !known[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		c.add(Conflict{Severity: SeverityBlock, Code: "unknown-point", Points: ids,
			Text:   count(len(ids), "point") + " of the act cannot be found in the catalogue, so nothing about them was checked",
			Remedy: "Read the catalogue again, and check once more"})
	}
}

func (c *check) lock() error {
	a, s := c.act, c.s
	permanent := true
	name := "lock"
	switch a.Lock {
	case LockS3Compliance:
		name = "compliance lock"
	case LockS3Governance:
		name, permanent = "governance lock", false
	case LockAzureContainer, LockAzureVersion, LockGCSBucket, LockGCSObject:
	default:
		return fmt.Errorf("conflicts: lock %q: expected s3-compliance, s3-governance, azure-container, azure-version, "+
			"gcs-bucket or gcs-object", strictjson.Clip(string(a.Lock)))
	}
	if !a.Until.Valid() || !a.Until.After(s.AsOf) {
		return errors.New("conflicts: lock: expected a last day that is still to come")
	}
	forGood := SeverityWarn
	undone := "can be undone only by who holds the permission"
	if permanent {
		forGood, undone = SeverityBlock, "cannot be undone"
	}
	if s.MaxLock.IsZero() {
		c.add(Conflict{Severity: SeverityWarn, Code: "no-max-lock",
			Text:      "no longest lock is set, so a clock that runs years ahead would lock for years",
			Remedy:    "Set MaxLock, and bound s3:object-lock-remaining-retention-days or its like at the store",
			Reference: s3Lock()})
	} else if limit := s.MaxLock.From(s.AsOf); a.Until.After(limit) {
		c.add(Conflict{Severity: SeverityBlock, Code: "beyond-max-lock", Until: a.Until,
			Text:   fmt.Sprintf("%s to %s is longer than MaxLock %s, which ends on %s", name, a.Until, s.MaxLock, limit),
			Remedy: "Check the clock first; then lock for less"})
	}
	if !s.Erasure.IsZero() {
		if limit := s.Erasure.From(s.AsOf); s.ErasureLag.From(a.Until).After(limit) {
			c.add(Conflict{Severity: forGood, Code: "beyond-erasure", Until: a.Until, Points: a.Points,
				Text:   fmt.Sprintf("%s to %s exceeds the %s erasure promise and %s", name, a.Until, adjective(s.Erasure), undone),
				Remedy: fmt.Sprintf("Lock to %s at most, or change the promise before you lock", s.ErasureLag.Before(limit))})
		}
	}
	if ids := c.pick(func(p Point) bool { return c.day(p.Promise).After(a.Until) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityWarn, Code: "shorter-than-promise", Points: ids,
			Text:   fmt.Sprintf("the lock ends on %s, before what was promised for %s", a.Until, count(len(ids), "point")),
			Remedy: "Lock at least as long as the promise"})
	}
	if ids := c.pick(func(p Point) bool { return c.lockedAt(p, "").After(a.Until) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityWarn, Code: "already-longer", Points: ids,
			Text:   count(len(ids), "point") + " are locked for longer already, and a lock is only ever lengthened",
			Remedy: "Expect the store to refuse, or the longer lock to stay", Reference: s3Lock()})
	}
	if ids := c.pick(c.held); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityNote, Code: "hold-outlasts-lock", Points: ids,
			Text:   count(len(ids), "point") + " are under a hold, which has no end, while the lock has one",
			Remedy: "Place the store's legal hold as well"})
	}
	if ids := c.pick(c.archived); len(ids) > 0 && s.Records != nil &&
		(s.Records.Forever || len(s.Records.Missing) > 0 || s.Records.Last.After(a.Until)) {
		c.add(Conflict{Severity: SeverityWarn, Code: "shorter-than-records", Points: ids, Until: s.Records.Last,
			Text:   fmt.Sprintf("the lock of an archive ends on %s, and the records must be kept %s", a.Until, through(s.Records)),
			Remedy: "Lengthen the lock in time, and do not let it end first"})
	}
	c.provider(name, permanent)
	return nil
}

func (c *check) provider(name string, permanent bool) {
	a := c.act
	switch a.Lock {
	case LockS3Compliance:
		c.add(Conflict{Severity: SeverityNote, Code: "irreversible", Until: a.Until,
			Text:   fmt.Sprintf("nobody, not even the root user, can delete the versions or shorten the lock before %s", a.Until),
			Remedy: "Try the period in governance mode first", Reference: s3Lock()})
	case LockS3Governance:
		c.add(Conflict{Severity: SeverityNote, Code: "bypassable",
			Text:   "who holds s3:BypassGovernanceRetention can end a governance lock early",
			Remedy: "Deny that permission to the hosts that back up", Reference: s3Lock()})
	case LockAzureContainer:
		if a.Extensions >= azureExtensions {
			c.add(Conflict{Severity: SeverityBlock, Code: "azure-extensions",
				Text: fmt.Sprintf("the locked policy of the container was extended %d times, and Azure allows %d in its lifetime",
					a.Extensions, azureExtensions),
				Remedy: "Use policies on versions, or a new container", Reference: azureLock()})
		} else {
			c.add(Conflict{Severity: severe(a.Extensions == azureExtensions-1), Code: "azure-extensions",
				Text: fmt.Sprintf("this is extension %d of the %d that Azure allows to a container's locked policy",
					a.Extensions+1, azureExtensions),
				Remedy: "Do not build on a lock that is renewed; use policies on versions", Reference: azureLock()})
		}
	case LockAzureVersion:
		c.add(Conflict{Severity: SeverityNote, Code: "irreversible", Until: a.Until,
			Text:   "a locked policy of a version cannot be shortened or deleted before " + a.Until.String(),
			Remedy: "Try the period unlocked first", Reference: azureLock()})
	case LockGCSBucket:
		c.add(Conflict{Severity: SeverityWarn, Code: "retroactive", Until: a.Until,
			Text:   "a locked policy of a bucket binds the objects that are in it already, and cannot be removed or shortened",
			Remedy: "Give what is locked a bucket of its own", Reference: gcsLock()})
	case LockGCSObject:
		c.add(Conflict{Severity: SeverityNote, Code: "irreversible", Until: a.Until,
			Text:   "a locked retention of an object cannot be shortened before " + a.Until.String(),
			Remedy: "Try the period unlocked first", Reference: gcsLock()})
	}
	if !a.EventHold {
		return
	}
	switch a.Lock {
	case LockGCSObject:
		c.add(Conflict{Severity: SeverityBlock, Code: "event-hold",
			Text:   "an object cannot have an event-based hold and a retention of its own at once",
			Remedy: "Use a bucket's policy with event-based holds, or an object's retention without", Reference: gcsHold()})
	case LockGCSBucket:
		c.add(Conflict{Severity: SeverityWarn, Code: "event-hold",
			Text: fmt.Sprintf("to release an event-based hold starts the bucket's whole period anew: the object stays for that, "+
				"and not to %s", a.Until),
			Remedy:    "Count the erasure promise from the release; a temporary hold does not restart the period",
			Reference: gcsHold()})
	default:
		c.add(Conflict{Severity: SeverityWarn, Code: "event-hold",
			Text:   "event-based holds belong to Cloud Storage, and this lock does not",
			Remedy: "Check which store the lock is for", Reference: gcsHold()})
	}
}

// azureExtensions is how often a container's locked policy may be extended in its lifetime.
const azureExtensions = 5

// destroy checks the acts after which something cannot be read any more.
func (c *check) destroy() {
	a, s := c.act, c.s
	never := map[ActKind]string{
		ActDestroyKey: "a held point keeps its key",
		ActSanitise:   "a held point's medium is not sanitised",
		ActForget:     "a held point is not forgotten",
	}[a.Kind]
	block := func(code string, ids []PointID, text, remedy string) {
		if len(ids) > 0 {
			text = count(len(ids), "point") + " " + text
			c.add(Conflict{Severity: SeverityBlock, Code: code, Points: ids, Text: text, Remedy: remedy})
		}
	}
	held := c.holds()
	for _, id := range slices.Sorted(maps.Keys(held)) {
		ids := held[id]
		c.add(Conflict{Severity: SeverityBlock, Code: "hold", Points: ids,
			Text:   fmt.Sprintf("%s under hold %s: %s", count(len(ids), "point"), id, never),
			Remedy: "Keep it, or have two people release the hold first"})
	}
	left := func(p Point) bool { return !c.leavesCopy(p) } // the act takes the last copy of p
	block("promise", c.pick(func(p Point) bool { return c.day(p.Promise).After(s.AsOf) && left(p) }),
		"promised for longer, and no other checked copy would be left",
		"Wait until the promise ends, or make another copy and check it")
	block("locked", c.pick(func(p Point) bool { return c.lockedHere(p).After(s.AsOf) }),
		"locked by a store for longer: it refuses to delete them, or keeps what nobody can read", "Wait until the lock ends")
	needed := map[PointID]bool{}
	for _, p := range s.Points {
		for _, id := range p.Requires {
			needed[id] = needed[id] || !c.touched[p.ID]
		}
	}
	block("required", c.pick(func(p Point) bool { return needed[p.ID] && left(p) }),
		"needed to restore others that stay", "Let those go first, or with it")
	if len(c.touched) > 0 && !slices.ContainsFunc(s.Points, func(p Point) bool {
		return p.Complete && p.Verified > Unverified && len(p.Anomalies) == 0 && (!c.touched[p.ID] || c.leavesCopy(p))
	}) {
		c.add(Conflict{Severity: SeverityBlock, Code: "last", Points: a.Points,
			Text: "no complete and checked point would be left", Remedy: "Make one, check it, and come back"})
	}
	if a.Kind == ActSanitise {
		block("unknown-medium", c.pick(func(p Point) bool {
			return len(p.Copies) > 0 && !slices.ContainsFunc(p.Copies, func(k Copy) bool { return k.Site == a.Name })
		}), "with no copy on a medium of that name, so it is not clear which copies would be left",
			"Check the medium's name, and read the catalogue again")
	}
	c.records(left)
	if ids := c.pick(func(p Point) bool { return s.Expiries[p.ID].After(s.AsOf) && left(p) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityWarn, Code: "before-policy", Points: ids,
			Text:   count(len(ids), "point") + " would go before the policy lets them",
			Remedy: "Wait, or say who decided it and why"})
	}
	if a.Kind == ActDestroyKey {
		if len(a.KeyCopies) > 0 {
			c.add(Conflict{Severity: SeverityBlock, Code: "key-copies",
				Text: fmt.Sprintf("copies or shares of the key would be left (%d): what can be decrypted is not destroyed",
					len(a.KeyCopies)),
				Remedy:    "Destroy every copy, escrow and recovery shares too, in one act with a certificate",
				Reference: mediaSanitisation()})
		}
		if a.AlwaysEncrypted != Yes {
			c.add(Conflict{Severity: SeverityWarn, Code: "plaintext",
				Text:   "it is not known that the data was always encrypted, and a key does not destroy what lay in clear",
				Remedy: "Sanitise the medium itself", Reference: mediaSanitisation()})
		}
	}
}

// records checks archives, and last copies, against the duty to keep the records in them.
func (c *check) records(taken func(Point) bool) {
	t := c.s.Records
	if len(c.touched) == 0 {
		return
	}
	if t == nil {
		c.add(Conflict{Severity: SeverityWarn, Code: "records-unknown",
			Text:   "how long the records must be kept was not looked up",
			Remedy: "Call Obligations with the places and facts"})
		return
	}
	if !t.Keep(c.s.AsOf) {
		return
	}
	ref := fmt.Sprintf("the records must be kept %s", through(t))
	if ids := c.pick(func(p Point) bool { return c.archived(p) && taken(p) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityBlock, Code: "records", Points: ids, Until: t.Last,
			Text:   count(len(ids), "point") + " set aside as archive: " + ref,
			Remedy: "Keep the archive, or move its records to another system, and prove it, first. " + NotLegalAdvice})
		return
	}
	c.add(Conflict{Severity: SeverityNote, Code: "records", Until: t.Last,
		Text:   ref + ", by the clinical system or an archive: a recovery point is not the record",
		Remedy: "Be sure that the live system still has them. " + NotLegalAdvice})
}

// shorten checks a shorter retention, which destroys nothing at once.
func (c *check) shorten() {
	if ids := c.pick(c.held); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityNote, Code: "hold", Points: ids,
			Text: count(len(ids), "point") + " stay under a hold whatever the policy", Remedy: "Nothing to do"})
	}
	if ids := c.pick(func(p Point) bool { return c.day(p.Promise).After(c.s.AsOf) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityNote, Code: "promise", Points: ids,
			Text:   count(len(ids), "point") + " stay as long as was promised before: a shorter policy takes no promise back",
			Remedy: "Do not count their space, nor their erasure, before then"})
	}
	if ids := c.pick(func(p Point) bool { return c.lockedAt(p, "").After(c.s.AsOf) }); len(ids) > 0 {
		c.add(Conflict{Severity: SeverityNote, Code: "locked", Points: ids,
			Text:   count(len(ids), "point") + " stay until their lock ends",
			Remedy: "Do not count their space, nor their erasure, before then"})
	}
	c.records(func(Point) bool { return true })
}

// stalled warns when nothing expired for longer than expected: a retention that silently does not run keeps
// the data of people who were promised its erasure.
func (c *check) stalled() {
	s := c.s
	if s.ExpireWithin.IsZero() {
		return
	}
	since := s.LastExpiry
	if since.IsZero() {
		for _, p := range s.Points {
			if d := s.Zone.firstDay(p); since.IsZero() || d.Before(since) {
				since = d
			}
		}
	}
	if since.IsZero() || !s.AsOf.After(s.ExpireWithin.From(since)) {
		return
	}
	text := fmt.Sprintf("nothing expired since %s, for longer than the expected %s", since, s.ExpireWithin)
	if s.LastExpiry.IsZero() {
		text = fmt.Sprintf("nothing ever expired, and the oldest point is of %s, longer ago than the expected %s",
			since, s.ExpireWithin)
	}
	c.add(Conflict{Severity: SeverityWarn, Code: "nothing-expired",
		Text:      text + ": retention that does not run breaks every promise of erasure",
		Remedy:    "See why no plan is carried out: a hold on everything, a lineage renamed each night, a clock in doubt",
		Reference: erasureInBackups()})
}

// horizon checks the standing promise of erasure: what is asked today must be gone in time, unless a hold or
// an archive explains it.
func (c *check) horizon() {
	s := c.s
	if s.Erasure.IsZero() || s.Expiries == nil {
		return
	}
	h := ErasureHorizon(s.Points, s.Holds, s.Expiries, s.AsOf,
		&ErasureOptions{Zone: s.Zone, Lag: s.ErasureLag, Archives: s.Archives})
	if !h.Exceeds(s.Erasure) {
		return
	}
	explained, late := true, s.Erasure.From(s.AsOf)
	for _, e := range h.Exceptions {
		explained = explained && (e.Cause == "hold" || e.Cause == "archive" || !e.Until.IsZero() && !e.Until.After(late))
	}
	explained = explained && !h.Last.After(late)
	x := Conflict{Severity: severe(!explained), Code: "erasure-horizon", Until: h.Last,
		Text: fmt.Sprintf("who asks for erasure today is in a point until %s, beyond the %s promise",
			h.Last, adjective(s.Erasure)),
		Remedy: "Shorten the retention, or the promise is not one to make", Reference: erasureInBackups()}
	if h.Open {
		x.Text = fmt.Sprintf("who asks for erasure today stays in points without an end, beyond the %s promise",
			adjective(s.Erasure))
		x.Remedy = "Name the exceptions in the answer to the person, and end them when their reason ends"
	}
	c.add(x)
}

// day is the date that the zone's calendar shows at t; the zero Day for the zero time.
func (c *check) day(t time.Time) Day {
	if t.IsZero() {
		return Day{}
	}
	return DayOf(t.In(c.s.Zone.location()))
}

func (c *check) held(p Point) bool {
	return len(standing(p, c.s.Zone.dayOf(p), c.s.Holds)) > 0
}

// holds returns the touched points under each hold that stands.
func (c *check) holds() map[HoldID][]PointID {
	m := map[HoldID][]PointID{}
	for _, p := range c.s.Points {
		if c.touched[p.ID] {
			for _, id := range standing(p, c.s.Zone.dayOf(p), c.s.Holds) {
				m[id] = append(m[id], p.ID)
			}
		}
	}
	return m
}

func (c *check) archived(p Point) bool { return slices.Contains(c.s.Archives, p.ID) }

// leavesCopy reports whether another copy of the point, one that was checked, is left by the act. Without a
// key or an entry in the log no copy is of any use, so only a medium leaves one.
func (c *check) leavesCopy(p Point) bool {
	return c.act.Kind == ActSanitise && slices.ContainsFunc(p.Copies, func(k Copy) bool {
		return k.Site != c.act.Name && k.Verified > Unverified
	})
}

// lockedHere is the last day on which a copy that the act touches is locked.
func (c *check) lockedHere(p Point) Day {
	if c.act.Kind == ActSanitise {
		return c.lockedAt(p, c.act.Name)
	}
	return c.lockedAt(p, "")
}

// lockedAt is the last day on which a copy at the site, or any, is locked.
func (c *check) lockedAt(p Point, site string) (last Day) {
	for _, k := range p.Copies {
		if site == "" || site == k.Site {
			last = laterDay(last, c.day(k.LockedUntil))
		}
	}
	return last
}

func through(t *Term) string {
	switch {
	case t.Forever:
		return "with no end in sight"
	case len(t.Missing) > 0:
		return "because facts are missing (" + strings.Join(t.Missing, ", ") + ")"
	}
	return "through " + t.Last.String()
}

func severe(yes bool) Severity {
	if yes {
		return SeverityWarn
	}
	return SeverityNote
}

// adjective is like "180-day" or "1y6m".
func adjective(s Span) string {
	if s.Years == 0 && s.Months == 0 {
		return fmt.Sprintf("%d-day", s.Days)
	}
	return s.String()
}

// The providers do not date their pages: the date is that of reading.

func s3Lock() *Reference {
	return &Reference{Citation: "Amazon S3 User Guide, Object Lock, retention modes", Date: Day{Year: 2026, Month: 11, Day: 26},
		Read: "the section's text as quoted by others"}
}

func azureLock() *Reference {
	return &Reference{Citation: "Azure Blob Storage, time-based retention policies for immutable blob data",
		Date: Day{Year: 2026, Month: 11, Day: 26},
		Read: "the page's text as quoted by others: five increases for a container, no limit for a version"}
}

func gcsLock() *Reference {
	return &Reference{Citation: "Cloud Storage documentation, Bucket Lock and Object Retention Lock",
		Date: Day{Year: 2026, Month: 11, Day: 26}, Read: "excerpts"}
}

func gcsHold() *Reference {
	return &Reference{Citation: "Cloud Storage documentation, Object holds",
		Date: Day{Year: 2026, Month: 11, Day: 26}, Read: "the page's text"}
}

func mediaSanitisation() *Reference {
	return &Reference{Citation: "NIST SP 800-88 Rev. 2", Date: Day{Year: 2025, Month: 9, Day: 26}, Read: "summaries; not the text"}
}

func erasureInBackups() *Reference {
	return &Reference{Citation: "EDPB, coordinated enforcement action on the right to erasure, report",
		Date: Day{Year: 2026, Month: 2, Day: 10}, Read: "excerpts"}
}
