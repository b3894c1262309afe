// Command flipside updates embedded Linux devices from Mender Artifacts, without a server or a
// daemon. See README.md.
package main

import (
	_ "embed"
	"os"

	"flipside/internal/command"
	"flipside/internal/demo"
)

// Set when a release is built: -ldflags "-X main.version=1.2.3 -X main.built=1767225600".
var (
	version = "development"
	built   string // seconds since 1970
)

// The demo installs real artifacts, made and signed by Mender's own tool.
var (
	//go:embed testdata/artifacts/release-2.mender
	release2 []byte
	//go:embed testdata/artifacts/release-3.mender
	release3 []byte
	//go:embed testdata/artifacts/keys/demo.pub
	demoKey []byte
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the whole program: arguments in, exit code out.
func run(args []string) int {
	return command.Program{
		Version: version,
		Built:   built,
		Demo:    demo.Artifacts{Release2: release2, Release3: release3, Key: demoKey},
	}.Run(args)
}
