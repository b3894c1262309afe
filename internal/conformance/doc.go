// Package conformance holds flipside, the built program, against what Mender's client does: in the
// scenarios of that client's own tests, after a kill at every call, and with modules and artifacts
// that were not made for it. It has tests only.
//
// testdata/scenarios.csv and testdata/outcomes.csv say what Mender's client does, one scenario a
// row. TestScenarios runs each on a device made of a directory. Where flipside means to do
// something else, the row's entry in the rows_*_test.go says what, and why; an entry that does not
// differ any more is an error, and so is a scenario that nobody accounts for.
package conformance
