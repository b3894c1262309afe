package doctor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"flipside/internal/disk"
	"flipside/internal/script"
)

// modules: the programs that install what flipside does not install itself.
func (e *examination) modules(context.Context) {
	entries, err := os.ReadDir(e.Modules)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.problem(Modules, "see to it that it can be read", "%s: %v", e.Modules, disk.Cause(err))
		return
	}
	var good []string
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(e.Modules, name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			e.problem(Modules, "remove it, or put what it leads to there", "%s: %v", path, disk.Cause(err))
		case !info.Mode().IsRegular():
		case info.Mode().Perm()&0o111 == 0:
			e.warn(Modules, "chmod +x "+path+"; or remove it, if it is no update module", "%s is not executable: payloads of type %s are refused", path, name)
		default:
			if what, fix := cannotStart(path); what != "" {
				e.problem(Modules, fix, "%s cannot be started: %s", path, what)
				continue
			}
			good = append(good, name)
			e.tools(name, path)
		}
	}
	if len(good) > 0 {
		e.ok(Modules, "payloads of these types can be installed: %s", strings.Join(good, ", "))
	}
	if e.Config.RootfsHandler == "module" {
		e.rootfsModule()
	}
}

func (e *examination) rootfsModule() {
	const name = "rootfs-image"
	path := filepath.Join(e.Modules, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		e.problem(Modules, "put that module there, or remove RootfsHandler: flipside installs root filesystem images itself",
			"RootfsHandler gives root filesystem images to %s, which is not there", path)
	}
}

// scripts: the device's own state scripts. Those of artifacts were checked when they came in.
func (e *examination) scripts(context.Context) {
	dir := e.RootfsScripts
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		e.problem(Scripts, "see to it that it can be read", "%s: %v", dir, disk.Cause(err))
		return
	}
	var good []string
	for _, entry := range entries {
		name := entry.Name()
		if name == "version" || strings.HasPrefix(name, ".") || entry.IsDir() {
			continue
		}
		if e.script(filepath.Join(dir, name)) {
			good = append(good, name)
		}
	}
	if len(good) > 0 {
		e.scriptVersion(filepath.Join(dir, "version"))
		e.ok(Scripts, "these run with every update: %s", strings.Join(good, ", "))
	}
}

// script says whether the script will run.
func (e *examination) script(path string) bool {
	name, ok := script.ParseName(filepath.Base(path))
	if !ok {
		e.warn(Scripts, "name it like Download_Enter_05_wifi: state, Enter, Leave or Error, two digits, and a label if you like; or remove it",
			"%s is not named like a state script: it never runs", path)
		return false
	}
	switch name.State {
	case script.Download:
	case script.Idle, script.Sync:
		e.warn(Scripts, "let something else do what it does, and remove it", "%s never runs: flipside is no daemon, and has no state %s", path, name.State)
		return false
	default:
		e.warn(Scripts, "put it into the artifact: mender-artifact write --script", "%s never runs: scripts of the state %s come with the artifact", path, name.State)
		return false
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		e.problem(Scripts, "remove it, or put what it leads to there", "%s: %v", path, disk.Cause(err))
	case !info.Mode().IsRegular():
		e.problem(Scripts, "put a program there", "%s is not a regular file: it is skipped", path)
	case info.Mode().Perm()&0o111 == 0:
		e.problem(Scripts, "chmod +x "+path, "%s is not executable: it is skipped", path)
	default:
		what, fix := cannotStart(path)
		if what == "" {
			return true
		}
		e.problem(Scripts, fix, "%s cannot be started, and updates fail with it: %s", path, what)
	}
	return false
}

func (e *examination) scriptVersion(path string) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return // taken for 3
	}
	text, err := firstBytes(path, firstLine)
	if err != nil {
		e.problem(Scripts, "see to it that it can be read", "%s: %v", path, disk.Cause(err))
		return
	}
	if words := bytes.Fields(text); len(words) == 0 || string(words[0]) != "2" && string(words[0]) != "3" {
		e.problem(Scripts, "write 3 to it", "%s says %q, and not 2 or 3: updates fail", path, strings.TrimSpace(string(text)))
	}
}

// cannotStart says why the kernel would not start an executable file, and what helps.
func cannotStart(path string) (what, fix string) {
	begin, err := firstBytes(path, firstLine)
	switch {
	case err != nil:
		return disk.Cause(err).Error(), "see to it that it can be read"
	case bytes.HasPrefix(begin, []byte("\x7fELF")):
		return "", ""
	case !bytes.HasPrefix(begin, []byte("#!")):
		return "it is neither a binary program, nor does it begin with #!", "begin it with #!/bin/sh, or whatever runs it"
	}
	line, _, _ := strings.Cut(string(begin[2:]), "\n")
	if strings.HasSuffix(line, "\r") {
		return "its first line ends in a carriage return, which becomes part of the interpreter's name", "save it with the line ends of Unix: sed -i 's/\\r$//' " + path
	}
	return noInterpreter(strings.Fields(line))
}

// noInterpreter looks for the words behind #!.
func noInterpreter(words []string) (what, fix string) {
	if len(words) == 0 {
		return "no interpreter stands behind #!", "begin it with #!/bin/sh, or whatever runs it"
	}
	install := "install the interpreter, or name one that this device has"
	if info, err := os.Stat(words[0]); err != nil || info.Mode().Perm()&0o111 == 0 {
		return "its interpreter " + words[0] + " is not there, or no program", install
	}
	if filepath.Base(words[0]) != "env" {
		return "", ""
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue // env's own
		}
		if _, err := exec.LookPath(word); err != nil {
			return "its interpreter " + word + " is not in $PATH", install
		}
		break
	}
	return "", ""
}

// firstLine is what Linux looks at, to find out how to start a program.
const firstLine = 256

// firstBytes are at most so many. Only regular files are opened: others may wait.
func firstBytes(path string, most int64) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
