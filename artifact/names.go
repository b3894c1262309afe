package artifact

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The entries of an artifact, by the names that the format gives them.
const (
	entryVersion   = "version"
	entryManifest  = "manifest"
	entrySignature = "manifest.sig"
	entryHeader    = "header.tar"
	entryPayload   = "data/0000.tar"
	entryEnd       = "the end"

	payloadDir = "data/0000/" // before the name of a payload file in the manifest
)

// follows is the legal order of entries.
var follows = map[string][]string{
	"":             {entryVersion},
	entryVersion:   {entryManifest},
	entryManifest:  {entrySignature, entryHeader},
	entrySignature: {entryHeader},
	entryHeader:    {entryPayload},
	entryPayload:   {entryEnd},
}

// entryKind says which entry name stands for.
func entryKind(name string) (string, error) {
	switch name {
	case entryVersion, entryManifest, entrySignature:
		return name, nil
	case "manifest-augment":
		return "", refuse(ErrUnsupported, "augmented artifacts are not supported: it has a %s", name)
	}
	if _, ok := packedAs(name, "header-augment.tar"); ok {
		return "", refuse(ErrUnsupported, "augmented artifacts are not supported: it has a %s", name)
	}
	for _, kind := range []string{entryHeader, entryPayload} {
		if _, ok := packedAs(name, kind); ok {
			return kind, nil
		}
	}
	return "", refuse(ErrMalformed, "%q does not belong into an artifact", name)
}

// packedAs says whether name is base, perhaps with a suffix that tells its compression. The suffix
// is not believed: what a packed archive begins with cannot be mistaken for anything else.
func packedAs(name, base string) (string, bool) {
	suffix, ok := strings.CutPrefix(name, base)
	switch suffix {
	case "", ".gz", ".xz", ".zst":
		return base, ok
	}
	return "", false
}

// checkFileName accepts what can be created as a file in a directory without surprises there or
// on a terminal: one path element.
func checkFileName(name string) error {
	if name == "." || name == ".." || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not a plain file name", name)
	}
	return checkWord(name)
}

// checkWord accepts what can be printed on a line: not empty, no control characters.
func checkWord(s string) error {
	switch {
	case s == "":
		return errors.New("an empty name")
	case len(s) > maxName:
		return fmt.Errorf("a name of %d bytes; at most %d are accepted", len(s), maxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is not UTF-8", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%q has control characters", s)
	}
	return nil
}
