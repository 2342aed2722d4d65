// Package probe finds out where a bucket really is.
//
// A bucket's place can be declared by an operator, guessed from the host it is reached at, or asked from the
// provider. The last is what counts: buckets are made in a default region, replication is switched on later, a
// region's name means another country at another provider. So a router probes a site when it opens it, before
// each run, once a day, and after an answer that says that the bucket is elsewhere:
//
//	o, err := prober.Probe(ctx, bucket, probe.Ref{Bucket: "practice", URL: url})
//	if err != nil { … } // nothing was learned; ask again
//	if match, why := probe.Compare(declared, o); !match { … } // it is not where it was said to be: quarantine
//	target.Location = o.Settle(declared) // what the rules are to judge
//
// How well a place is known is a [residency.Level]: Declared where the provider does not tell, Inferred where the
// endpoint's host says it, Observed where the provider's interface says it. A provider that refuses to answer has
// told nothing. Only [Observation.Settle] can make Attested of it, from a declaration that has a contract or an
// attestation behind it. The address of a host or the time that it takes to answer proves nothing, and is not used.
//
// This package knows no provider's client. Packages s3probe, gcsprobe and azureprobe do, one each, so that a program
// carries the clients that it uses and no others. Package probetest has a prober for tests.
package probe
