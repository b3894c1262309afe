package artifact

import (
	"maps"
	"slices"
	"strings"
)

// The keys that the format itself gives a meaning.
const (
	KeyName       = "artifact_name"
	KeyGroup      = "artifact_group"
	KeyDeviceType = "device_type"
)

// Provides is what a device has or an artifact brings: key to value, among them artifact_name
// and artifact_group.
type Provides map[string]string

// Depends is what an artifact needs: key to acceptable values.
type Depends map[string][]string

// Satisfied returns nil if p has, for every key of d, one of the acceptable values, else a
// *DependsError: for device_type if that is among those missing, otherwise for the first key in
// alphabetical order. Values are compared exactly.
//
// p is what the device has now, including its device_type (see Provides.With).
func (d Depends) Satisfied(p Provides) error {
	keys := slices.SortedFunc(maps.Keys(d), func(a, b string) int {
		if (a == KeyDeviceType) != (b == KeyDeviceType) {
			if a == KeyDeviceType {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		has, ok := p[key]
		if !ok || !slices.Contains(d[key], has) {
			return &DependsError{Key: key, Wanted: slices.Clone(d[key]), Has: has}
		}
	}
	return nil
}

// With returns a copy of p in which key has the value.
func (p Provides) With(key, value string) Provides {
	q := Provides{}
	maps.Copy(q, p)
	q[key] = value
	return q
}

// Updated returns what a device that had p has once the artifact is installed. p is not changed.
//
//	artifact_provides   clears_artifact_provides   result
//	absent              absent                     nothing is kept
//	absent              present                    p without what is cleared
//	present             absent                     the artifact's provides only
//	present             present (also empty)       p without what is cleared, the artifact's provides on top
//
// The artifact's name always becomes artifact_name. Its group becomes artifact_group; without one
// artifact_group is like any other key. A key device_type in p is not treated in any special way:
// keep the device type apart.
func (p Provides) Updated(h *Header) Provides {
	q := Provides{}
	if h.ClearsProvides != nil {
		for key, value := range p {
			if !clears(h.ClearsProvides, key) {
				q[key] = value
			}
		}
	}
	maps.Copy(q, h.Provides)
	q[KeyName] = h.Name
	if h.Group != "" {
		q[KeyGroup] = h.Group
	}
	if q[KeyGroup] == "" {
		delete(q, KeyGroup) // an empty group is no group
	}
	return q
}

func clears(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, key) })
}

// matches says whether the whole key matches the pattern, in which * stands for any run of
// characters, also none, and everything else for itself.
func matches(pattern, key string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == key
	}
	key, ok := strings.CutPrefix(key, head)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	tail := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		// The leftmost place leaves the most for the parts that follow.
		_, after, found := strings.Cut(key, part)
		if !found {
			return false
		}
		key = after
	}
	return strings.HasSuffix(key, tail)
}
