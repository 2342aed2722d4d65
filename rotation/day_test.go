package rotation_test

import (
	"encoding"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/carekeep/carekeep/rotation"
)

func TestParseDay(t *testing.T) {
	for _, s := range []string{"0001-01-01", "2024-02-29", "2026-10-04", "9999-12-31"} {
		d, err := rotation.ParseDay(s)
		require.NoError(t, err)
		require.Equal(t, s, d.String())
	}
	for _, s := range []string{"", "2026-2-3", "2026-02-29", "2026-13-01", "2026-00-10", "2026-10-32", "0000-01-01",
		"2026/10/04", "+026-10-04", "2026-10-04 ", "20261004", "２０２６-10-04"} {
		_, err := rotation.ParseDay(s)
		require.ErrorContains(t, err, "2026-10-04", s)
	}
	var d rotation.Day
	require.NoError(t, d.UnmarshalText(nil))
	require.True(t, d.IsZero())
	text, err := d.MarshalText()
	require.NoError(t, err)
	require.Empty(t, text)
	_, err = date(2026, 2, 30).MarshalText()
	require.ErrorContains(t, err, "2026-02-30")
}

func TestDayArithmetic(t *testing.T) {
	require.Equal(t, date(2026, 2, 28), date(2026, 1, 31).AddMonths(1))
	require.Equal(t, date(2024, 2, 29), date(2024, 1, 31).AddMonths(1))
	require.Equal(t, date(2025, 12, 31), date(2026, 3, 31).AddMonths(-3))
	require.Equal(t, date(2026, 2, 28), date(2026, 3, 31).AddMonths(-1), "Go's AddDate gives 3 March")
	require.Equal(t, date(2049, 3, 1), date(2024, 2, 29).AddYears(25), "a child of 29 February is 25 on 1 March")
	require.Equal(t, date(2028, 2, 29), date(2024, 2, 29).AddYears(4))
	require.Equal(t, 366, date(2025, 1, 1).Sub(date(2024, 1, 1)))
	require.Equal(t, time.Friday, date(2026, 11, 20).Weekday())
	year, week := date(2027, 1, 3).ISOWeek()
	require.Equal(t, []int{2026, 53}, []int{year, week})
	require.True(t, date(2026, 1, 31).Before(date(2026, 2, 1)))
	require.True(t, date(2026, 2, 1).After(date(2025, 12, 31)))
}

func TestDayProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rotation.Day{Year: rapid.IntRange(1, 9000).Draw(t, "year"), Month: time.Month(rapid.IntRange(1, 12).Draw(t, "month")),
			Day: rapid.IntRange(1, 28).Draw(t, "day")}
		n := rapid.IntRange(-300, 300_000).Draw(t, "n")
		e := d.AddDays(n)
		require.Equal(t, n, e.Sub(d))
		require.Equal(t, d, e.AddDays(-n))
		require.Equal(t, n > 0, e.After(d))
		require.Equal(t, time.Weekday(((int(d.Weekday())+n)%7+7)%7), e.Weekday())
		require.Equal(t, d, d.AddMonths(n%1000).AddMonths(-(n % 1000)))
	})
}

func TestClockText(t *testing.T) {
	for _, s := range []string{"00:00", "09:05", "23:59"} {
		c, err := rotation.ParseClock(s)
		require.NoError(t, err)
		require.Equal(t, s, c.String())
	}
	for _, s := range []string{"", "24:00", "9:05", "09:60", "09-05", "09:05:00", "-1:00", " 9:05"} {
		_, err := rotation.ParseClock(s)
		require.ErrorContains(t, err, "00:00 to 23:59", s)
	}
	_, err := clock(24, 0).MarshalText()
	require.Error(t, err)
}

func TestSpanText(t *testing.T) {
	for s, want := range map[string]rotation.Span{
		"0d": {}, "7d": {Days: 7}, "30d": {Days: 30}, "5w": {Days: 35}, "12m": {Months: 12}, "3y": {Years: 3},
		"1y6m": {Years: 1, Months: 6}, "1y2w": {Years: 1, Days: 14},
	} {
		got, err := rotation.ParseSpan(s)
		require.NoError(t, err)
		require.Equal(t, want, got, s)
		require.Equal(t, s, got.String())
	}
	got, err := rotation.ParseSpan("1w3d")
	require.NoError(t, err)
	require.Equal(t, rotation.Span{Days: 10}, got)
	for _, s := range []string{"", "7", "d", "-7d", "7D", "6m1y", "1d1d", "1.5y", "7d ", "1000000d", "99999w"} {
		_, err := rotation.ParseSpan(s)
		require.ErrorContains(t, err, "1y6m", s)
	}
	_, err = rotation.Span{Days: -1}.MarshalText()
	require.Error(t, err)
}

func TestSpanDays(t *testing.T) {
	span := func(s string) rotation.Span {
		v, err := rotation.ParseSpan(s)
		require.NoError(t, err)
		return v
	}
	require.Equal(t, date(2026, 11, 27), span("7d").From(date(2026, 11, 20)))
	require.Equal(t, date(2025, 3, 1), span("1y").From(date(2024, 2, 29)))
	require.Equal(t, date(2025, 2, 28), span("12m").From(date(2024, 2, 29)))
	require.Equal(t, date(2023, 2, 28), span("1y").Before(date(2024, 2, 29)))
	require.Equal(t, date(2025, 5, 20), span("1y6m").Before(date(2026, 11, 20)))
}

// FuzzText: what a decoder accepts it writes, and reads again as the same.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "2026-10-04", "20:00", "1y6m2w3d", "5w", "moved 1h0m0s", "after"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		roundTrip[rotation.Day](t, s)
		roundTrip[rotation.Clock](t, s)
		roundTrip[rotation.Span](t, s)
		roundTrip[rotation.Adjustment](t, s)
		roundTrip[rotation.Gap](t, s)
		roundTrip[rotation.Fold](t, s)
	})
}

func roundTrip[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, s string) {
	t.Helper()
	var v, again T
	if P(&v).UnmarshalText([]byte(s)) != nil {
		return
	}
	text, err := any(v).(encoding.TextMarshaler).MarshalText()
	require.NoError(t, err)
	require.NoError(t, P(&again).UnmarshalText(text))
	require.Equal(t, v, again)
}
