package rotation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/rotation"
)

const calendarFile = "\ufeffBEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Government//Holidays//EN\r\n" +
	"BEGIN:VTIMEZONE\r\nTZID:Australia/Sydney\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nRRULE:FREQ=YEARLY\r\n" +
	"END:STANDARD\r\nEND:VTIMEZONE\r\n" +
	"BEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY;LANGUAGE=en:Christmas\\, and Box\r\n" +
	" ing Day\r\nBEGIN:VALARM\r\nDURATION:PT5M\r\nEND:VALARM\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nDTSTART;X-A=\"b:c\";VALUE=DATE:20270101\r\nSUMMARY:New Year's Day\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270126\r\nDURATION:P1D\r\nSUMMARY:Australia Day\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270301\r\nSTATUS:CANCELLED\r\nSUMMARY:Not held\r\nEND:VEVENT\r\n" +
	"END:VCALENDAR\r\n"

func TestParseICS(t *testing.T) {
	h, err := rotation.ParseICS([]byte(calendarFile))
	require.NoError(t, err)
	require.Equal(t, map[rotation.Day]string{
		date(2026, 12, 25): "Christmas, and Boxing Day", date(2026, 12, 26): "Christmas, and Boxing Day",
		date(2027, 1, 1): "New Year's Day", date(2027, 1, 26): "Australia Day",
	}, h.Days)
	require.False(t, h.Business(date(2026, 12, 25)))
	require.True(t, h.Business(date(2026, 12, 24)))
	require.False(t, h.Business(date(2026, 12, 27)), "Sunday")

	lf, err := rotation.ParseICS([]byte(strings.ReplaceAll(calendarFile, "\r", "")))
	require.NoError(t, err)
	require.Equal(t, h, lf)
}

func TestParseICSRefused(t *testing.T) {
	event := func(lines string) string {
		return "BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + lines + "\nEND:VEVENT\nEND:VCALENDAR\n"
	}
	for text, says := range map[string]string{
		"": "breaks off",
		strings.TrimSuffix(calendarFile, "END:VCALENDAR\r\n"): "breaks off",
		"<html>":                                                                      "line 1",
		"SUMMARY:Christmas":                                                           "BEGIN:VCALENDAR",
		"BEGIN:VEVENT\nEND:VEVENT":                                                    "one VCALENDAR",
		calendarFile + calendarFile[3:]:                                               "one VCALENDAR",
		"BEGIN:VCALENDAR\nEND:VEVENT":                                                 "not open",
		event("SUMMARY:Christmas"):                                                    "without DTSTART",
		event("DTSTART:20261225T090000"):                                              "all-day",
		event("DTSTART;VALUE=DATE-TIME:20261225"):                                     "all-day",
		event("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY"):                       "recurring",
		event("DTSTART;VALUE=DATE:20260229"):                                          "date of the calendar",
		event("DTSTART;VALUE=DATE:2026122"):                                           "all-day",
		event("DTSTART;VALUE=DATE:20261225\nDTSTART;VALUE=DATE:20261226"):             "one DTSTART",
		event("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20270225"):               "62 days",
		event("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261224"):               "-1 days",
		event("DTSTART;VALUE=DATE:20261225\nDURATION:PT8H"):                           "whole days",
		event("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261226\nDURATION:P1D"): "both",
		event("DTSTART;VALUE=DATE:20261225\nSUMMARY:\xff"):                            "UTF-8",
	} {
		_, err := rotation.ParseICS([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
}

func TestHolidaysJSON(t *testing.T) {
	const text = `{"workdays":["mon","sat"],"days":{"2026-12-25":"Christmas Day","2027-01-01":"New Year's Day"}}`
	h := holidays(t, text)
	require.Equal(t, []time.Weekday{time.Monday, time.Saturday}, h.Workdays)
	data, err := json.Marshal(h)
	require.NoError(t, err)
	require.Equal(t, text, string(data))
	require.True(t, h.Business(date(2026, 12, 26)))
	require.False(t, h.Business(date(2026, 12, 29)))

	for bad, says := range map[string]string{
		`{"days":{"2026-12-25":"a","2026-12-25":"b"}}`: "twice",
		`{"days":{"25.12.2026":"a"}}`:                  "2026-10-04",
		`{"days":{"":"a"}}`:                            "not a date",
		`{"day":{}}`:                                   "unknown field",
		`{"workdays":["mon","mon"]}`:                   "once",
		`{} {}`:                                        "after",
		`[]`:                                           "holidays",
	} {
		require.ErrorContains(t, json.Unmarshal([]byte(bad), &h), says, bad)
	}

	sum := h.Add(holidays(t, `{"days":{"2026-12-25":"Noel","2026-11-03":"Cup Day"}}`))
	require.Equal(t, map[rotation.Day]string{date(2026, 12, 25): "Noel", date(2027, 1, 1): "New Year's Day",
		date(2026, 11, 3): "Cup Day"}, sum.Days)
	require.Equal(t, h.Workdays, sum.Workdays)
	require.Len(t, h.Days, 2)
}

func FuzzParseICS(f *testing.F) {
	f.Add([]byte(calendarFile))
	f.Add([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:99991231\nDURATION:P4W\nEND:VEVENT\nEND:VCALENDAR"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := rotation.ParseICS(data)
		if err != nil {
			require.Zero(t, h)
			return
		}
		text, err := json.Marshal(h)
		require.NoError(t, err)
		var again rotation.Holidays
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, len(h.Days), len(again.Days))
	})
}
