package e2e_test

import (
	"bytes"
	"debug/elf"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// moduleFiles are the files of kernel modules, in the order in which they can be loaded: each after
// those that it depends upon. Debian's packages do not have that list: it is made where they are
// installed. What the kernel has built in is left out.
func moduleFiles(t *testing.T, d debian, names ...string) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(d.modules, "*.ko"))
	must(t, err)
	byName := map[string]string{}
	for _, file := range all {
		byName[moduleName(file)] = file
	}
	var add func(name string)
	add = func(name string) {
		file, found := byName[moduleName(name)]
		if !found || slices.Contains(files, file) {
			return
		}
		for _, needed := range moduleDepends(t, file) {
			add(needed)
		}
		files = append(files, file)
	}
	for _, name := range names {
		add(name)
	}
	return files
}

// moduleName is how the kernel calls a module: files may have hyphens.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

func moduleDepends(t *testing.T, file string) []string {
	t.Helper()
	f, err := elf.Open(file)
	must(t, err)
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	must(t, err)
	for _, field := range bytes.Split(info, []byte{0}) {
		if list, found := strings.CutPrefix(string(field), "depends="); found && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// moduleList is what testdata/init and initrd-init read: a file a line.
func moduleList(files []string) []byte {
	var b bytes.Buffer
	for _, file := range files {
		b.WriteString(moduleName(file) + "\n")
	}
	return b.Bytes()
}
