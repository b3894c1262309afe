package storytest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds flipside in dir as it is shipped, and returns its path. stamps are what a release says
// of itself, as -X flags of the linker: "main.version=1".
func Build(ctx context.Context, dir string, stamps ...string) (string, error) {
	name := filepath.Join(dir, "flipside")
	flags := []string{"-s", "-w"}
	for _, stamp := range stamps {
		flags = append(flags, "-X", stamp)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-ldflags", strings.Join(flags, " "), "-o", name, "flipside")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
}
