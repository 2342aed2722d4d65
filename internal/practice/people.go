package practice

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"
)

// rng returns the n-th generator of a named stream. Anything that has its own stream and number can be made
// on its own, in any order, by any worker, and comes out the same.
func (c *clinic) rng(stream string, n int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(stream))
	return rand.New(rand.NewPCG(c.seed^h.Sum64(), mix(h.Sum64()+uint64(n))))
}

// mix spreads neighbouring numbers far apart (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// between returns a number from lo to hi, both included.
func between(r *rand.Rand, lo, hi int) int { return lo + r.IntN(hi-lo+1) }

// uuid returns a version 4 UUID drawn from r.
func uuid(r *rand.Rand) string {
	var b [16]byte
	for i := 0; i < 16; i += 8 {
		v := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// dayZero is a Monday. All simulated times are UTC.
var dayZero = time.Date(2025, 3, 3, 0, 0, 0, 0, time.UTC)

// closing is the end of business on a day: the time of everything that the day's close touches.
func closing(day int) time.Time { return dayZero.AddDate(0, 0, day).Add(18 * time.Hour) }

// clock chooses when something happened.
type clock func(r *rand.Rand) time.Time

// historical is a working moment in the three years up to day 0.
func historical(r *rand.Rand) time.Time { return moment(r, dayZero.AddDate(0, 0, -r.IntN(3*365))) }

// on returns a clock of working moments on one day.
func on(day int) clock {
	return func(r *rand.Rand) time.Time { return moment(r, dayZero.AddDate(0, 0, day)) }
}

func moment(r *rand.Rand, day time.Time) time.Time {
	return day.Add(8*time.Hour + time.Duration(r.IntN(10*3600))*time.Second)
}

// patient is one invented person.
type patient struct {
	number                            int
	uuid, mrn                         string
	family, given, middle             string
	sex                               string // "F" or "M"
	born                              time.Time
	phone, email                      string
	street, suburb, region, postcode  string
	registered                        time.Time
	allergyAgent, allergyReaction     string // empty when none is recorded
	regularDrug, regularDose, problem string
}

// patient derives person n from the seed alone.
func (c *clinic) patient(n int) patient {
	r := c.rng("patient", n)
	p := patient{number: n, uuid: uuid(r), mrn: fmt.Sprintf("MRN%07d", 1_000_000+n*7+int(mix(c.seed+uint64(n))%7))}
	p.family = pick(r, familyNames)
	p.sex, p.given, p.middle = "F", pick(r, womenNames), pick(r, womenNames)
	if r.IntN(100) < 48 {
		p.sex, p.given, p.middle = "M", pick(r, menNames), pick(r, menNames)
	}
	if n == 0 && c.canary != "" {
		p.family = c.canary
	}
	p.born = dayZero.AddDate(-r.IntN(98), 0, -r.IntN(365))
	// Telephone numbers come from the range kept for fiction, addresses from the domain kept for examples.
	p.phone = fmt.Sprintf("03 5550 %04d", r.IntN(10000))
	p.email = fmt.Sprintf("%s.%d@example.org", strings.ToLower(asciiOnly(p.given)), r.IntN(100000))
	p.street = fmt.Sprintf("%d %s %s", 1+r.IntN(280), pick(r, streetNames), pick(r, streetKinds))
	place := pick(r, places)
	p.suburb, p.region, p.postcode = place[0], place[1], place[2]
	p.registered = historical(r)
	if r.IntN(100) < 35 {
		p.allergyAgent, p.allergyReaction = pick(r, allergens), pick(r, reactions)
	}
	drug := pick(r, drugs)
	p.regularDrug, p.regularDose, p.problem = drug.name, drug.dose, pick(r, problems)
	return p
}

// subject picks whom item i is about. Item 0 is about patient 0, so that a canary is in every kind.
func (c *clinic) subject(r *rand.Rand, i int) patient {
	n := r.IntN(c.patients)
	if i == 0 {
		n = 0
	}
	return c.patient(n)
}

func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && r != '\'' && r != ' ' {
			return r
		}
		return -1
	}, s)
}
