package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"flipside/artifact"
)

// shelf has all that the stories of one board need: systems, artifacts, a device from the factory.
type shelf struct {
	b       *board
	images  []image
	factory *blob
	medium  string
	dir     string // what is on the medium
}

// recorder is a state script, and the update module's way to say that it was called. What is
// written to the data partition is seen by both systems.
const recorder = "#!/bin/sh\necho \"$(basename \"$0\") in $(cat /etc/release)\" >>/data/ran\n"

// appModule is an update module whose payload is one file, which needs a reboot.
const appModule = `#!/bin/sh
echo "module $1 in $(cat /etc/release)" >>/data/ran
case $1 in
NeedsArtifactReboot | SupportsRollback) echo Yes ;;
ArtifactInstall) cp /data/app /data/app.old && cp files/app /data/app && sync ;;
ArtifactRollback) [ ! -e /data/app.old ] || mv /data/app.old /data/app ;;
Cleanup) rm -f /data/app.old ;;
esac
`

// artifactScripts are the states in which an artifact's script runs.
var artifactScripts = []string{
	"ArtifactInstall_Enter", "ArtifactInstall_Leave", "ArtifactCommit_Enter", "ArtifactCommit_Leave",
	"ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure_Enter", "ArtifactFailure_Leave",
}

func newShelf(t *testing.T, b *board) *shelf {
	t.Helper()
	s := &shelf{b: b, dir: t.TempDir()}
	binary := built(t, b)
	files := map[string]string{
		"usr/share/mender/modules/v3/app":          appModule,
		"etc/mender/scripts/Download_Enter_00_say": recorder,
		"etc/mender/scripts/Download_Leave_00_say": recorder,
	}
	build := func(sys system) image {
		sys.files = files
		i := sys.build(t, b, binary)
		s.images = append(s.images, i)
		return i
	}
	one := build(system{release: release(1)})
	two := build(system{release: release(2)})
	two.differs(t, one)
	two.artifact(t, s.dir, nil)
	build(system{release: "no-kernel", noKernel: true}).artifact(t, s.dir, nil)
	build(system{release: "no-init", noInit: true}).artifact(t, s.dir, nil)
	s.sign(t, two)
	s.withScripts(t, two)
	pack(t, s.dir, "app-2", artifact.Spec{
		Name: "app-2", Type: "app", Files: []artifact.FileSpec{artifact.FileBytes("app", []byte("app 2\n"))},
		Depends: artifact.Depends{artifact.KeyDeviceType: {deviceType}},
	}, nil)
	s.medium = media(t, s.dir)
	s.factory = b.disk(t, one, map[string]string{"app": "app 1\n"})
	return s
}

// sign puts a signed artifact on the medium, its key, and another one.
func (s *shelf) sign(t *testing.T, i image) {
	t.Helper()
	for _, name := range []string{"right", "wrong"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		must(t, err)
		must(t, os.WriteFile(filepath.Join(s.dir, name+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644))
		if name == "right" {
			i.artifactAs(t, s.dir, "signed", func(spec *artifact.Spec) { spec.Key = key })
		}
	}
}

func (s *shelf) withScripts(t *testing.T, i image) {
	t.Helper()
	i.artifactAs(t, s.dir, "scripts", func(spec *artifact.Spec) {
		for _, name := range artifactScripts {
			spec.Scripts = append(spec.Scripts, artifact.Script{Name: name + "_00", Content: []byte(recorder)})
		}
	})
}

// device takes a new device from the shelf.
func (s *shelf) device(t *testing.T) *unit {
	t.Helper()
	return &unit{t: t, b: s.b, shelf: s, images: s.images, disk: newDisk(s.factory.clone()), medium: s.medium, console: newConsole()}
}
