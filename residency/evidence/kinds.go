package evidence

import (
	"time"

	"github.com/carekeep/carekeep/residency"
)

// Kind says what a record is about. Each kind has one type of data; see [Log.Append].
type Kind string

// The kinds, each with the type of its data.
const (
	KindDecision   Kind = "decision"   // [Decision], or a [residency.Decision], which is reduced to one
	KindProbe      Kind = "probe"      // [Probe]
	KindOverride   Kind = "override"   // [Override], or a [residency.Override], which is reduced to one
	KindQuarantine Kind = "quarantine" // [Quarantine]
	KindDebt       Kind = "debt"       // [Debt]
	KindReconcile  Kind = "reconcile"  // [Reconcile]
	KindPromotion  Kind = "promotion"  // [Promotion]
	KindPlacement  Kind = "placement"  // [Placement]
	KindMove       Kind = "move"       // [Move]
	KindProof      Kind = "proof"      // [Proof]
	KindResidual   Kind = "residual"   // [Residual]
	KindExit       Kind = "exit"       // [Exit]
	KindDrill      Kind = "drill"      // [Drill]
	KindWarning    Kind = "warning"    // [Warning]
)

// Cause is why a person did something, in place of the words, which may name a patient.
type Cause string

// The causes.
const (
	CauseOnlyCopy    Cause = "only-copy" // the only copy would have been lost
	CauseEmergency   Cause = "clinical-emergency"
	CauseOutage      Cause = "outage"
	CauseMismatch    Cause = "mismatch" // a probe or a comparison of bytes found something else
	CauseLaw         Cause = "law-changed"
	CauseContract    Cause = "contract-changed"
	CauseProvider    Cause = "provider-exit"
	CauseMaintenance Cause = "maintenance"
	CauseSettled     Cause = "settled" // what was wrong was put right
	CauseOther       Cause = "other"   // the words are kept with the practice
)

// Outcome is how something ended.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"
	OutcomePartial     Outcome = "partial"
	OutcomeMismatch    Outcome = "mismatch"
	OutcomeUnreachable Outcome = "unreachable"
	OutcomeDenied      Outcome = "denied" // access was
	OutcomeFailed      Outcome = "failed"
)

// Stage is how far a move has come.
type Stage string

// The stages, in order. A move that was given up is Stopped.
const (
	Planned  Stage = "planned"
	Copied   Stage = "copied"
	Verified Stage = "verified"
	Switched Stage = "switched"
	Deleted  Stage = "deleted"
	Done     Stage = "done"
	Stopped  Stage = "stopped"
)

// Decision is a [residency.Decision] without its texts, which the ruleset of that digest gives again.
type Decision struct {
	Verdict     string            `json:"verdict" is:"verdict"` // "allowed", "denied" or "unknown"
	Rules       string            `json:"rules" is:"verdict"`   // what the rules say where an override changed it
	Grounds     []Ground          `json:"grounds,omitempty"`
	Duties      []Duty            `json:"duties,omitempty"`
	Missing     []Lack            `json:"missing,omitempty"`
	Places      []residency.Place `json:"places,omitempty" is:"place"`
	Expires     time.Time         `json:"expires,omitzero"`
	ExpiresBy   string            `json:"expiresBy,omitempty" is:"fact"`
	Unconfirmed []string          `json:"unconfirmed,omitempty" is:"id"`
	Ruleset     string            `json:"ruleset,omitempty" is:"digest"`
	Facts       string            `json:"facts,omitempty" is:"digest"`
	Override    *Override         `json:"override,omitempty"`
	AsOf        residency.Day     `json:"asOf,omitzero"`
	Known       residency.Day     `json:"known,omitzero"`
	Now         time.Time         `json:"now,omitzero"`
	// Withheld is how many texts were not of their form and are "withheld", Cut how many members of lists were
	// beyond what a record holds.
	Withheld int `json:"withheld,omitempty"`
	Cut      int `json:"cut,omitempty"`
}

// Ground is one step of a decision.
type Ground struct {
	Regime  string          `json:"regime" is:"id"`
	Rule    string          `json:"rule,omitempty" is:"id"`
	Place   residency.Place `json:"place,omitempty" is:"place"`
	Verdict string          `json:"verdict" is:"verdict"`
	From    residency.Day   `json:"from,omitzero"`
	Until   residency.Day   `json:"until,omitzero"`
}

// Duty is an obligation: the rule that gives it, and its code.
type Duty struct {
	Rule string `json:"rule" is:"id"`
	Code string `json:"code" is:"id"`
}

// Lack is a fact that a rule asked for and nobody gave.
type Lack struct {
	Rule string `json:"rule" is:"id"`
	Fact string `json:"fact" is:"fact"`
}

// Where says where bytes rest.
type Where struct {
	Provider   string            `json:"provider,omitempty" is:"id"`
	Region     string            `json:"region,omitempty" is:"region"`
	Redundancy string            `json:"redundancy,omitempty" is:"region"`
	Places     []residency.Place `json:"places,omitempty" is:"place"`
	Level      int               `json:"level"` // 0 to 3, as [residency.Level]
}

// Probe is one look at where a bucket really is.
type Probe struct {
	Outcome    Outcome `json:"outcome" is:"outcome"`
	Declared   Where   `json:"declared,omitzero"`
	Found      Where   `json:"found,omitzero"`
	TookMillis int64   `json:"tookMillis,omitempty"`
}

// Override is an exception that a person made.
type Override struct {
	ID     string    `json:"id,omitempty" is:"opaque"`
	Person string    `json:"person" is:"person"` // of the staff; never a patient
	Cause  Cause     `json:"cause" is:"cause"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Write  bool      `json:"write,omitempty"` // new data too
}

// Quarantine says that a site was shut, or opened again.
type Quarantine struct {
	Released bool   `json:"released,omitempty"` // otherwise begun
	Cause    Cause  `json:"cause" is:"cause"`
	Person   string `json:"person,omitempty" is:"person"` // who released it
}

// Debt counts objects that a site owes, or has got since.
type Debt struct {
	Taken int64 `json:"taken,omitempty"` // objects
	Paid  int64 `json:"paid,omitempty"`  // objects
	Open  int64 `json:"open"`            // objects still owed after that, as far as they were counted
	Bytes int64 `json:"bytes,omitempty"` // brought to the site
}

// Reconcile is the result of a comparison of a site, or of all, with the others. The numbers are of objects.
type Reconcile struct {
	Outcome    Outcome `json:"outcome" is:"outcome"`
	Deep       bool    `json:"deep,omitempty"` // all bytes were compared, not only lists
	Objects    int64   `json:"objects"`
	Bytes      int64   `json:"bytes,omitempty"` // of the objects
	Lacking    int64   `json:"lacking,omitempty"`
	Differing  int64   `json:"differing,omitempty"`
	Repaired   int64   `json:"repaired,omitempty"`
	Aside      int64   `json:"aside,omitempty"` // kept aside
	Undecided  int64   `json:"undecided,omitempty"`
	TookMillis int64   `json:"tookMillis,omitempty"`
}

// Promotion makes another site the home.
type Promotion struct {
	Epoch   int64  `json:"epoch"`
	From    string `json:"from,omitempty" is:"site"` // the home before
	To      string `json:"to" is:"site"`
	Person  string `json:"person" is:"person"`
	Cause   Cause  `json:"cause" is:"cause"`
	Forced  bool   `json:"forced,omitempty"` // with too few sites reachable
	Reached int    `json:"reached"`          // sites that hold the new epoch
	Sites   int    `json:"sites"`            // all sites
}

// Placement is what the router was told to keep, and on which sites it does.
type Placement struct {
	Number       int64             `json:"number"`
	Home         string            `json:"home,omitempty" is:"site"`
	Sites        []string          `json:"sites" is:"site"`
	Class        string            `json:"class,omitempty" is:"id"`
	Origins      []residency.Place `json:"origins,omitempty" is:"place"`
	Tags         []residency.Tag   `json:"tags,omitempty" is:"id"`
	Copies       int               `json:"copies"`
	MustReach    int               `json:"mustReach"`
	Operators    int               `json:"operators,omitempty"`
	Subdivisions int               `json:"subdivisions,omitempty"`
	Offsite      int               `json:"offsite,omitempty"`
	KeysOutside  bool              `json:"keysOutside,omitempty"`
	Ruleset      string            `json:"ruleset,omitempty" is:"digest"`
}

// Move is a step of bringing data from one site to another.
type Move struct {
	ID      string `json:"id" is:"opaque"`
	From    string `json:"from" is:"site"`
	To      string `json:"to,omitempty" is:"site"`
	Stage   Stage  `json:"stage" is:"stage"`
	Cause   Cause  `json:"cause,omitempty" is:"cause"`
	Objects int64  `json:"objects,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
}

// Proof is that a move brought everything.
type Proof struct {
	Move    string `json:"move" is:"opaque"` // [Move.ID]
	From    string `json:"from" is:"site"`
	To      string `json:"to" is:"site"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Digest  string `json:"digest" is:"digest"` // over all objects and their digests, in order
	// Decisions are the digests of the facts of the decisions that the move rests on.
	Decisions []string `json:"decisions,omitempty" is:"digest"`
}

// Residual is ciphertext that a store does not yet let go.
type Residual struct {
	Move     string    `json:"move,omitempty" is:"opaque"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Until    time.Time `json:"until,omitzero"`     // when the last of it can be deleted
	Shredded bool      `json:"shredded,omitempty"` // nobody has the keys any more
}

// Exit is the plan, or the end, of leaving a provider.
type Exit struct {
	To         []string `json:"to,omitempty" is:"site"`
	Outcome    Outcome  `json:"outcome,omitempty" is:"outcome"` // empty for a plan
	Objects    int64    `json:"objects"`
	Bytes      int64    `json:"bytes"`
	TookMillis int64    `json:"tookMillis,omitempty"`
}

// Drill is a rehearsal: everything was copied out of a site, and restored from the copy.
type Drill struct {
	Outcome       Outcome `json:"outcome" is:"outcome"`
	Objects       int64   `json:"objects"`
	Bytes         int64   `json:"bytes"`
	Restored      bool    `json:"restored"`
	CopyMillis    int64   `json:"copyMillis,omitempty"`
	RestoreMillis int64   `json:"restoreMillis,omitempty"`
	Digest        string  `json:"digest,omitempty" is:"digest"`
}

// Warning says that something ends soon that a decision rests on.
type Warning struct {
	About string    `json:"about" is:"about"` // "decision", "rule", "review", "paper", "evidence", "override" or "lock"
	ID    string    `json:"id,omitempty" is:"fact"`
	Ends  time.Time `json:"ends"`
	Days  int       `json:"days"` // the threshold that was passed: 180, 90, 30; or 0 when it has ended
}
