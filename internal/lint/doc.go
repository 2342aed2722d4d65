// Package lint holds tests about the tree itself: who imports whom, and that the README tells the truth.
package lint
