// Package router makes several places to one bucket.
package router
