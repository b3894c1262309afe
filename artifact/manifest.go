package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// manifest is the list of everything that is in an artifact, with checksums. What is signed is
// this list, so nothing counts that is not claimed from it.
type manifest struct {
	open    map[string][sha256.Size]byte // listed and not yet seen
	claimed map[string]bool
}

// parseManifest reads lines as sha256sum prints them: 64 lower-case hexadecimal digits, two
// blanks, a name. The last newline may be missing.
func parseManifest(text []byte) (*manifest, error) {
	m := &manifest{open: map[string][sha256.Size]byte{}, claimed: map[string]bool{}}
	number := 0
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		number++
		digits, name, ok := strings.Cut(string(line), "  ")
		sum, err := hex.DecodeString(digits)
		if !ok || err != nil || len(sum) != sha256.Size || strings.ToLower(digits) != digits {
			return nil, refuse(ErrMalformed, "manifest line %d: want a SHA-256 in lower-case hexadecimal digits, two blanks, a name", number)
		}
		if err := checkManifestName(name); err != nil {
			return nil, refuse(ErrMalformed, "manifest line %d: %w", number, err)
		}
		name = manifestKey(name)
		if _, twice := m.open[name]; twice {
			return nil, refuse(ErrMalformed, "manifest line %d: %s is listed twice", number, name)
		}
		m.open[name] = [sha256.Size]byte(sum)
	}
	return m, nil
}

// manifestKey strips the header's compression suffix: there is one header, however it is packed.
// Payload files keep theirs, they are not unpacked.
func manifestKey(name string) string {
	if kind, ok := packedAs(name, entryHeader); ok {
		return kind
	}
	return name
}

func checkManifestName(name string) error {
	if file, ok := strings.CutPrefix(name, payloadDir); ok {
		return checkFileName(file)
	}
	return checkFileName(name)
}

// claim returns the checksum listed for name, once.
func (m *manifest) claim(name string) ([sha256.Size]byte, error) {
	key := manifestKey(name)
	if m.claimed[key] {
		return [sha256.Size]byte{}, refuse(ErrMalformed, "%s is there twice", name)
	}
	sum, ok := m.open[key]
	if !ok {
		return sum, refuse(ErrMalformed, "%s is not listed in the manifest", name)
	}
	delete(m.open, key)
	m.claimed[key] = true
	return sum, nil
}

// check claims name for content.
func (m *manifest) check(name string, content []byte) error {
	want, err := m.claim(name)
	if err != nil {
		return err
	}
	return checkSum(name, want, sha256.Sum256(content))
}

// hasFiles says whether payload files are listed.
func (m *manifest) hasFiles() bool {
	for name := range m.open {
		if strings.HasPrefix(name, payloadDir) {
			return true
		}
	}
	return false
}

// complete returns nil if everything listed was claimed.
func (m *manifest) complete() error {
	if len(m.open) == 0 {
		return nil
	}
	return refuse(ErrMalformed, "listed in the manifest, but missing: %s",
		strings.Join(slices.Sorted(maps.Keys(m.open)), ", "))
}

func checkSum(name string, want, got [sha256.Size]byte) error {
	if got != want {
		return refuse(ErrChecksum, "checksum of %s is %x; the manifest says %x", name, got, want)
	}
	return nil
}
