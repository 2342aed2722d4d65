package register

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html
var pageHTML string

// WriteHTML writes the register as one self-contained page. It has no script, no link, and no font or image to be
// loaded; it prints on A4, follows the reader's choice of dark or light, and says nothing by colour alone.
func WriteHTML(w io.Writer, r Register) error {
	v, err := newView(r)
	if err != nil {
		return err
	}
	page, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("register: page: %w", err)
	}
	// All of it first, so that nobody gets half a page.
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return fmt.Errorf("register: page: %w", err)
	}
	return write(w, b.Bytes())
}
