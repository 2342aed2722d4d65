package residency_test

import (
	"testing"

	"github.com/carekeep/carekeep/residency"
)

func BenchmarkDecide(b *testing.B) {
	r := rules(b)
	q := ask("IE", "aws us-east-1", "dpf-listing")
	for b.Loop() {
		if d, err := r.Decide(q); err != nil || d.Verdict != A {
			b.Fatal(d.Verdict, err)
		}
	}
}

func BenchmarkRules(b *testing.B) {
	for b.Loop() {
		if _, err := residency.Rules(); err != nil {
			b.Fatal(err)
		}
	}
}
