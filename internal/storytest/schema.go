package storytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	schemaFile = "docs/schema/events-1.json"
	schemaName = "events-1.json" // what the compiler calls it
)

// schemas are the published ones for a line, "", and for documents, by the command that prints
// them. Here they are stricter: what they do not describe must not be printed.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	doc, err := readSchema()
	if err != nil {
		return nil, err
	}
	closeObjects(doc)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaName, doc); err != nil {
		return nil, err
	}
	all := map[string]*jsonschema.Schema{}
	for command, part := range map[string]string{"": "", "status": "#/$defs/status", "doctor": "#/$defs/diagnosis", "inspect": "#/$defs/contents"} {
		if all[command], err = c.Compile(schemaName + part); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// readSchema finds the schema in the module that the test is part of.
func readSchema() (map[string]any, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		data, rerr := os.ReadFile(filepath.Join(dir, schemaFile))
		if errors.Is(rerr, os.ErrNotExist) {
			continue
		}
		var doc map[string]any
		if err := errors.Join(rerr, json.Unmarshal(data, &doc)); err != nil {
			return nil, fmt.Errorf("%s: %w", schemaFile, err)
		}
		delete(doc, "$id") // it is nowhere on the net
		return doc, nil
	}
	return nil, errors.Join(err, fmt.Errorf("no %s", schemaFile))
}

// closeObjects forbids properties that are not described.
func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeObjects(e)
		}
	case map[string]any:
		_, described := v["properties"]
		_, said := v["additionalProperties"]
		if described && !said && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, e := range v {
			closeObjects(e)
		}
	}
}

// ValidRuns checks lines of runs as they were kept: each by its schema; a run begins with the line
// that says what it is, and nothing comes after a result but the next run.
func ValidRuns(text string) error {
	over := true
	for line := range strings.Lines(text) {
		if err := valid("", line); err != nil {
			return err
		}
		if head := strings.Contains(line, `"event":"run"`); over && !head {
			return fmt.Errorf("no run has begun: %s", line)
		}
		over = strings.Contains(line, `"event":"result"`)
	}
	return nil
}

// valid checks one JSON value against the schema of a line ("") or of a command's document.
func valid(command, text string) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = all[command].Validate(v)
	}
	if err != nil {
		return fmt.Errorf("%w, in: %s", err, text)
	}
	return nil
}

// ValidLines checks a stream: each line by its schema, and that the last one, and no other, is the
// result.
func ValidLines(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if err := valid("", line); err != nil {
			return err
		}
		if isResult := strings.Contains(line, `"event":"result"`); isResult != (i == len(lines)-1) {
			return fmt.Errorf("line %d of %d: a result is the last line, and the last line is a result: %s", i+1, len(lines), line)
		}
	}
	return nil
}

// validAnswer checks what flipside printed for programs.
func (r Ran) validAnswer() error {
	if r.has("--help") {
		return nil
	}
	if r.has("--json") {
		if err := r.validStdout(); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
	if r.machineStderr() {
		if err := ValidLines(r.Stderr); err != nil {
			return fmt.Errorf("standard error: %w", err)
		}
	}
	return nil
}

func (r Ran) validStdout() error {
	if strings.HasPrefix(r.Stdout, "{\n") {
		for _, command := range []string{"status", "doctor", "inspect"} {
			if r.has(command) {
				return valid(command, r.Stdout)
			}
		}
	}
	if r.has("log") && r.Code == 0 {
		return ValidRuns(r.Stdout)
	}
	if r.has("--follow") && strings.Contains(r.Stdout, `"event":"run"`) {
		return ValidRuns(r.Stdout) // with the other's result
	}
	if err := ValidLines(r.Stdout); err != nil {
		return err
	}
	var result struct{ Code int }
	last := r.Stdout[1+strings.LastIndexByte(strings.TrimSuffix(r.Stdout, "\n"), '\n'):]
	if err := json.Unmarshal([]byte(last), &result); err != nil || result.Code != r.Code {
		return fmt.Errorf("code is %d; want the exit code %d (%v)", result.Code, r.Code, err)
	}
	return nil
}

func (r Ran) has(arg string) bool { return slices.Contains(r.Args, arg) }

// machineStderr says whether standard error is for programs.
func (r Ran) machineStderr() bool {
	at := slices.Index(r.Args, "--progress")
	return at >= 0 && at+1 < len(r.Args) && r.Args[at+1] == "json"
}

// cmdLines checks a file of JSON lines, and makes it the standard output.
func cmdLines(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "lines FILE")
	text := ts.ReadFile(args[0])
	ts.Check(ValidLines(text))
	_, _ = ts.Stdout().Write([]byte(text))
}

// cmdResult checks fields of the result, the last line of standard output: KEY=JSON, KEY for one
// that is there, !KEY for one that is not.
func cmdResult(ts *testscript.TestScript, args []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	var result map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &result))
	for _, arg := range args {
		key, want, valued := strings.Cut(arg, "=")
		key, absent := strings.CutPrefix(key, "!")
		want = strings.ReplaceAll(want, "`", " ") // the story's own quotes are for words
		got, there := result[key]
		if there == absent || valued && !bytes.Equal(got, []byte(want)) {
			ts.Fatalf("%s is %s; want %s in %s", key, got, arg, lines[len(lines)-1])
		}
	}
}
