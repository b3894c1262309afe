package artifact_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"flipside/artifact"
)

// TestWriteSigned: what Write signs, Verify accepts, and each time with the same bytes.
func TestWriteSigned(t *testing.T) {
	for _, name := range []string{"demo", "rsa", "ed25519"} {
		s := smallSpec(artifact.Gzip)
		s.Key = privateKey(t, name)
		b := written(t, s)
		if !bytes.Equal(b, written(t, s)) {
			t.Errorf("%s: two artifacts from one Spec differ", name)
		}
		h, err := artifact.Verify(bytes.NewReader(b), []artifact.PublicKey{publicKey(t, "other"), publicKey(t, name)})
		if err != nil || !h.Signed {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := artifact.Verify(bytes.NewReader(b), []artifact.PublicKey{publicKey(t, "other")}); err == nil {
			t.Errorf("%s: verified by another key", name)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	xPublic, err := x509.MarshalPKIXPublicKey(x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	public := string(testdata(t, "keys/demo.pub"))
	for name, c := range map[string]struct{ text, want string }{
		"nothing":       {"", "not a PEM file"},
		"text":          {"ssh-ed25519 AAAA", "not a PEM file"},
		"private key":   {string(testdata(t, "keys/demo.key")), `not a public key but a "EC PRIVATE KEY"`},
		"certificate":   {strings.ReplaceAll(public, "PUBLIC KEY", "CERTIFICATE"), `not a public key but a "CERTIFICATE"`},
		"broken":        {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "parsing a public key"},
		"no signatures": {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: xPublic})), "is not supported"},
	} {
		if _, err := artifact.ParsePublicKey([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":    {"", "not a PEM file"},
		"public key": {public, `not a private key but a "PUBLIC KEY"`},
		"broken":     {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), "parsing a private key"},
	} {
		if _, err := artifact.ParsePrivateKey([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("private: %s: %v; want %q", name, err, c.want)
		}
	}
}
