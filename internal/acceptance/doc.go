// Package acceptance uses flipside as people and scripts do: the built program, on a sandbox device,
// from real servers and over bad networks, completed by real shells. What a story in testdata/script
// can say stands there; here is what takes a loop, a server or a clock. It has tests only.
package acceptance
