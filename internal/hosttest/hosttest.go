// Package hosttest is what tests want of the machine that they run on: programs of Debian packages,
// root, loop devices. It is only for tests.
//
// A missing program fails a test, with the name of its package. What a person may be unable to give
// (root, a kernel that can do it) skips the test, but where CI is set that is a failure too: there
// all tests run, or somebody hears of it.
package hosttest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Test is a testing.TB, or a story of testscript.
type Test interface {
	Skip(args ...any)
	Fatal(args ...any)
}

// Lacks ends a test that this machine cannot run.
func Lacks(t Test, why string) {
	helper(t)
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	} else {
		t.Skip(why)
	}
}

// NeedRoot ends a test unless root runs it. what is what root is needed for: "mounts".
func NeedRoot(t Test, what string) {
	helper(t)
	if os.Geteuid() != 0 {
		Lacks(t, "run this test as root: it needs "+what)
	}
}

// helper makes a failure name the line of the test, where there is one.
func helper(t Test) {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
}

// Tool is the path of a program that a test needs, of the Debian package pkg.
func Tool(t testing.TB, pkg, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: install the Debian package %s", name, pkg)
	}
	return path
}

// Run runs a program of the Debian package pkg, which must succeed, and returns what it prints
// without the blanks around it.
func Run(t testing.TB, pkg, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(Tool(t, pkg, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
