package router

import "gocloud.dev/blob/driver"

// Driver is the router as a driver, for gocloud's conformance tests.
func Driver(r *Router) driver.Bucket { return &bucket{r: r} }

// SmallChunks sets how many entries of a migration are in one record.
func SmallChunks(r *Router, n int) { r.chunk = n }
