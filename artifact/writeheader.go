package artifact

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// packHeader returns the packed header archive. It is read back: a mistake in the Spec is found by
// the rules for reading.
func (s Spec) packHeader(sums map[string][sha256.Size]byte) ([]byte, error) {
	var plain bytes.Buffer
	tw := tar.NewWriter(&plain)
	if err := s.writeHeader(tw, sums); err != nil {
		return nil, err
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	if _, err := readHeader(bytes.NewReader(plain.Bytes())); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	packed, err := pack(&b, s.compression())
	if err != nil {
		return nil, err
	}
	if _, err := packed.Write(plain.Bytes()); err != nil {
		return nil, err
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (s Spec) writeHeader(tw *tar.Writer, sums map[string][sha256.Size]byte) error {
	if err := writeJSON(tw, fileInfo, s.headerInfo()); err != nil {
		return err
	}
	for _, script := range s.Scripts {
		if err := writeEntry(tw, dirScripts+script.Name, script.Content); err != nil {
			return err
		}
	}
	if err := writeJSON(tw, fileTypeInfo, s.typeInfo(sums)); err != nil {
		return err
	}
	if s.MetaData == nil {
		return nil
	}
	return writeEntry(tw, fileMetaData, s.MetaData)
}

func writeJSON(tw *tar.Writer, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeEntry(tw, name, text)
}

// headerInfo is header-info, with its fields in mender-artifact's order.
type headerInfo struct {
	Payloads []payloadInfo `json:"payloads"`
	Provides Provides      `json:"artifact_provides"`
	Depends  Depends       `json:"artifact_depends"`
}

type payloadInfo struct {
	Type *string `json:"type"` // null: no payload
}

// typeInfo is type-info. An empty object or list is something else than none.
type typeInfo struct {
	Type     *string        `json:"type"`
	Depends  map[string]any `json:"artifact_depends,omitempty"`
	Provides Provides       `json:"artifact_provides,omitzero"`
	Clears   []string       `json:"clears_artifact_provides,omitzero"`
}

func (s Spec) headerInfo() headerInfo {
	info := headerInfo{
		Payloads: []payloadInfo{{s.payloadType()}},
		Provides: Provides{KeyName: s.Name},
		Depends:  Depends{},
	}
	if s.Group != "" {
		info.Provides[KeyGroup] = s.Group
	}
	for key, values := range s.Depends {
		if isHeaderKey(key) {
			info.Depends[key] = values
		}
	}
	return info
}

func (s Spec) typeInfo(sums map[string][sha256.Size]byte) typeInfo {
	info := typeInfo{Type: s.payloadType(), Depends: map[string]any{}}
	info.Provides, info.Clears = s.software(sums)
	for key, values := range s.Depends {
		switch {
		case isHeaderKey(key):
		case len(values) == 1:
			info.Depends[key] = values[0] // all that Mender's client understands
		default:
			info.Depends[key] = values
		}
	}
	return info
}

func isHeaderKey(key string) bool {
	return key == KeyDeviceType || key == KeyName || key == KeyGroup
}

// payloadType is null in JSON if there is no type.
func (s Spec) payloadType() *string {
	if s.Type == "" {
		return nil
	}
	return &s.Type
}

// software adds what SoftwareVersion stands for.
func (s Spec) software(sums map[string][sha256.Size]byte) (Provides, []string) {
	if s.SoftwareVersion == "" || s.Type == "" {
		return s.Provides, s.ClearsProvides
	}
	prefix := "rootfs-image." + s.Type
	clears := []string{prefix + ".*"}
	if s.Type == "rootfs-image" {
		prefix = s.Type
		clears = []string{KeyGroup, "rootfs_image_checksum", prefix + ".*"}
	}
	provides := s.Provides.With(prefix+".version", s.SoftwareVersion)
	if s.Type == "rootfs-image" && len(s.Files) == 1 {
		provides[prefix+".checksum"] = fmt.Sprintf("%x", sums[s.Files[0].Name])
	}
	return provides, append(clears, s.ClearsProvides...)
}
