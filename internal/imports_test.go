// Package internal_test checks the house rules that the compiler does not.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is who may import whom, below the module's path. A new edge is a decision, and a line
// here.
var mayImport = map[string][]string{
	"": {"internal/command", "internal/demo"},
	"internal/command": {"commit", "install", "rollback", "internal/choose", "internal/cmdline", "internal/demo", "internal/deployment",
		"internal/device", "internal/disk", "internal/doctor", "internal/eventlog", "internal/proc", "internal/progress", "internal/report", "internal/sandbox", "internal/source"},
	"install":  {"artifact", "commit", "rollback", "internal/deployment", "internal/device", "internal/payload", "internal/progress", "internal/script"},
	"commit":   {"rollback", "internal/deployment", "internal/device", "internal/script"},
	"rollback": {"internal/deployment", "internal/device", "internal/script"},

	"artifact":                     {"internal/pages"},
	"bootenv":                      {"internal/atomicfile", "internal/disk", "internal/proc", "bootenv/internal/ubootenv", "bootenv/internal/grubenv"},
	"bootenv/bootsim":              {"bootenv", "bootenv/internal/ubootenv", "bootenv/internal/grubenv", "internal/disk"},
	"bootenv/internal/ubootenv":    {},
	"bootenv/internal/grubenv":     {},
	"internal/acceptance":          {},
	"internal/atomicfile":          {"internal/disk"},
	"internal/bench":               {"artifact", "internal/pages"},
	"internal/choose":              {"artifact", "internal/source"},
	"internal/cmdline":             {},
	"internal/demo":                {"internal/sandbox"},
	"internal/eventlog":            {"internal/disk", "internal/progress"},
	"internal/menderclient":        {},
	"internal/deployment":          {"artifact", "internal/atomicfile", "internal/disk"},
	"internal/device":              {"artifact", "bootenv", "internal/atomicfile", "internal/deployment", "internal/disk", "internal/eventlog", "internal/menderclient", "internal/menderstore", "internal/module", "internal/payload", "internal/progress", "internal/script", "internal/slot"},
	"internal/disk/faultdisk":      {"internal/disk"},
	"bootenv/internal/boottest":    {"internal/disk"},
	"internal/doctor":              {"artifact", "bootenv", "internal/deployment", "internal/device", "internal/disk", "internal/menderclient", "internal/menderstore", "internal/progress", "internal/script", "internal/slot"},
	"internal/disk":                {},
	"internal/hosttest":            {},
	"internal/menderstore":         {},
	"internal/module":              {"artifact", "internal/atomicfile", "internal/disk", "internal/payload", "internal/proc", "internal/progress"},
	"internal/nfs":                 {},
	"internal/nfs/nfstest":         {},
	"internal/pages":               {},
	"internal/payload":             {"artifact"},
	"internal/payload/payloadtest": {"artifact", "internal/payload"},
	"internal/proc":                {},
	"internal/progress":            {},
	"internal/report":              {"artifact", "bootenv", "commit", "rollback", "internal/choose", "internal/deployment", "internal/device", "internal/module", "internal/payload", "internal/progress", "internal/slot", "internal/source"},
	"internal/sandbox":             {"bootenv", "bootenv/bootsim", "internal/device", "internal/disk"},
	"internal/script":              {"artifact", "internal/atomicfile", "internal/disk", "internal/proc", "internal/progress"},
	"internal/slot":                {"artifact", "bootenv", "internal/disk", "internal/pages", "internal/payload", "internal/progress"},
	"internal/source":              {"internal/disk", "internal/nfs", "internal/usb"},
	"internal/storytest":           {"artifact", "bootenv/bootsim", "internal/disk", "internal/hosttest"},
	"internal/webtest":             {},
	"internal/usb":                 {"internal/disk"},
}

// onlyHere are third-party packages that stay behind one door.
var onlyHere = map[string][]string{
	"github.com/urfave/cli/":          {"internal/command"},
	"github.com/schollz/progressbar/": {"internal/progress"},
	"github.com/klauspost/compress/":  {"artifact"},
	"github.com/ulikunitz/xz":         {"artifact"},

	"github.com/santhosh-tekuri/jsonschema/": {"internal/storytest"},
}

func TestImports(t *testing.T) {
	const module = "flipside"
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed, known := mayImport[from]
		if !known && len(p.Imports) > 0 {
			t.Errorf("package %s is not in the list of packages", from)
			continue
		}
		seen++
		for _, to := range p.Imports {
			if own, ok := strings.CutPrefix(to, module+"/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s may not import %s", p.ImportPath, own)
			}
			for door, who := range onlyHere {
				if strings.HasPrefix(to, door) && !slices.Contains(who, from) {
					t.Errorf("%s may not import %s: only %q may", p.ImportPath, to, who)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("go list told of %d packages only", seen)
	}
}
