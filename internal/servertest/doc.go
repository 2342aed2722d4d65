// Package servertest starts real servers on loopback for tests. A server whose program is not installed
// skips the test and says how to install it; with CAREKEEP_REAL=1 its absence is a failure.
//
// None of them speaks for its provider in everything: versitygw knows no replication between buckets,
// fake-gcs-server accepts and ignores retention, and Azurite has neither immutability nor another account than one
// that is geo-redundant on paper. A test says what it takes from which.
package servertest
