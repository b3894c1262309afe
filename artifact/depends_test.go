package artifact_test

import (
	"errors"
	"maps"
	"testing"

	"flipside/artifact"
)

func TestClearsProvides(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		cleared      bool
	}{
		{"abc_123_def_456_ghi", "abc_123_def_456_ghi", true},
		{"abc_123_def_456_g", "abc_123_def_456_ghi", false},
		{"abc*def*ghi", "abc_123_def_456_ghi", true},
		{"abc*123*def*ghi", "abc_123_def_456_ghi", true},
		{"*def*456*", "abc_123_def_456_ghi", true},
		{"abc*789*ghi", "abc_123_def_456_ghi", false},
		{"hello*world", "hello_world", true},
		{"hello*worlds", "hello_world", false},
		{"a*_*b*", "a_b_c", true},
		{"a*c*b", "a_b_c", false},
		{"*a*bc*", "abc", true},
		{"a*c*a*c*", "abcabcabc", true},
		{"test_*", "test_key_1", true},
		{"test_", "test_key_1", false},
		{"test_*", "best_test_key_1", false},
		{"", "test_key_1", false},
		{"", "", true},
		{"*", "abc", true},
		{"abc", "", false},
		{"abc*", "", false},
		{"*", "", true},
		{"xyz", "abc", false},
		{"abc*", "abc", true},
		{"*abc", "abc", true},
		{"a*xyz", "abc", false},
		{"test_*test_*", "test_string", false},
		{"test_*string*", "test_string", true},
		{"***", "test_test_key", true},
		// Where Mender's matcher goes wrong.
		{"foo", "foofoo", false},
		{"foo", "foo.x.foo", false},
		{"*longsuffix", "x", false},
		{"a*a", "a", false},
		{"ab*ba", "aba", false},
		{"a*b*b", "ab", false},
		// Nothing but * is special.
		{"foo.bar", "foo_bar", false},
		{`foo\*`, "foo*", false},
		{"foo?", "foox", false},
		{"Foo", "foo", false},
	} {
		p := artifact.Provides{c.key: "value"}
		h := &artifact.Header{Name: "new", ClearsProvides: []string{c.pattern}}
		if _, kept := p.Updated(h)[c.key]; kept == c.cleared {
			t.Errorf("clears %q: key %q kept = %v; want %v", c.pattern, c.key, kept, !c.cleared)
		}
	}
}

func TestProvidesUpdated(t *testing.T) {
	old := artifact.Provides{"artifact_name": "old", "artifact_group": "g1", "rootfs.version": "1", "app.version": "7"}
	for name, c := range map[string]struct {
		h    artifact.Header
		want artifact.Provides
	}{
		"neither": {
			artifact.Header{},
			artifact.Provides{"artifact_name": "new"},
		},
		"clears only": {
			artifact.Header{ClearsProvides: []string{"rootfs.*"}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g1", "app.version": "7"},
		},
		"provides only": {
			artifact.Header{Provides: artifact.Provides{"x": "y"}},
			artifact.Provides{"artifact_name": "new", "x": "y"},
		},
		"both": {
			artifact.Header{Provides: artifact.Provides{"rootfs.version": "2"}, ClearsProvides: []string{"rootfs.*", "artifact_group"}},
			artifact.Provides{"artifact_name": "new", "rootfs.version": "2", "app.version": "7"},
		},
		"both, nothing cleared": {
			artifact.Header{Provides: artifact.Provides{"app.version": "8"}, ClearsProvides: []string{}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g1", "rootfs.version": "1", "app.version": "8"},
		},
		"both empty": {
			artifact.Header{Provides: artifact.Provides{}, ClearsProvides: []string{}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g1", "rootfs.version": "1", "app.version": "7"},
		},
		"everything cleared": {
			artifact.Header{ClearsProvides: []string{"*"}},
			artifact.Provides{"artifact_name": "new"},
		},
		"a group of its own": {
			artifact.Header{Group: "g2", ClearsProvides: []string{"artifact_group"}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g2", "rootfs.version": "1", "app.version": "7"},
		},
		"name and group among the provides": {
			artifact.Header{Provides: artifact.Provides{"artifact_name": "wrong", "artifact_group": "g3"}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g3"},
		},
		"group twice": {
			artifact.Header{Group: "g2", Provides: artifact.Provides{"artifact_group": "g3"}},
			artifact.Provides{"artifact_name": "new", "artifact_group": "g2"},
		},
		"an empty group": {
			artifact.Header{Provides: artifact.Provides{"artifact_group": ""}, ClearsProvides: []string{}},
			artifact.Provides{"artifact_name": "new", "rootfs.version": "1", "app.version": "7"},
		},
	} {
		before := maps.Clone(old)
		c.h.Name = "new"
		if got := old.Updated(&c.h); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", name, got, c.want)
		}
		if !maps.Equal(old, before) {
			t.Fatalf("%s: changed its receiver to %v", name, old)
		}
	}
	var none artifact.Provides
	if got := none.Updated(&artifact.Header{Name: "first"}); !maps.Equal(got, artifact.Provides{"artifact_name": "first"}) {
		t.Errorf("of a device without provides: %v", got)
	}
}

func TestDependsSatisfied(t *testing.T) {
	device := artifact.Provides{"artifact_name": "release-1", "artifact_group": "stable", "k": "v", "empty": ""}.With("device_type", "sandbox")
	for _, c := range []struct {
		d    artifact.Depends
		want *artifact.DependsError
	}{
		{artifact.Depends{"device_type": {"sandbox"}}, nil},
		{artifact.Depends{"device_type": {"other", "sandbox"}, "artifact_name": {"release-0", "release-1"}, "artifact_group": {"stable"}, "k": {"v"}}, nil},
		{artifact.Depends{"device_type": {"sandbox"}, "empty": {""}}, nil},
		{nil, nil},
		{artifact.Depends{"device_type": {"other"}}, &artifact.DependsError{Key: "device_type", Has: "sandbox"}},
		{artifact.Depends{"device_type": {"Sandbox"}}, &artifact.DependsError{Key: "device_type", Has: "sandbox"}},
		{artifact.Depends{"device_type": {"sand*"}}, &artifact.DependsError{Key: "device_type", Has: "sandbox"}},
		{artifact.Depends{"device_type": {"other"}, "a": {"b"}}, &artifact.DependsError{Key: "device_type", Has: "sandbox"}},
		{artifact.Depends{"device_type": {"sandbox"}, "artifact_name": {"release-2"}, "k": {"w"}}, &artifact.DependsError{Key: "artifact_name", Has: "release-1"}},
		{artifact.Depends{"device_type": {"sandbox"}, "artifact_group": {"beta"}}, &artifact.DependsError{Key: "artifact_group", Has: "stable"}},
		{artifact.Depends{"device_type": {"sandbox"}, "missing": {""}}, &artifact.DependsError{Key: "missing"}},
		{artifact.Depends{"device_type": {"sandbox"}, "k": {}}, &artifact.DependsError{Key: "k", Has: "v"}},
	} {
		err := c.d.Satisfied(device)
		var got *artifact.DependsError
		errors.As(err, &got)
		switch {
		case c.want == nil && err != nil, c.want != nil && got == nil:
			t.Errorf("%v: %v; want %+v", c.d, err, c.want)
		case c.want != nil && (got.Key != c.want.Key || got.Has != c.want.Has || len(got.Wanted) != len(c.d[got.Key])):
			t.Errorf("%v: %+v; want %+v", c.d, got, c.want)
		case errors.Is(err, artifact.ErrRefused):
			t.Errorf("%v: %v is a refusal of the artifact", c.d, err)
		}
	}
}

func TestDependsErrorSaysAll(t *testing.T) {
	d := artifact.Depends{"device_type": {"beaglebone", "raspberrypi4"}}
	want := `artifact depends on device_type "beaglebone" or "raspberrypi4", the device has "sandbox"`
	if got := d.Satisfied(artifact.Provides{"device_type": "sandbox"}).Error(); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
	want = `artifact depends on device_type "beaglebone" or "raspberrypi4", the device has none`
	if got := d.Satisfied(nil).Error(); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}
