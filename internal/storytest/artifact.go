package storytest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"flipside/artifact"
)

func cmdMakeArtifact(ts *testscript.TestScript, args []string) {
	need(ts, args, 1, "mkartifact FILE KEY=VALUE...")
	s := artifact.Spec{Type: "rootfs-image", Depends: artifact.Depends{}}
	size := 100_000
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "name":
			s.Name = value
		case "type":
			s.Type = value
		case "device":
			s.Depends[artifact.KeyDeviceType] = append(s.Depends[artifact.KeyDeviceType], value)
		case "depends":
			k, v, _ := strings.Cut(value, ":")
			s.Depends[k] = append(s.Depends[k], v)
		case "provides":
			k, v, _ := strings.Cut(value, ":")
			s.Provides = s.Provides.With(k, v)
		case "clears":
			s.ClearsProvides = append(s.ClearsProvides, value)
		case "group":
			s.Group = value
		case "script":
			s.Scripts = append(s.Scripts, artifact.Script{Name: filepath.Base(value), Content: []byte(ts.ReadFile(value))})
		case "key":
			s.Key = privateKey(ts, value)
		case "size":
			n, err := strconv.Atoi(value)
			ts.Check(err)
			size = n
		case "file":
			f, err := artifact.FilePath(ts.MkAbs(value))
			ts.Check(err)
			s.Files = append(s.Files, f)
		case "compression":
			s.Compression = artifact.Compression(value)
		default:
			ts.Fatalf("mkartifact: unknown key %s", key)
		}
	}
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(args[0]), ".mender")
	}
	if len(s.Depends[artifact.KeyDeviceType]) == 0 {
		s.Depends[artifact.KeyDeviceType] = []string{"sandbox"}
	}
	switch {
	case s.Type == "none":
		s.Type = ""
	case len(s.Files) == 0:
		s.Files = []artifact.FileSpec{artifact.FileBytes("image.ext4", Noise(s.Name, size))}
	}
	s.SoftwareVersion = s.Name
	var b bytes.Buffer
	ts.Check(artifact.Write(&b, s))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

// Noise is bytes that do not compress, the same for the same seed.
func Noise(seed string, size int) []byte {
	sum := sha256.Sum256([]byte(seed))
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(sum).Read(data) // never fails
	return data
}

func privateKey(ts *testscript.TestScript, name string) crypto.Signer {
	block, _ := pem.Decode([]byte(ts.ReadFile(name)))
	if block == nil {
		ts.Fatalf("%s is not PEM", name)
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ts.Check(err)
	return key.(crypto.Signer)
}
