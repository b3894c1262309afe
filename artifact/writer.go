package artifact

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Spec describes an artifact to be written.
type Spec struct {
	Name  string // artifact_name
	Group string // artifact_group; "" for none

	// Depends is what the device must have. device_type is required; it and artifact_name and
	// artifact_group go into the header, everything else into the payload's type-info.
	Depends        Depends
	Provides       Provides // the payload's artifact_provides; nil leaves the key out
	ClearsProvides []string // clears_artifact_provides; nil leaves the key out

	// SoftwareVersion, if not empty, adds what mender-artifact adds by default: a version to
	// Provides (and for a rootfs-image the checksum), and to ClearsProvides what goes with it.
	SoftwareVersion string

	Type     string          // payload type: "rootfs-image", …; "" for a bootstrap artifact, which has no files
	MetaData json.RawMessage // a JSON object, or nil
	Scripts  []Script
	Files    []FileSpec // payload files, in order

	Compression Compression   // "" is Gzip
	Key         crypto.Signer // signs the manifest: RSA, ECDSA (P-256 for Mender) or Ed25519 (not for Mender); nil: not signed
}

// FileSpec is a payload file to be written. Open is called twice and must give the same Size bytes
// each time: an artifact begins with the checksums of what stands at its end.
type FileSpec struct {
	Name string
	Size int64
	Open func() (io.ReadCloser, error)
}

// FileBytes is a payload file from memory.
func FileBytes(name string, content []byte) FileSpec {
	return FileSpec{Name: name, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// FilePath is a payload file from disk, named by the last element of its path.
func FilePath(path string) (FileSpec, error) {
	info, err := os.Stat(path)
	if err != nil {
		return FileSpec{}, err
	}
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	return FileSpec{Name: filepath.Base(path), Size: info.Size(), Open: open}, nil
}

// Write writes the artifact, packing the payload twice rather than keeping it anywhere. The same
// Spec gives the same bytes. What a Reader would refuse is not written.
func Write(w io.Writer, s Spec) error {
	if err := s.write(w); err != nil {
		return fmt.Errorf("writing artifact %s: %w", s.Name, err)
	}
	return nil
}

func (s Spec) write(w io.Writer) error {
	var size counter
	sums, err := s.packPayload(&size)
	if err != nil {
		return err
	}
	header, err := s.packHeader(sums)
	if err != nil {
		return err
	}
	version := []byte(`{"format":"mender","version":3}`)
	headerName := entryHeader + s.compression().suffix()
	manifest := s.manifest(sums, headerName, header, version)

	tw := tar.NewWriter(w)
	if err := writeEntry(tw, entryVersion, version); err != nil {
		return err
	}
	if err := writeEntry(tw, entryManifest, manifest); err != nil {
		return err
	}
	if s.Key != nil {
		signature, err := sign(manifest, s.Key)
		if err != nil {
			return err
		}
		if err := writeEntry(tw, entrySignature, signature); err != nil {
			return err
		}
	}
	if err := writeEntry(tw, headerName, header); err != nil {
		return err
	}
	if err := tw.WriteHeader(plainFile(entryPayload+s.compression().suffix(), int64(size))); err != nil {
		return err
	}
	again, err := s.packPayload(tw)
	if err != nil {
		return err
	}
	if !bytes.Equal(s.manifest(again, headerName, header, version), manifest) {
		return errors.New("a payload file changed while it was read")
	}
	return tw.Close()
}

func (s Spec) compression() Compression {
	if s.Compression == "" {
		return Gzip
	}
	return s.Compression
}

// packPayload writes the packed payload archive and returns the checksums of its files, by name.
func (s Spec) packPayload(w io.Writer) (map[string][sha256.Size]byte, error) {
	if s.Type == "" && len(s.Files) > 0 {
		return nil, errors.New("a payload without type has no files")
	}
	packed, err := pack(w, s.compression())
	if err != nil {
		return nil, err
	}
	sums := map[string][sha256.Size]byte{}
	tw := tar.NewWriter(packed)
	for _, f := range s.Files {
		if err := checkFileName(f.Name); err != nil {
			return nil, err
		}
		if _, twice := sums[f.Name]; twice {
			return nil, fmt.Errorf("two payload files %s", f.Name)
		}
		if sums[f.Name], err = writeFile(tw, f); err != nil {
			return nil, fmt.Errorf("payload file %s: %w", f.Name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return sums, packed.Close()
}

func writeFile(tw *tar.Writer, f FileSpec) (sum [sha256.Size]byte, err error) {
	r, err := f.Open()
	if err != nil {
		return sum, err
	}
	defer r.Close()
	if err := tw.WriteHeader(plainFile(f.Name, f.Size)); err != nil {
		return sum, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, tw), r)
	if err != nil {
		return sum, err
	}
	if n != f.Size {
		return sum, fmt.Errorf("has %d bytes, not %d", n, f.Size)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// manifest lists the payload files first and in their order, as mender-artifact does.
func (s Spec) manifest(sums map[string][sha256.Size]byte, headerName string, header, version []byte) []byte {
	var b bytes.Buffer
	for _, f := range s.Files {
		fmt.Fprintf(&b, "%x  %s\n", sums[f.Name], payloadDir+f.Name)
	}
	fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(header), headerName)
	fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(version), entryVersion)
	return b.Bytes()
}

func writeEntry(tw *tar.Writer, name string, content []byte) error {
	if err := tw.WriteHeader(plainFile(name, int64(len(content)))); err != nil {
		return err
	}
	_, err := tw.Write(content)
	return err
}

func plainFile(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: epoch}
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
