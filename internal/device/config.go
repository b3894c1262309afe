package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"flipside/internal/disk"
)

// Config is what flipside takes from mender.conf. Key names are compared without regard to case;
// keys of Mender's server and daemon are ignored.
type Config struct {
	ArtifactVerifyKey  string
	ArtifactVerifyKeys []string
	DeviceTypeFile     string
	RootfsPartA        string
	RootfsPartB        string

	ServerCertificate string
	SkipVerify        bool
	HttpsClient       struct{ Certificate, Key string }

	ModuleTimeoutSeconds            int
	StateScriptTimeoutSeconds       int
	StateScriptRetryIntervalSeconds int
	StateScriptRetryTimeoutSeconds  int

	// Keys that are flipside's own.
	RootfsHandler string   // "" or "native": built in; "module": the update module rootfs-image
	FwEnvConfig   string   // instead of /etc/fw_env.config
	GrubEnvDir    string   // instead of the places that grub-mender-grubenv uses
	BootEnvPrint  []string // program and arguments, for bootloaders that only programs can reach
	BootEnvSet    []string
}

// ErrConfig means that a configuration file cannot be read or makes no sense.
var ErrConfig = errors.New("configuration")

// The defaults of Mender's client. A timeout of zero or less means the default: "at once" is
// what nobody means.
const (
	defaultModuleTimeout       = 4 * time.Hour
	defaultScriptTimeout       = time.Hour
	defaultScriptRetryInterval = time.Minute
	defaultScriptRetryTimeout  = 30 * time.Minute
)

func seconds(n int, otherwise time.Duration) time.Duration {
	if n <= 0 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// configFile is a configuration file to read; a missing one matters only if somebody named it.
type configFile struct {
	path     string
	explicit bool
}

// loadConfig reads files in order, each key replacing the same key of an earlier file. Whatever
// cannot be read or understood is an error: a typing error must not switch signatures off.
func loadConfig(files ...configFile) (*Config, error) {
	c := &Config{}
	for _, f := range files {
		data, err := os.ReadFile(f.path)
		if errors.Is(err, fs.ErrNotExist) && !f.explicit {
			continue
		}
		if err == nil {
			err = c.merge(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrConfig, f.path, disk.Cause(err))
		}
	}
	return c, c.check()
}

// merge lays one file over c. The two ways to name keys are one setting: a file that uses one
// replaces an earlier file's other.
func (c *Config) merge(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var keys struct {
		ArtifactVerifyKey  *string
		ArtifactVerifyKeys *[]string
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		return explainJSON(data, err)
	}
	switch {
	case keys.ArtifactVerifyKey != nil && keys.ArtifactVerifyKeys != nil:
		return errors.New("ArtifactVerifyKey and ArtifactVerifyKeys are both set; use one")
	case keys.ArtifactVerifyKey != nil && *keys.ArtifactVerifyKey == "":
		return errors.New("ArtifactVerifyKey is empty; name a key file or remove it")
	case keys.ArtifactVerifyKey != nil || keys.ArtifactVerifyKeys != nil:
		c.ArtifactVerifyKey, c.ArtifactVerifyKeys = "", nil
	}
	return explainJSON(data, json.Unmarshal(data, c))
}

// explainJSON says where a person has to look, without the words of the programming language.
func explainJSON(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		before := data[:min(int(syntax.Offset), len(data))]
		return fmt.Errorf("it is not JSON: line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
	case errors.As(err, &kind) && kind.Field == "":
		return errors.New("it is not JSON with keys and values: { ... }")
	case errors.As(err, &kind):
		return fmt.Errorf("%s has the wrong type: %s", kind.Field, kind.Value)
	}
	return err
}

func (c *Config) check() error {
	if c.RootfsHandler != "" && c.RootfsHandler != "native" && c.RootfsHandler != "module" {
		return fmt.Errorf("%w: RootfsHandler is %q; it may be \"native\" or \"module\"", ErrConfig, c.RootfsHandler)
	}
	if (len(c.BootEnvPrint) == 0) != (len(c.BootEnvSet) == 0) {
		return fmt.Errorf("%w: BootEnvPrint and BootEnvSet belong together", ErrConfig)
	}
	return nil
}

// keyFiles are the files of all verification keys.
func (c *Config) keyFiles() []string {
	if c.ArtifactVerifyKey != "" {
		return []string{c.ArtifactVerifyKey}
	}
	return c.ArtifactVerifyKeys
}
