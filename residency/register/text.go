package register

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// textWidth is how many letters a line of text has at most, unless a word is longer.
const textWidth = 100

// WriteText writes the register for a terminal or a letter, in lines of 100 letters. Nothing in it can move the cursor.
func WriteText(w io.Writer, r Register) error {
	v, err := newView(r)
	if err != nil {
		return err
	}
	t := &text{}
	t.line(0, "WHERE OUR DATA IS KEPT")
	t.line(0, "%s, as of %s", v.Practice, v.When)
	t.heading("")
	for _, s := range v.Summary {
		t.line(0, "%s", s)
	}
	t.heading("TO DO NOW")
	for i, s := range v.Now {
		t.item(fmt.Sprintf("%d.", i+1), s)
	}
	t.none(len(v.Now), "nothing")
	t.heading("WHAT ENDS SOON")
	for _, s := range v.Soon {
		t.item("-", fmt.Sprintf("%s: %s, %s (%s)", s.Word, s.Site, s.What, s.Ends))
	}
	t.none(len(v.Soon), "nothing within 180 days")
	for _, s := range v.Sites {
		t.site(s)
	}
	t.rows("EXCEPTIONS THAT A PERSON MADE", v.Overrides)
	t.rows("MOVES", v.Moves)
	t.rows("WHAT A LOCK STILL KEEPS", v.Residuals)
	t.heading("ABOUT THIS REGISTER")
	t.line(0, "\"No rule in this ruleset denies\" is the answer of the rules that were asked, with the facts that were given. "+
		"It is not legal advice, and not a finding that the practice acts lawfully.")
	t.line(0, "Ruleset %s", v.Ruleset)
	t.line(0, "This register as JSON %s (SHA-256)", v.Digest)
	for _, h := range v.Heads {
		t.line(0, "Newest evidence %s", h)
	}
	return write(w, []byte(t.b.String()))
}

type text struct{ b strings.Builder }

func (t *text) site(s siteView) {
	t.heading("SITE " + s.Name)
	for _, f := range [][2]string{{"Kind", s.Kind}, {"Where", s.Where}, {"How well known", s.Known}, {"Who can reach it", s.Reach},
		{"Encryption", s.Encryption}, {"Keys", s.Keys}, {"Holds data since", s.Since}, {"Holds", s.Held}, {"Answer of rules", s.Verdict},
		{"Until when", s.Until}, {"State", s.State}} {
		t.field(f[0], f[1])
	}
	for _, d := range s.Duties {
		t.field("Must be done", fmt.Sprintf("%s (%s)", d[0], d[1]))
	}
	for _, m := range s.Missing {
		t.field("Not known", m)
	}
	for _, p := range s.Papers {
		t.field("Paper", joined(p))
	}
	for _, r := range s.Reasons {
		t.field("Why", joined(r))
	}
	for _, n := range s.Notes {
		t.field("Note", n)
	}
}

// joined puts the cells of a row that are not empty into one text.
func joined(r row) string {
	var cells []string
	for _, c := range r {
		if c != "" {
			cells = append(cells, c)
		}
	}
	return strings.Join(cells, "; ")
}

func (t *text) rows(heading string, rows []row) {
	if len(rows) == 0 {
		return
	}
	t.heading(heading)
	for _, r := range rows {
		t.item("-", joined(r))
	}
}

func (t *text) heading(s string) {
	t.b.WriteByte('\n')
	if s != "" {
		t.line(0, "%s", s)
	}
}

func (t *text) none(n int, s string) {
	if n == 0 {
		t.line(2, "%s", s)
	}
}

func (t *text) item(mark, s string) { t.wrap(2, mark+" ", s) }

func (t *text) field(name, s string) { t.wrap(2, fmt.Sprintf("%-18s", name), s) }

func (t *text) line(indent int, format string, args ...any) {
	t.wrap(indent, "", fmt.Sprintf(format, args...))
}

// wrap writes a text behind a lead, with further lines below its first letter.
func (t *text) wrap(indent int, lead, s string) {
	left := strings.Repeat(" ", indent+utf8.RuneCountInString(lead))
	line, empty := strings.Repeat(" ", indent)+lead, true
	for _, word := range strings.Fields(s) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > textWidth {
			t.b.WriteString(line + "\n")
			line, empty = left, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	t.b.WriteString(strings.TrimRight(line, " ") + "\n")
}
