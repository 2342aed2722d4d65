package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/carekeep/carekeep/backup/dirblob"
	"github.com/carekeep/carekeep/internal/faultstore"
	"github.com/carekeep/carekeep/internal/servertest"
	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/evidence"
)

const prefix = "evidence/"

var start = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

func open(t testing.TB, b *blob.Bucket, writer string) *evidence.Log {
	l, err := evidence.Open(context.Background(), b, prefix, &evidence.Options{Writer: writer})
	require.NoError(t, err)
	return l
}

func debt(n int64) evidence.Debt { return evidence.Debt{Taken: n, Open: n} }

func appendDebt(t testing.TB, l *evidence.Log, n int64) {
	require.NoError(t, l.Append(context.Background(), evidence.KindDebt, "akl", debt(n)))
}

// taken returns the numbers of the debts in the log, and the faults.
func taken(t testing.TB, l *evidence.Log) (ns []int64, faults []evidence.Fault) {
	for r, err := range l.Records(context.Background()) {
		if b := (*evidence.BrokenError)(nil); errors.As(err, &b) {
			faults = append(faults, b.Faults...)
			continue
		}
		require.NoError(t, err)
		ns = append(ns, r.Data.(evidence.Debt).Taken)
	}
	return ns, faults
}

func export(t testing.TB, l *evidence.Log) ([]byte, error) {
	var b bytes.Buffer
	err := l.Export(context.Background(), &b)
	if !errors.Is(err, evidence.ErrBroken) {
		require.NoError(t, err)
	}
	return b.Bytes(), err
}

// sound exports and verifies, and expects no fault.
func sound(t testing.TB, l *evidence.Log, noted ...evidence.Head) evidence.Summary {
	file, err := export(t, l)
	require.NoError(t, err)
	s, err := evidence.Verify(bytes.NewReader(file), noted...)
	require.NoError(t, err)
	return s
}

// every has one value of each kind with all fields filled.
func every() map[evidence.Kind]any {
	d := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	later := start.AddDate(0, 1, 0)
	where := evidence.Where{Provider: "aws", Region: "ap-southeast-2", Redundancy: "GRS", Places: []residency.Place{"AU-NSW", "AU"}, Level: 2}
	override := evidence.Override{ID: "ov-1", Person: "Dr Nguyễn O'Brien", Cause: evidence.CauseOnlyCopy, From: start, Until: later, Write: true}
	return map[evidence.Kind]any{
		evidence.KindDecision: evidence.Decision{Verdict: "allowed", Rules: "denied",
			Grounds: []evidence.Ground{{Regime: "eu-gdpr", Rule: "eu-gdpr.adequacy.gb", Place: "GB", Verdict: "denied",
				From: residency.Day{Year: 2021, Month: 6, Day: 28}, Until: residency.Day{Year: 2031, Month: 12, Day: 28}}},
			Duties:  []evidence.Duty{{Rule: "nz-policy.offshore", Code: "record-risk-assessment"}},
			Missing: []evidence.Lack{{Rule: "eu-gdpr.dpf", Fact: "paper dpf-listing/uk-extension"}},
			Places:  []residency.Place{"GB", "BE"}, Expires: later, ExpiresBy: "eu-gdpr.adequacy.gb", Unconfirmed: []string{"us-fl.408.051"},
			Ruleset: d, Facts: d, Override: &override, AsOf: residency.Day{Year: 2026, Month: 11, Day: 26},
			Known: residency.Day{Year: 2026, Month: 11, Day: 26}, Now: start, Withheld: 1, Cut: 2},
		evidence.KindProbe:      evidence.Probe{Outcome: evidence.OutcomeMismatch, Declared: where, Found: where, TookMillis: 80},
		evidence.KindOverride:   override,
		evidence.KindQuarantine: evidence.Quarantine{Released: true, Cause: evidence.CauseSettled, Person: "Ann Lee"},
		evidence.KindDebt:       evidence.Debt{Taken: 3, Paid: 2, Open: 1, Bytes: 77},
		evidence.KindReconcile: evidence.Reconcile{Outcome: evidence.OutcomePartial, Deep: true, Objects: 9, Bytes: 8, Lacking: 7,
			Differing: 6, Repaired: 5, Aside: 4, Undecided: 3, TookMillis: 2},
		evidence.KindPromotion: evidence.Promotion{Epoch: 2, From: "akl", To: "wlg", Person: "Ann Lee", Cause: evidence.CauseOutage, Forced: true, Reached: 2, Sites: 3},
		evidence.KindPlacement: evidence.Placement{Number: 1, Home: "akl", Sites: []string{"akl", "wlg"}, Class: "identifiable", Origins: []residency.Place{"NZ"},
			Tags: []residency.Tag{"nhs-england"}, Copies: 2, MustReach: 2, Operators: 2, Subdivisions: 1, Offsite: 1, KeysOutside: true, Ruleset: d},
		evidence.KindMove:     evidence.Move{ID: d[:32], From: "akl", To: "wlg", Stage: evidence.Verified, Cause: evidence.CauseLaw, Objects: 4, Bytes: 5},
		evidence.KindProof:    evidence.Proof{Move: d[:32], From: "akl", To: "wlg", Objects: 4, Bytes: 5, Digest: d, Decisions: []string{d}},
		evidence.KindResidual: evidence.Residual{Move: d[:32], Objects: 1, Bytes: 2, Until: later, Shredded: true},
		evidence.KindExit:     evidence.Exit{To: []string{"wlg"}, Outcome: evidence.OutcomeOK, Objects: 3, Bytes: 4, TookMillis: 5},
		evidence.KindDrill:    evidence.Drill{Outcome: evidence.OutcomeFailed, Objects: 1, Bytes: 2, Restored: true, CopyMillis: 3, RestoreMillis: 4, Digest: d},
		evidence.KindWarning:  evidence.Warning{About: "rule", ID: "eu-gdpr.adequacy.gb", Ends: later, Days: 180},
	}
}

func TestEveryKindComesBackAsItWas(t *testing.T) {
	dir, err := dirblob.OpenBucket(t.TempDir(), nil)
	require.NoError(t, err)
	for _, b := range []*blob.Bucket{memblob.OpenBucket(nil), dir} {
		now := start
		l, err := evidence.Open(t.Context(), b, prefix, &evidence.Options{Writer: "practice-1", Now: func() time.Time { return now }})
		require.NoError(t, err)
		require.Equal(t, "practice-1", l.Writer())
		require.Equal(t, evidence.Head{Writer: "practice-1"}, l.Head())
		for k, data := range every() {
			now = now.Add(time.Second)
			require.NoError(t, l.Append(t.Context(), k, "akl", data))
		}
		got, n := map[evidence.Kind]any{}, int64(0)
		for r, err := range l.Records(t.Context()) {
			require.NoError(t, err)
			got[r.Kind] = r.Data
			n++
			require.Equal(t, n, r.Block)
			require.Equal(t, start.Add(time.Duration(n)*time.Second), r.Time)
			require.Equal(t, "akl", r.Site)
			require.Equal(t, "practice-1", r.Writer)
		}
		require.Equal(t, every(), got)
		s := sound(t, l, l.Head())
		require.Equal(t, []evidence.Head{l.Head()}, s.Heads)
		require.EqualValues(t, 14, s.Records)
		require.EqualValues(t, 14, s.Blocks)
		require.Zero(t, s.Foreign)
		require.Equal(t, start.Add(time.Second), s.First)
		require.Equal(t, start.Add(14*time.Second), s.Last)
		require.NoError(t, b.Close())
	}
}

func TestExportIsOneFileOfLinesThatAnAuditorCanRead(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w1")
	appendDebt(t, l, 1)
	appendDebt(t, l, 2)
	file, err := export(t, l)
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n"))
	require.Len(t, lines, 4)
	require.Equal(t, s.Get("evidence/w1/0000000002"), lines[2], "blocks are in the file as they are in the bucket")
	for _, line := range lines {
		require.True(t, json.Valid(line))
	}
	require.Contains(t, string(lines[1]), `"kind":"debt","site":"akl","data":{"taken":1,"open":1}`)
}

func TestTheSameWriterGoesOnAndAnotherOneCrossLinks(t *testing.T) {
	b := memblob.OpenBucket(nil)
	appendDebt(t, open(t, b, "one"), 1)
	appendDebt(t, open(t, b, "one"), 2)
	random := open(t, b, "")
	appendDebt(t, random, 3)
	one := open(t, b, "one")
	appendDebt(t, one, 4)
	require.EqualValues(t, 3, one.Head().Seq)
	ns, faults := taken(t, one)
	require.Empty(t, faults)
	require.Equal(t, []int64{1, 2, 3, 4}, ns)
	require.Len(t, sound(t, one).Heads, 2)
	h, err := evidence.ParseHead(one.Head().String())
	require.NoError(t, err)
	require.Equal(t, one.Head(), h)
	for _, bad := range []string{"", "one/3", "one/03/" + h.Digest.String(), "one/3/ab", "a b/3/" + h.Digest.String()} {
		_, err := evidence.ParseHead(bad)
		require.Error(t, err, bad)
	}
}

// A record whose writer had seen another one comes after it, whatever their clocks say.
func TestCausesComeBeforeEffectsWhateverTheClocksSay(t *testing.T) {
	b := memblob.OpenBucket(nil)
	at := func(writer string, now time.Time, n int64) {
		l, err := evidence.Open(t.Context(), b, prefix, &evidence.Options{Writer: writer, Now: func() time.Time { return now }})
		require.NoError(t, err)
		appendDebt(t, l, n)
	}
	at("fast", start.AddDate(10, 0, 0), 1)
	at("slow", start, 2)
	at("other", start.AddDate(-1, 0, 0), 3)
	l := open(t, b, "reader")
	ns, faults := taken(t, l)
	require.Empty(t, faults)
	require.Equal(t, []int64{1, 2, 3}, ns)
	sound(t, l)
}

func TestALongRunningWriterLooksAgainAfterAnHour(t *testing.T) {
	s := faultstore.New()
	now := start
	l, err := evidence.Open(t.Context(), s.Bucket(), prefix, &evidence.Options{Writer: "long", Now: func() time.Time { return now }})
	require.NoError(t, err)
	other := open(t, s.Bucket(), "other")
	appendDebt(t, other, 1)
	appendDebt(t, l, 2)
	require.NotContains(t, string(s.Get("evidence/long/0000000001")), "seen")
	now = now.Add(time.Hour)
	appendDebt(t, l, 3)
	require.Contains(t, string(s.Get("evidence/long/0000000002")), other.Head().Digest.String())
	now = now.Add(time.Hour)
	appendDebt(t, l, 4)
	require.NotContains(t, string(s.Get("evidence/long/0000000003")), "seen", "there is nothing new")
	now = now.Add(time.Hour)
	appendDebt(t, other, 5)
	s.SetHook(faultstore.Nth(0, faultstore.On(faultstore.List, ""), faultstore.Fail(gcerrors.PermissionDenied)))
	appendDebt(t, l, 6)
	s.SetHook(nil)
	sound(t, l)
	require.True(t, s.Remove("evidence/other/0000000001"))
	require.True(t, s.Remove("evidence/other/0000000002"))
	_, faults := taken(t, l)
	require.Equal(t, []evidence.Fault{{Writer: "other", Seq: 1, Problem: "writer long saw it, but it is missing"}}, faults)
}

func TestManyWritersAtOnce(t *testing.T) {
	t.Run("a folder", func(t *testing.T) {
		dir, err := dirblob.OpenBucket(t.TempDir(), nil)
		require.NoError(t, err)
		defer dir.Close()
		manyWriters(t, dir)
	})
	t.Run("S3", func(t *testing.T) {
		b, err := blob.OpenBucket(t.Context(), servertest.S3(t))
		require.NoError(t, err)
		defer b.Close()
		manyWriters(t, b)
	})
}

func manyWriters(t *testing.T, b *blob.Bucket) {
	const writers, calls, each = 6, 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		// Three of them are two processes each that write as one writer.
		l := open(t, b, fmt.Sprintf("w%d", w/2))
		if w >= writers/2 {
			l = open(t, b, "")
		}
		for c := range calls {
			wg.Go(func() {
				for i := range each {
					appendDebt(t, l, int64(w*1000+c*100+i))
				}
			})
		}
	}
	wg.Wait()
	l := open(t, b, "")
	ns, faults := taken(t, l)
	require.Empty(t, faults)
	require.Len(t, ns, writers*calls*each)
	seen := map[int64]bool{}
	for _, n := range ns {
		require.False(t, seen[n], "a record came twice")
		seen[n] = true
	}
	sound(t, l)
}

func TestCallsThatWaitAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New()
		l := open(t, s.Bucket(), "w")
		s.SetHook(faultstore.At(1, faultstore.Delay(time.Second)))
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { appendDebt(t, l, int64(i)) })
		}
		wg.Wait()
		require.LessOrEqual(t, len(s.Keys()), 1+4)
		ns, _ := taken(t, l)
		require.Len(t, ns, 1000)
		sound(t, l)
	})
}

// One whose context ends does not take those down that it was writing for.
func TestOneWhoGivesUpDoesNotTakeOthersDown(t *testing.T) {
	for _, applied := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := faultstore.New()
			l := open(t, s.Bucket(), "w")
			f := faultstore.Hang()
			if applied {
				f = f.Applied()
			}
			// The first write keeps the lead while two others queue. The first of these leads next, writes for both,
			// and hangs.
			s.SetHook(func(o faultstore.Op) faultstore.Fault {
				switch o.N {
				case 1:
					return faultstore.Delay(time.Second)
				case 2:
					return f
				}
				return faultstore.Fault{}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			var hasty error
			wg.Go(func() { appendDebt(t, l, 1) })
			synctest.Wait()
			wg.Go(func() { hasty = l.Append(ctx, evidence.KindDebt, "akl", debt(2)) })
			synctest.Wait()
			wg.Go(func() { appendDebt(t, l, 3) })
			wg.Wait()
			require.ErrorIs(t, hasty, context.DeadlineExceeded)
			ns, faults := taken(t, l)
			require.Empty(t, faults)
			require.Equal(t, map[bool][]int64{false: {1, 3}, true: {1, 2, 3}}[applied], ns)
			sound(t, l)
		})
	}
}

func TestKillAtEveryRequest(t *testing.T) {
	run := func(s *faultstore.Store) (reported []int64, heads []evidence.Head) {
		for w, n := range map[string]int{"a": 3, "b": 2} {
			l, err := evidence.Open(context.Background(), s.Bucket(), prefix, &evidence.Options{Writer: w})
			if err != nil {
				continue
			}
			for i := range n {
				v := int64(w[0])*100 + int64(i)
				if l.Append(context.Background(), evidence.KindDebt, "akl", debt(v)) == nil {
					reported = append(reported, v)
					heads = append(heads, l.Head())
				}
			}
		}
		return reported, heads
	}
	synctest.Test(t, func(t *testing.T) {
		whole := faultstore.New()
		run(whole)
		require.Greater(t, whole.Ops(), 7)
		for n := 1; n <= whole.Ops(); n++ {
			for _, f := range []faultstore.Fault{faultstore.Kill(), faultstore.Kill().Applied(), faultstore.Fail(gcerrors.Unknown),
				faultstore.Fail(gcerrors.Unknown).Applied(), faultstore.Fail(gcerrors.FailedPrecondition).Applied(), faultstore.Fail(gcerrors.PermissionDenied).Applied()} {
				s := faultstore.New()
				s.SetHook(faultstore.At(n, f))
				reported, heads := run(s)
				after := s.Clone()
				l := open(t, after.Bucket(), "a")
				appendDebt(t, l, 1)
				ns, faults := taken(t, l)
				require.Empty(t, faults)
				require.Subset(t, ns, append(reported, 1))
				require.LessOrEqual(t, len(ns), len(reported)+2)
				seen := map[int64]bool{}
				for _, n := range ns {
					require.False(t, seen[n])
					seen[n] = true
				}
				sound(t, l, heads...)
			}
		}
	})
}

// Rubbish in the next slot, by a bad disk or a bad person, keeps nobody from recording, and is found.
func TestRubbishDoesNotStopAWriter(t *testing.T) {
	for _, junk := range [][]byte{nil, []byte("{}"), bytes.Repeat([]byte("x"), 1<<20)} {
		s := faultstore.New()
		l := open(t, s.Bucket(), "w")
		appendDebt(t, l, 1)
		s.Set("evidence/w/0000000002", junk)
		appendDebt(t, l, 3)
		require.EqualValues(t, 3, l.Head().Seq)
		s.Set("evidence/w/0000000004", junk)
		l = open(t, s.Bucket(), "w")
		appendDebt(t, l, 5)
		s.Set("evidence/other/0000000001", junk)
		s.Set("evidence/not ours", junk)
		x := open(t, s.Bucket(), "x")
		appendDebt(t, x, 6)
		require.NotContains(t, string(s.Get("evidence/x/0000000001")), "other", "nobody answers for rubbish")
		ns, faults := taken(t, x)
		require.Equal(t, []int64{1, 3, 5, 6}, ns)
		require.Len(t, faults, 3)
		file, err := export(t, l)
		require.ErrorIs(t, err, evidence.ErrBroken)
		sum, err := evidence.Verify(bytes.NewReader(file), l.Head())
		require.ErrorIs(t, err, evidence.ErrBroken)
		require.ErrorContains(t, err, "3 places")
		require.EqualValues(t, 4, sum.Records)
	}
}

// An object that is there for one request and not for the next is nothing to go on from.
func TestAStoreThatContradictsItself(t *testing.T) {
	s := faultstore.New()
	l := open(t, s.Bucket(), "w")
	s.Set("evidence/w/0000000001", []byte("rubbish"))
	s.SetHook(faultstore.Nth(2, faultstore.On(faultstore.Read, ""), faultstore.Fail(gcerrors.NotFound)))
	require.ErrorContains(t, l.Append(t.Context(), evidence.KindDebt, "", debt(1)), "not found")
	appendDebt(t, l, 2)
	require.EqualValues(t, 2, l.Head().Seq)
	require.NotZero(t, l.Head().Digest)
	s.Remove("evidence/w/0000000001")
	_, faults := taken(t, l)
	require.Len(t, faults, 1)
}

// Of many chains a writer names those that were written last; they have named the others.
func TestManyChainsAreNamedByTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New()
		for w := range 40 {
			time.Sleep(time.Second)
			appendDebt(t, open(t, s.Bucket(), fmt.Sprintf("w%02d", w)), 1)
		}
		l := open(t, s.Bucket(), "last")
		appendDebt(t, l, 2)
		block := string(s.Get("evidence/last/0000000001"))
		for w := range 40 {
			require.Equal(t, w >= 8, strings.Contains(block, fmt.Sprintf(`"w%02d"`, w)))
		}
		sound(t, l)
	})
}

func TestErrorsOfTheStoreKeepTheKeyAndSayWhatItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New()
		l, err := evidence.Open(t.Context(), s.Bucket(), "Anna Meyer/", &evidence.Options{Writer: "w"})
		require.NoError(t, err)
		s.SetHook(func(faultstore.Op) faultstore.Fault { return faultstore.Fail(gcerrors.PermissionDenied) })
		_, openErr := evidence.Open(t.Context(), s.Bucket(), "Anna Meyer/", nil)
		errs := []error{openErr, l.Append(t.Context(), evidence.KindDebt, "", debt(1)), l.Export(t.Context(), io.Discard)}
		for _, err := range l.Records(t.Context()) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 4)
		for _, err := range errs {
			require.ErrorContains(t, err, "denied")
			require.NotContains(t, err.Error(), "Anna")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Append(ctx, evidence.KindDebt, "", debt(1)), context.Canceled)
	})
	folder, err := fileblob.OpenBucket(t.TempDir(), nil)
	require.NoError(t, err)
	defer folder.Close()
	_, err = evidence.Open(t.Context(), folder, "", nil)
	require.ErrorContains(t, err, "dirblob")
	_, err = evidence.Open(t.Context(), memblob.OpenBucket(nil), "", &evidence.Options{Writer: "Anna Meyer"})
	require.ErrorContains(t, err, "lower-case")
}
