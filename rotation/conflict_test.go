package rotation_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

// quiet is a situation in which forgetting "0001" conflicts with nothing.
func quiet(t testing.TB) rotation.Situation {
	points, earliest := oneADay(t, "2026-11-01", 20, 5)
	return rotation.Situation{AsOf: day(t, "2026-11-30"), Points: points, Expiries: earliest, Records: &rotation.Term{},
		Erasure: rotation.Span{Days: 180}, MaxLock: rotation.Span{Days: 100}, LastExpiry: day(t, "2026-11-29"),
		ExpireWithin: rotation.Span{Days: 7}}
}

func conflicts(t testing.TB, act rotation.Act, s rotation.Situation) []rotation.Conflict {
	found, err := rotation.Conflicts(act, s)
	require.NoError(t, err)
	for i, c := range found {
		require.NotEmpty(t, c.Text)
		require.NotEmpty(t, c.Remedy)
		require.True(t, i == 0 || found[i-1].Severity >= c.Severity, "the gravest first")
		require.Contains(t, c.String(), c.Code)
		if c.Reference != nil {
			require.NotEmpty(t, c.Reference.Citation)
			require.False(t, c.Reference.Date.IsZero())
		}
	}
	return found
}

// severity of the conflict with the code; "" if there is none.
func severity(found []rotation.Conflict, code string) string {
	for _, c := range found {
		if c.Code == code {
			return c.Severity.String()
		}
	}
	return ""
}

var destroying = []rotation.ActKind{rotation.ActDestroyKey, rotation.ActSanitise, rotation.ActForget}

func act(kind rotation.ActKind, points ...rotation.PointID) rotation.Act {
	return rotation.Act{Kind: kind, Points: points, Name: "BLUE-2", AlwaysEncrypted: rotation.Yes}
}

func TestNoConflict(t *testing.T) {
	for _, kind := range append(destroying, rotation.ActShorten, rotation.ActReview) {
		require.Empty(t, conflicts(t, act(kind, "0001"), quiet(t)), kind)
	}
	unused := rotation.Act{Kind: rotation.ActSanitise, Name: "GREEN-9", NoPoints: true}
	require.Empty(t, conflicts(t, unused, quiet(t)))
}

func TestActsThatCannotBeChecked(t *testing.T) {
	lock := rotation.Act{Kind: rotation.ActLock, Points: []rotation.PointID{"0001"}, Lock: rotation.LockS3Compliance, Until: day(t, "2027-01-01")}
	conflicts(t, lock, quiet(t))
	for want, change := range map[string]func(a *rotation.Act, s *rotation.Situation){
		"name the points": func(a *rotation.Act, s *rotation.Situation) { a.Points = nil },
		"no day":          func(a *rotation.Act, s *rotation.Situation) { s.AsOf = rotation.Day{} },
		"expected review": func(a *rotation.Act, s *rotation.Situation) { a.Kind = "burn" },
		"name the medium": func(a *rotation.Act, s *rotation.Situation) { a.Kind = rotation.ActSanitise },
		"s3-compliance":   func(a *rotation.Act, s *rotation.Situation) { a.Lock = "" },
		"still to come":   func(a *rotation.Act, s *rotation.Situation) { a.Until = s.AsOf },
	} {
		a, s := lock, quiet(t)
		change(&a, &s)
		_, err := rotation.Conflicts(a, s)
		require.ErrorContains(t, err, want)
	}
}

// A hold keeps a point, its medium and its key (P14).
func TestHoldBlocks(t *testing.T) {
	for _, kind := range destroying {
		s := quiet(t)
		s.Holds = []rotation.Hold{hold("H-7"), released(hold("H-8"))}
		found := conflicts(t, act(kind, "0001", "0002"), s)
		require.Equal(t, rotation.SeverityBlock, found[0].Severity)
		require.Equal(t, "hold", found[0].Code)
		require.Equal(t, []rotation.PointID{"0001", "0002"}, found[0].Points)
		require.Contains(t, found[0].Text, "H-7")
		for _, c := range found {
			require.NotContains(t, c.String(), "H-8")
			require.NotContains(t, c.String(), "coroner")
		}
		// Even where another copy would be left.
		for i := range s.Points {
			s.Points[i].Copies = []rotation.Copy{{Site: "s3", Verified: rotation.ReadBack}, {Site: "BLUE-2"}}
		}
		require.Equal(t, "block", severity(conflicts(t, act(kind, "0001"), s), "hold"))
		s.Holds = []rotation.Hold{released(hold("H-7"))}
		require.Empty(t, severity(conflicts(t, act(kind, "0001"), s), "hold"))
	}
	s := quiet(t)
	s.Points[1].Holds = []rotation.HoldID{"H-9"}
	require.Equal(t, "block", severity(conflicts(t, act(rotation.ActDestroyKey, "0001"), s), "hold"))
	require.Empty(t, severity(conflicts(t, act(rotation.ActDestroyKey, "0002"), s), "hold"))
	require.Equal(t, "note", severity(conflicts(t, act(rotation.ActShorten, "0001"), s), "hold"))
}

func TestDestroying(t *testing.T) {
	for _, kind := range destroying {
		change := func(f func(s *rotation.Situation)) []rotation.Conflict {
			s := quiet(t)
			f(&s)
			return conflicts(t, act(kind, "0001"), s)
		}
		on := func(site string) string { // whether another copy is left when the medium BLUE-2 goes
			return map[bool]string{true: "", false: "block"}[kind == rotation.ActSanitise && site != "BLUE-2"]
		}
		for _, site := range []string{"BLUE-2", "s3"} {
			copies := []rotation.Copy{{Site: "BLUE-2", Verified: rotation.Checked}, {Site: site, Verified: rotation.Checked}}
			require.Equal(t, on(site), severity(change(func(s *rotation.Situation) {
				s.Points[1].Copies, s.Points[1].Promise = copies, instant(t, "2027-01-01T00:00:00Z")
			}), "promise"))
			require.Equal(t, on(site), severity(change(func(s *rotation.Situation) {
				s.Points[1].Copies, s.Points[5].Requires = copies, []rotation.PointID{"0001"}
			}), "required"))
			require.Equal(t, on(site), severity(change(func(s *rotation.Situation) {
				s.Points = s.Points[1:2]
				s.Points[0].Copies = copies
			}), "last"))
			want := on(site)
			if want == "" {
				want = "note" // the archive is still there
			}
			require.Equal(t, want, severity(change(func(s *rotation.Situation) {
				s.Points[1].Copies, s.Archives = copies, []rotation.PointID{"0001"}
				s.Records = &rotation.Term{Last: day(t, "2033-01-01")}
			}), "records"), kind)
		}
		require.Equal(t, "block", severity(change(func(s *rotation.Situation) {
			s.Points[1].Copies = []rotation.Copy{{Site: "BLUE-2", Verified: rotation.Checked}, {Site: "s3"}}
			s.Points[1].Promise = instant(t, "2027-01-01T00:00:00Z")
		}), "promise"), "a copy that nobody read may be blank")
		require.Equal(t, "block", severity(change(func(s *rotation.Situation) {
			s.Points[1].Copies = []rotation.Copy{{Site: "BLUE-2", LockedUntil: instant(t, "2027-01-01T00:00:00Z")}}
		}), "locked"))
		require.Equal(t, "block", severity(change(func(s *rotation.Situation) {
			for i := range s.Points {
				s.Points[i].Complete = s.Points[i].ID == "0001"
			}
		}), "last"))
		require.Equal(t, "block", severity(change(func(s *rotation.Situation) {
			s.Archives, s.Records = []rotation.PointID{"0001"}, &rotation.Term{Missing: []string{"living"}}
		}), "records"), "what is not known keeps")
		require.Equal(t, "note", severity(change(func(s *rotation.Situation) {
			s.Records = &rotation.Term{Forever: true}
		}), "records"), "a point is not the record")
		require.Equal(t, "warning", severity(change(func(s *rotation.Situation) { s.Records = nil }), "records-unknown"))
		require.Equal(t, "warning", severity(change(func(s *rotation.Situation) {
			s.Expiries["0001"] = day(t, "2026-12-01")
		}), "before-policy"))
		require.Equal(t, "block", severity(conflicts(t, act(kind, "beef"), quiet(t)), "unknown-point"))
	}
	s := quiet(t)
	s.Points[1].Copies = []rotation.Copy{{Site: "GREEN-1", Verified: rotation.Restored}}
	require.Equal(t, "block", severity(conflicts(t, act(rotation.ActSanitise, "0001"), s), "unknown-medium"))

	a := act(rotation.ActDestroyKey, "0001")
	a.KeyCopies, a.AlwaysEncrypted = []string{"escrow"}, rotation.Unknown
	found := conflicts(t, a, quiet(t))
	require.Equal(t, "block", severity(found, "key-copies"))
	require.Equal(t, "warning", severity(found, "plaintext"))
}

func TestLocks(t *testing.T) {
	// The quiet situation promises erasure until 2027-05-29 and allows locks until 2027-03-10.
	with := func(kind rotation.LockKind, until string, f func(*rotation.Act, *rotation.Situation)) []rotation.Conflict {
		a, s := act(rotation.ActLock, "0001"), quiet(t)
		a.Lock, a.Until = kind, day(t, until)
		if f != nil {
			f(&a, &s)
		}
		return conflicts(t, a, s)
	}
	noMax := func(a *rotation.Act, s *rotation.Situation) { s.MaxLock = rotation.Span{} }
	long := func(a *rotation.Act, s *rotation.Situation) { s.MaxLock = rotation.Span{Years: 20} }

	found := with(rotation.LockS3Compliance, "2033-11-30", long)
	require.Equal(t, rotation.SeverityBlock, found[0].Severity)
	require.Equal(t, "compliance lock to 2033-11-30 exceeds the 180-day erasure promise and cannot be undone", found[0].Text)
	require.Contains(t, found[0].Remedy, "2027-05-29")
	require.Equal(t, "note", severity(found, "irreversible"))
	require.Empty(t, severity(with(rotation.LockS3Compliance, "2027-05-29", long), "beyond-erasure"))
	require.Equal(t, "block", severity(with(rotation.LockS3Compliance, "2027-05-30", long), "beyond-erasure"))
	require.Equal(t, "warning", severity(with(rotation.LockS3Governance, "2027-05-30", long), "beyond-erasure"))
	require.Equal(t, "block", severity(with(rotation.LockS3Compliance, "2027-05-29", func(a *rotation.Act, s *rotation.Situation) {
		long(a, s)
		s.ErasureLag = rotation.Span{Days: 1}
	}), "beyond-erasure"))
	require.Empty(t, severity(with(rotation.LockS3Compliance, "2033-11-30", func(a *rotation.Act, s *rotation.Situation) {
		s.Erasure = rotation.Span{}
	}), "beyond-erasure"), "no promise was made")

	require.Empty(t, severity(with(rotation.LockS3Compliance, "2027-03-10", nil), "beyond-max-lock"))
	require.Equal(t, "block", severity(with(rotation.LockS3Compliance, "2027-03-11", nil), "beyond-max-lock"))
	require.Equal(t, "block", severity(with(rotation.LockS3Governance, "2027-03-11", nil), "beyond-max-lock"))
	require.Equal(t, "warning", severity(with(rotation.LockS3Compliance, "2027-01-01", noMax), "no-max-lock"))

	// A lock lasts at least as long as what was promised (P15).
	promise := func(a *rotation.Act, s *rotation.Situation) { s.Points[1].Promise = instant(t, "2027-01-31T00:00:00Z") }
	require.Equal(t, "warning", severity(with(rotation.LockS3Compliance, "2027-01-30", promise), "shorter-than-promise"))
	require.Empty(t, severity(with(rotation.LockS3Compliance, "2027-01-31", promise), "shorter-than-promise"))
	locked := func(a *rotation.Act, s *rotation.Situation) {
		s.Points[1].Copies = []rotation.Copy{{Site: "s3", LockedUntil: instant(t, "2027-02-01T00:00:00Z")}}
	}
	require.Equal(t, "warning", severity(with(rotation.LockS3Compliance, "2027-01-31", locked), "already-longer"))
	require.Empty(t, severity(with(rotation.LockS3Compliance, "2027-02-01", locked), "already-longer"))
	require.Equal(t, "note", severity(with(rotation.LockS3Compliance, "2027-01-01", func(a *rotation.Act, s *rotation.Situation) {
		s.Holds = []rotation.Hold{hold("H-7")}
	}), "hold-outlasts-lock"))
	archive := func(last string) func(a *rotation.Act, s *rotation.Situation) {
		return func(a *rotation.Act, s *rotation.Situation) {
			s.Archives, s.Records = []rotation.PointID{"0001"}, &rotation.Term{Last: day(t, last)}
		}
	}
	require.Equal(t, "warning", severity(with(rotation.LockS3Compliance, "2027-01-01", archive("2027-01-02")), "shorter-than-records"))
	require.Empty(t, severity(with(rotation.LockS3Compliance, "2027-01-01", archive("2027-01-01")), "shorter-than-records"))

	// What each provider can and cannot do.
	require.Equal(t, "note", severity(with(rotation.LockS3Governance, "2027-01-01", nil), "bypassable"))
	for used, want := range map[int]string{0: "note", 3: "note", 4: "warning", 5: "block", 6: "block"} {
		extended := func(a *rotation.Act, s *rotation.Situation) { a.Extensions = used }
		require.Equal(t, want, severity(with(rotation.LockAzureContainer, "2027-01-01", extended), "azure-extensions"), used)
		require.Empty(t, severity(with(rotation.LockAzureVersion, "2027-01-01", extended), "azure-extensions"))
	}
	require.Equal(t, "warning", severity(with(rotation.LockGCSBucket, "2027-01-01", nil), "retroactive"))
	event := func(a *rotation.Act, s *rotation.Situation) { a.EventHold = true }
	require.Equal(t, "warning", severity(with(rotation.LockGCSBucket, "2027-01-01", event), "event-hold"))
	require.Equal(t, "block", severity(with(rotation.LockGCSObject, "2027-01-01", event), "event-hold"))
	require.Equal(t, "warning", severity(with(rotation.LockS3Compliance, "2027-01-01", event), "event-hold"))
	require.Equal(t, "note", severity(with(rotation.LockGCSObject, "2027-01-01", nil), "irreversible"))
	require.Equal(t, "note", severity(with(rotation.LockAzureVersion, "2027-01-01", nil), "irreversible"))
}

// Retention that silently does not run breaks a promise of erasure.
func TestNothingExpired(t *testing.T) {
	review := rotation.Act{Kind: rotation.ActReview}
	s := quiet(t)
	s.LastExpiry = day(t, "2026-11-23")
	require.Empty(t, severity(conflicts(t, review, s), "nothing-expired"))
	s.LastExpiry = day(t, "2026-11-22")
	require.Equal(t, "warning", severity(conflicts(t, review, s), "nothing-expired"))
	require.Equal(t, "warning", severity(conflicts(t, act(rotation.ActForget, "0001"), s), "nothing-expired"), "whatever the act")

	s.LastExpiry = rotation.Day{} // it never ran, and the oldest point is of 2026-11-01
	require.Equal(t, "warning", severity(conflicts(t, review, s), "nothing-expired"))
	s.ExpireWithin = rotation.Span{Days: 29}
	require.Empty(t, conflicts(t, review, s))
	s.ExpireWithin, s.Points = rotation.Span{Days: 7}, nil
	require.Empty(t, conflicts(t, review, s), "there is nothing that could expire")
}

// The horizon of erasure is within the promise, unless a hold or an archive explains it (P20).
func TestStandingHorizon(t *testing.T) {
	review := rotation.Act{Kind: rotation.ActReview}
	s := quiet(t)
	s.Expiries["0013"] = day(t, "2027-05-29")
	require.Empty(t, conflicts(t, review, s))
	s.Expiries["0013"] = day(t, "2027-05-30")
	require.Equal(t, "warning", severity(conflicts(t, review, s), "erasure-horizon"))

	s = quiet(t)
	s.Holds = []rotation.Hold{hold("H-7")}
	require.Equal(t, "note", severity(conflicts(t, review, s), "erasure-horizon"))
	s = quiet(t)
	s.Archives = []rotation.PointID{"0001"}
	require.Equal(t, "note", severity(conflicts(t, review, s), "erasure-horizon"))
	delete(s.Expiries, "0002")
	require.Equal(t, "warning", severity(conflicts(t, review, s), "erasure-horizon"), "an archive does not explain the other")
}

// A hold or a duty never removes a reason not to destroy.
func TestMoreHoldsMoreConflicts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	blocks := func(found []rotation.Conflict) (codes []string) {
		for _, c := range found {
			if c.Severity == rotation.SeverityBlock {
				for _, id := range c.Points {
					codes = append(codes, fmt.Sprint(c.Code, id))
				}
			}
		}
		return codes
	}
	for range 300 {
		s := quiet(t)
		a := act(destroying[rng.IntN(3)], "0001", "0004")
		if rng.IntN(2) == 0 {
			s.Archives = []rotation.PointID{"0004"}
		}
		if rng.IntN(2) == 0 {
			s.Points[4].Promise = instant(t, "2027-01-01T00:00:00Z")
		}
		less := blocks(conflicts(t, a, s))
		s.Holds = []rotation.Hold{hold("H-7")}
		if rng.IntN(2) == 0 {
			s.Records = &rotation.Term{Forever: true}
		}
		more := blocks(conflicts(t, a, s))
		for _, code := range less {
			require.True(t, slices.Contains(more, code))
		}
		require.Contains(t, more, "hold0001")
		require.Contains(t, more, "hold0004")
	}
}

func TestConflictJSON(t *testing.T) {
	s := quiet(t)
	s.Holds = []rotation.Hold{hold("H-7")}
	found := conflicts(t, act(rotation.ActForget, "0001"), s)
	b, err := json.Marshal(found)
	require.NoError(t, err)
	require.Contains(t, string(b), `"severity":"block","code":"hold"`)
	var back []rotation.Conflict
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, found, back)
}
