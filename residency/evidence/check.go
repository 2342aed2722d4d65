package evidence

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/carekeep/carekeep/internal/strictjson"
)

// checkValue walks through data, and returns the field whose text is not of the form that its tag asks for, and
// why; nothing if all are. The value itself stays out of both.
func checkValue(v reflect.Value, form, path string) (field, why string) {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 && !forms(form, v.String()) {
			return path, "it is not " + formNames(form)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return checkValue(v.Elem(), form, path)
		}
	case reflect.Slice:
		return checkList(v, form, path)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return "", ""
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if field, why := checkField(v.Field(i), f, path+"."+f.Name); why != "" {
				return field, why
			}
		}
	case reflect.Bool, reflect.Int, reflect.Int64:
	default:
		return path, "it is of a type that is not recorded"
	}
	return "", ""
}

func checkList(v reflect.Value, form, path string) (field, why string) {
	if v.Len() > maxMembers {
		return path, fmt.Sprintf("it has more than %d members", maxMembers)
	}
	for i := range v.Len() {
		if v.Index(i).Kind() == reflect.String && v.Index(i).Len() == 0 {
			return path, "it has an empty member"
		}
		if field, why := checkValue(v.Index(i), form, path); why != "" {
			return field, why
		}
	}
	return "", ""
}

func checkField(v reflect.Value, f reflect.StructField, path string) (field, why string) {
	form := f.Tag.Get("is")
	if v.Kind() == reflect.String && v.Len() == 0 && !strings.Contains(f.Tag.Get("json"), "omitempty") {
		return path, "it is empty, but must be " + formNames(form)
	}
	return checkValue(v, form, path)
}

// Lengths of texts in bytes.
const (
	maxID     = 64
	maxSite   = 40
	maxFact   = 96
	maxPerson = 64
)

// forms reports whether s, which is not empty, has a form. A form that is not known holds for nothing.
func forms(form, s string) bool {
	switch form {
	case "id":
		return isSlug(s, "._:+-", maxID)
	case "site":
		return isSlug(s, "-", maxSite)
	case "region":
		return isSlug(strings.ToLower(s), "-", maxSite)
	case "opaque":
		return forms("id", s) || random(s)
	case "fact":
		return isFact(s)
	case "place":
		return isPlace(s)
	case "person":
		return isPerson(s)
	case "digest":
		return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
	}
	return slices.Contains(words(form), s)
}

// words are those of a form that is a closed set.
func words(form string) []string {
	switch form {
	case "verdict":
		return []string{"allowed", "denied", "unknown"}
	case "cause":
		return []string{string(CauseOnlyCopy), string(CauseEmergency), string(CauseOutage), string(CauseMismatch), string(CauseLaw),
			string(CauseContract), string(CauseProvider), string(CauseMaintenance), string(CauseSettled), string(CauseOther)}
	case "outcome":
		return []string{string(OutcomeOK), string(OutcomePartial), string(OutcomeMismatch), string(OutcomeUnreachable),
			string(OutcomeDenied), string(OutcomeFailed)}
	case "stage":
		return []string{string(Planned), string(Copied), string(Verified), string(Switched), string(Deleted), string(Done), string(Stopped)}
	case "about":
		return []string{"decision", "rule", "review", "paper", "evidence", "override", "lock"}
	}
	return nil
}

// formNames says what a form is, for an error.
func formNames(form string) string {
	switch form {
	case "id":
		return "an id: words of lower-case letters and few digits, with . _ : + or - between them"
	case "site":
		return "the name of a site: words of lower-case letters and few digits, with - between them"
	case "region":
		return "a provider's word for a region"
	case "opaque":
		return "an id, or at least 20 random hexadecimal digits"
	case "fact":
		return "a few words of lower-case letters, or codes of places"
	case "place":
		return "a place: an ISO 3166 code such as AU or AU-NSW"
	case "person":
		return "the name of a member of staff"
	case "digest":
		return "a SHA-256 in lower-case hexadecimal"
	}
	return "one of the words for it"
}

// isSlug reports whether s is short, and made of words of lower-case letters and few digits.
func isSlug(s, separators string, limit int) bool {
	return len(s) <= limit && strictjson.Slug(s, separators) && fewDigits(s)
}

// fewDigits refuses what may be a number of a patient, a telephone number or a date of birth. Rules are named
// with a year at most, regions and sites with a count.
func fewDigits(s string) bool {
	n, row := 0, 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			row = 0
			continue
		}
		n++
		if row++; row > 5 {
			return false
		}
	}
	return n <= 7
}

// random reports whether s looks like random bytes in hexadecimal, also in groups as in a UUID. Numbers of
// patients have no letters, or are shorter.
func random(s string) bool {
	return len(s) >= 20 && len(s) <= 64 && strings.Trim(s, "0123456789abcdef-") == "" && strings.ContainsAny(s, "abcdef")
}

// isPlace knows the codes of ISO 3166-1 and 3166-2, and the rules' names of groups such as @EEA.
func isPlace(s string) bool {
	if group, ok := strings.CutPrefix(s, "@"); ok {
		return len(group) >= 2 && len(group) <= 12 && upper(group)
	}
	country, part, divided := strings.Cut(s, "-")
	if len(country) != 2 || !upper(country) {
		return false
	}
	return !divided || len(part) >= 1 && len(part) <= 3 && strings.ToUpper(part) == part && strictjson.Slug(strings.ToLower(part), "")
}

func upper(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < 'A' || c > 'Z' }) < 0
}

// isFact knows what a rule may ask for, such as "paper dpf-listing/uk-extension" or "custody-in:@EEA".
func isFact(s string) bool {
	words := strings.Split(s, " ")
	if len(s) > maxFact || len(words) > 12 || !fewDigits(s) {
		return false
	}
	for _, w := range words {
		if i := strings.IndexByte(w, ':'); i > 0 && strictjson.Slug(w[:i], "-") && isPlace(w[i+1:]) {
			continue
		}
		if !isPlace(w) && !(strings.Count(w, "/") <= 1 && strictjson.Slug(w, "._:+-/")) {
			return false
		}
	}
	return true
}

// isPerson takes a name as people write theirs, or an account's id.
func isPerson(s string) bool {
	if s == "" || len(s) > maxPerson || !utf8.ValidString(s) {
		return false
	}
	digits := 0
	for i, c := range s {
		switch {
		case unicode.IsLetter(c), i > 0 && unicode.IsMark(c):
		case c >= '0' && c <= '9':
			digits++
		case i > 0 && strings.ContainsRune(" .'’-", c):
		default:
			return false
		}
	}
	return digits <= 4
}
