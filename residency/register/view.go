package register

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
)

// view is a register in words, of which the page and the text are two layouts.
type view struct {
	Practice, When string
	Summary        []string // sentences
	Now            []string // what must be done now
	Soon           []soon
	Sites          []siteView
	Overrides      []row
	Moves          []row
	Residuals      []row
	Ruleset        string
	Digest         string
	Heads          []string
	Map            svg
}

type soon struct{ Site, What, Ends, Word string }

type row []string

// siteView is one site in words.
type siteView struct {
	Name, Kind, Where, Reach, Keys, Encryption string
	Known                                      string // how well the place is known, and since when
	Held, Since, Until, State, Verdict, Asked  string
	Bad                                        bool
	Papers, Reasons, Duties                    []row
	Missing, Notes                             []string
}

type viewer struct{ r Register }

func newView(r Register) (*view, error) {
	digest, err := r.digest()
	if err != nil {
		return nil, err
	}
	if r.Warnings == nil {
		r.Warnings = Expiring(r)
	}
	v := &viewer{r}
	out := &view{Practice: plain(r.Practice), When: v.moment(r.At), Summary: v.summary(), Now: v.todo(), Ruleset: plain(r.Ruleset),
		Digest: digest}
	if out.Practice == "" {
		out.Practice = "Our practice"
	}
	for _, w := range r.Warnings {
		out.Soon = append(out.Soon, soon{plain(w.Site), plain(w.What), v.date(w.Ends), left(w, r.At)})
	}
	for _, s := range r.Sites {
		out.Sites = append(out.Sites, v.site(s))
	}
	for _, o := range r.Overrides {
		out.Overrides = append(out.Overrides, v.override(o))
	}
	for _, m := range r.Moves {
		end := "under way"
		if !m.Ended.IsZero() {
			end = v.date(m.Ended)
		}
		out.Moves = append(out.Moves, row{plain(m.From) + " to " + plain(m.To), plain(m.Stage), v.date(m.Began), end,
			objects(m.Objects, m.Bytes), plain(m.Why)})
	}
	for _, s := range r.Residuals {
		read := "Whoever holds the keys"
		if s.Shredded {
			read = "Nobody: the keys were destroyed"
		}
		out.Residuals = append(out.Residuals, row{plain(s.Site), objects(s.Objects, s.Bytes), v.date(s.Release), read})
	}
	for _, h := range r.Heads {
		out.Heads = append(out.Heads, plain(h))
	}
	out.Map = v.draw()
	return out, nil
}

// left is how long it is until a warning's end.
func left(w Warning, at time.Time) string {
	days := int(w.Ends.Sub(at) / (24 * time.Hour))
	switch {
	case !w.Ends.After(at):
		return "has ended"
	case days == 0:
		return "within a day"
	}
	return "in " + count(int64(days), "day")
}

// summary says in sentences what is kept where.
func (v *viewer) summary() []string {
	var operators []string
	var countries []residency.Place
	offsite, allowed := 0, 0
	for _, s := range v.r.Sites {
		operators = append(operators, operator(s))
		for _, p := range s.places() {
			countries = append(countries, country(p))
		}
		if !s.Onsite {
			offsite++
		}
		if s.stands(v.r.At) && s.Decision.Rules == residency.Allowed {
			allowed++
		}
	}
	countries = unique(countries)
	slices.Sort(countries)
	out := []string{fmt.Sprintf("The data: %s%s.", class(v.r.Subject.Class), v.origins()), "Encryption: " + v.encryption() + "."}
	if len(v.r.Sites) == 0 {
		return append(out, "There is no site: nothing is kept anywhere.")
	}
	where := "in places that are not known"
	if len(countries) > 0 {
		where = "in " + v.places(countries)
	}
	out = append(out,
		fmt.Sprintf("It is kept at %s, %s of them offsite, by %s, %s.", count(int64(len(v.r.Sites)), "site"), number(offsite),
			count(int64(len(unique(operators))), "operator"), where),
		fmt.Sprintf("Sites for which no rule in this ruleset denies new data: %s of %d.", number(allowed), len(v.r.Sites)))
	return append(out, v.wanted())
}

// stands reports whether the site may take new data by an answer that has not ended.
func (s Site) stands(at time.Time) bool {
	d := s.Decision
	return d.Verdict == residency.Allowed && (d.Expires.IsZero() || d.Expires.After(at))
}

// excepted reports whether it is an exception that lets the site be used.
func (s Site) excepted() bool {
	return s.Decision.Verdict == residency.Allowed && s.Decision.Rules != residency.Allowed
}

func (v *viewer) encryption() string {
	if v.r.Encryption == "" {
		return "not stated"
	}
	return plain(v.r.Encryption)
}

func (v *viewer) origins() string {
	s := ""
	if o := v.r.Subject.Origins; len(o) > 0 {
		s = ", from " + v.places(o)
	}
	var tags []string
	for _, t := range v.r.Subject.Tags {
		tags = append(tags, plain(string(t)))
	}
	if len(tags) > 0 {
		s += "; bound also as " + list(tags)
	}
	return s
}

func number(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func (v *viewer) wanted() string {
	w := v.r.Wanted
	var also []string
	for _, c := range []struct {
		n    int
		what string
	}{{w.MustReach, "on %d before a backup counts as done"}, {w.Operators, "with at least %d different operators"},
		{w.Subdivisions, "in at least %d different places"}, {w.Offsite, "at least %d offsite"}} {
		if c.n > 0 {
			also = append(also, fmt.Sprintf(c.what, c.n))
		}
	}
	s := "Wanted: " + copies(w.Copies)
	if len(also) > 0 {
		s += ", " + list(also)
	}
	return s + "."
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return fmt.Sprintf("%d copies", n)
}

// operator tells sites apart that one body runs.
func operator(s Site) string {
	if s.Operator == "" && s.Onsite {
		return "the practice"
	}
	return s.Operator
}

// places are those that were judged, or else those that are declared.
func (s Site) places() []residency.Place {
	if len(s.Decision.Places) > 0 {
		return s.Decision.Places
	}
	return s.Target.Location.Places
}

func (v *viewer) site(s Site) siteView {
	d, loc := s.Decision, s.Target.Location
	out := siteView{Name: plain(s.Name), Kind: kind(s), Reach: v.reach(s), Keys: v.keys(s.Target.Custody), Encryption: v.encryption(),
		Held: "not counted", Since: orNotYet(v.date(s.Since)), Until: v.until(d), Verdict: v.verdict(s), Asked: v.moment(d.Now)}
	out.State, out.Bad = v.state(s)
	out.Where = "not known"
	if p := s.places(); len(p) > 0 {
		out.Where = v.places(p)
	}
	if loc.Provider != "" {
		out.Where += "; " + plain(strings.TrimSpace(loc.Provider+" "+loc.Region+" "+loc.Redundancy))
	}
	out.Known = level(loc.Level)
	if out.Where == "not known" {
		out.Known = "not known"
	}
	if !loc.At.IsZero() {
		out.Known += ", last looked at on " + v.date(loc.At)
	}
	if !s.Counted.IsZero() {
		out.Held = objects(s.Objects, s.Bytes) + ", counted on " + v.date(s.Counted)
	}
	for _, p := range s.Target.Papers {
		until := "until " + lastDay(p.Until)
		if p.Until.IsZero() {
			until = lastDay(p.Until)
		}
		if p.Refuted {
			until = "does not hold"
		}
		out.Papers = append(out.Papers, row{plain(strings.Join(append([]string{p.Kind}, p.Scope...), ", ")), plain(p.Issuer),
			day(p.From), until, plain(p.Ref)})
	}
	for _, x := range d.Reasons {
		text := plain(x.Text)
		if x.ReviewedBy != "" {
			text += " (reviewed by " + plain(x.ReviewedBy) + ")"
		}
		out.Reasons = append(out.Reasons, row{plain(x.Regime), plain(x.Rule), v.placeOrAll(x.Place), verdictWord(x.Verdict), text, plain(x.Ref)})
	}
	for _, o := range d.Obligations {
		out.Duties = append(out.Duties, row{plain(o.Text), plain(o.Rule)})
	}
	for _, m := range d.Missing {
		out.Missing = append(out.Missing, plain(m.Fact)+" (asked by "+plain(m.Rule)+")")
	}
	for _, w := range d.Warnings {
		out.Notes = append(out.Notes, plain(w))
	}
	if len(d.Unconfirmed) > 0 {
		out.Notes = append(out.Notes, "Not asked, because nobody has confirmed their text: "+plain(list(d.Unconfirmed))+".")
	}
	return out
}

func orNotYet(s string) string {
	if s == "" {
		return "nothing yet"
	}
	return s
}

func (v *viewer) placeOrAll(p residency.Place) string {
	if p == "" {
		return "the site as a whole"
	}
	return v.place(p)
}

func kind(s Site) string {
	words := []string{"offsite"}
	if s.Onsite {
		words[0] = "onsite"
	}
	if s.Removable {
		words = append(words, "removable")
	}
	if s.ReadOnly {
		words = append(words, "read only")
	}
	if s.Home {
		words = append(words, "home: it decides what is written")
	}
	return strings.Join(words, ", ")
}

func (v *viewer) verdict(s Site) string {
	if !s.excepted() {
		return verdict(s.Decision.Verdict) + "."
	}
	text := "By the rules alone: " + lower(verdict(s.Decision.Rules)) + ". "
	if o := s.Decision.Override; o != nil {
		return text + fmt.Sprintf("An exception by %s holds until %s.", plain(o.Person), v.moment(o.Until))
	}
	return text + "An exception lets it be used, but who made it is not recorded."
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// until says how long the answer stands.
func (v *viewer) until(d residency.Decision) string {
	switch {
	case d.Verdict != residency.Allowed:
		return "Not for new data now"
	case d.Expires.IsZero():
		return "Nothing that the answer rests on has an end"
	case !d.Expires.After(v.r.At):
		return "Ended on " + v.date(d.Expires) + ": must be asked again"
	case d.ExpiresBy == "":
		return "The answer stands until " + v.date(d.Expires)
	}
	return "The answer stands until " + v.date(d.Expires) + ", when this ends: " + plain(d.ExpiresBy)
}

// state is the site's condition in a few words, and whether something is wrong with it.
func (v *viewer) state(s Site) (words string, bad bool) {
	var parts []string
	d := s.Decision
	switch {
	case d.Verdict == residency.Denied:
		parts = append(parts, "a rule denies: no new data")
	case d.Verdict != residency.Allowed:
		parts = append(parts, "not enough is known: no new data")
	case !s.stands(v.r.At):
		parts = append(parts, "the answer has ended: no new data")
	case s.excepted():
		parts = append(parts, "in use by an exception")
	}
	if !s.Quarantined.IsZero() {
		parts = append(parts, "quarantined")
	}
	if s.Owed > 0 {
		parts = append(parts, "lacks "+count(s.Owed, "object"))
	}
	if len(parts) > 0 {
		return strings.Join(parts, "; "), true
	}
	if s.ReadOnly {
		return "read only", false
	}
	return "in use", false
}

func (v *viewer) override(o Override) row {
	what := "what is there may stay; nothing is added"
	if o.Write {
		what = "new data may be written"
	}
	state := "holds"
	switch {
	case !o.Until.After(v.r.At):
		state = "has ended"
	case o.From.After(v.r.At):
		state = "has not begun"
	}
	return row{plain(o.Site), plain(o.Person), v.moment(o.From), v.moment(o.Until), state + ": " + what, plain(o.Reason)}
}
