package register_test

import (
	"bytes"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/carekeep/carekeep/residency"
	"github.com/carekeep/carekeep/residency/register"
)

func Example() {
	at := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	r := register.Register{
		Practice: "Hill Street Practice", At: at, Encryption: "AES-256-GCM, before it leaves the practice",
		Subject: residency.Subject{Class: residency.Identifiable, Origins: []residency.Place{"NZ"}},
		Wanted:  register.Wanted{Copies: 1},
		Names:   map[residency.Place]string{"NZ": "New Zealand"},
		Sites: []register.Site{{Name: "backroom", Home: true, Onsite: true, Since: at.AddDate(-1, 0, 0),
			Target:   residency.Target{Custody: residency.Custody{Holder: residency.CustomerHeld}},
			Decision: residency.Decision{Verdict: residency.Allowed, Rules: residency.Allowed, Places: []residency.Place{"NZ"}, Now: at}}},
	}
	var page bytes.Buffer
	if err := register.WriteHTML(&page, r); err != nil { // or WriteText, WriteJSON
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(page.String(), "No rule in this ruleset denies"))
	// Output: true
}
