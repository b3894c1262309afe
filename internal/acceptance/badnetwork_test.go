package acceptance_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flipside/artifact"
	"flipside/internal/storytest"
	"flipside/internal/webtest"
)

// web is nginx, with an artifact in it, as good and as bad as web servers come.
type web struct {
	image, artifact []byte
	authority       *webtest.Authority

	plain, norange, secure, expired, elsewhere, future, clients string // addresses
	clientCert, clientKey                                       string // files
}

const artifactName = "next.mender"

func newWeb(t *testing.T) web {
	t.Helper()
	w := web{image: storytest.Noise("image", 1<<20), authority: webtest.NewAuthority(t)}
	var b bytes.Buffer
	if err := artifact.Write(&b, artifact.Spec{
		Name: "next", Type: "rootfs-image", Depends: artifact.Depends{artifact.KeyDeviceType: {"sandbox"}},
		Files: []artifact.FileSpec{artifact.FileBytes("image.ext4", w.image)}, SoftwareVersion: "next",
	}); err != nil {
		t.Fatal(err)
	}
	w.artifact = b.Bytes()
	root := "root " + webtest.Share(t, artifactName, w.artifact) + ";"
	year := time.Now().Year()
	site := func(host string, from, to int, directives string) webtest.Site {
		s := webtest.Site{Directives: root + directives}
		s.Cert, s.Key = w.authority.Issue(host, from, to)
		return s
	}
	// Certificates for the same host have the same file names, so each is read before the next.
	copied := func(s webtest.Site, name string) webtest.Site {
		for _, file := range []*string{&s.Cert, &s.Key} {
			to := filepath.Join(w.authority.Dir, name+filepath.Ext(*file))
			if err := os.Rename(*file, to); err != nil {
				t.Fatal(err)
			}
			*file = to
		}
		return s
	}
	clients := copied(site("127.0.0.1", 2020, 2100, ""), "clients")
	clients.ClientCA = w.authority.File
	urls := webtest.Nginx(t,
		webtest.Site{Directives: root + `
    location = /loop { return 302 /loop; }
    location = /forbidden { return 403; }
    location = /broken { return 500; }
    location = /login { default_type text/html; return 200 "<!DOCTYPE html><title>Please log in</title>"; }`},
		webtest.Site{Directives: root + "max_ranges 0;"},
		copied(site("127.0.0.1", 2020, 2100, "location = /down { return 302 http://127.0.0.1:1/; }"), "secure"),
		copied(site("127.0.0.1", 1991, 2001, ""), "expired"),
		copied(site("updates.example.org", 2020, 2100, ""), "elsewhere"),
		copied(site("127.0.0.1", year+4, year+7, ""), "future"),
		clients,
	)
	w.plain, w.norange, w.secure, w.expired, w.elsewhere, w.future, w.clients =
		urls[0], urls[1], urls[2], urls[3], urls[4], urls[5], urls[6]
	w.clientCert, w.clientKey = w.authority.Issue("device", 2020, 2100)
	return w
}

// through is the address of the artifact on a site, by way of a bad network.
func through(t *testing.T, site string, n webtest.Network) string {
	t.Helper()
	u, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + n.To(t, u.Host) + "/" + artifactName
}

// closed is an address where nobody listens, and nobody else will until the test ends.
func closed(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// badSource is an install that must fail, and how.
type badSource struct {
	url        string
	options    []string
	env        []string
	code       string
	what, hint string // matches
}

// TestBadNetwork: whatever goes wrong between the server and the device, there is one clear error,
// the right exit code, and the device is as before.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	w := newWeb(t)
	nobody := closed(t)

	// Without --retries an address that nobody answers at is tried for some seconds, meanwhile.
	patient, ended := newSandbox(t, 2), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- patient.unmoved(badSource{
			url: "http://" + nobody + "/a", code: "8", what: "connection refused; given up after [3-5] tries$", hint: "check the port.*--retries waits longer",
		})
	}()
	defer func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	t.Run("at once", func(t *testing.T) { w.eachFails(t) })
}

// eachFails is TestBadNetwork's table.
func (w web) eachFails(t *testing.T) {
	nobody := closed(t)
	trust := []string{"--trusted-certs", w.authority.File}
	once := []string{"--retries", "0"}
	artifactURL := func(site string) string { return site + "/" + artifactName }
	announced := fmt.Sprintf("Content-Length: %d", len(w.artifact))
	half := int64(len(w.artifact) / 2)
	for name, c := range map[string]badSource{
		"name unknown":      {url: "http://no..such.example/a", code: "8", what: `the host name "no..such.example" is not known$`, hint: "check the name and the DNS settings"},
		"refused":           {url: "http://" + nobody + "/a", options: once, code: "8", what: "connection refused$", hint: "check the port"},
		"404":               {url: w.plain + "/nowhere", code: "8", what: "the server answered 404 Not Found$", hint: "check the address"},
		"403":               {url: w.plain + "/forbidden", code: "8", what: "403 Forbidden$", hint: "user name and password"},
		"500":               {url: w.plain + "/broken", options: []string{"--retries", "1"}, code: "8", what: "500 Internal Server Error; given up after 2 tries$", hint: "try again later"},
		"redirect loop":     {url: w.plain + "/loop", code: "8", what: "more than 10 redirects$", hint: "in a circle"},
		"https to http":     {url: w.secure + "/down", options: trust, code: "8", what: "redirects from https to plain http", hint: "could exchange the file"},
		"expired":           {url: artifactURL(w.expired), options: trust, code: "8", what: "certificate expired on 2001-01-01", hint: "renew the certificate"},
		"wrong host":        {url: artifactURL(w.elsewhere), options: trust, code: "8", what: `certificate is for "updates.example.org", not for "127.0.0.1"`, hint: "check the host name"},
		"unknown authority": {url: artifactURL(w.secure), code: "8", what: "signed by an unknown authority", hint: "--trusted-certs"},
		"clock behind":      {url: artifactURL(w.future), options: trust, code: "8", what: "certificate is not valid before 20.*, and here it is 20", hint: "set the clock"},
		"no client":         {url: artifactURL(w.clients), options: trust, code: "8", what: "the server answered 400 Bad Request", hint: "asks for a client certificate"},
		"plain port":        {url: strings.Replace(w.plain, "http:", "https:", 1), code: "8", what: "does not speak TLS", hint: "http:// instead of https://"},
		"proxy refused":     {url: "http://updates.example.org/a", options: once, env: []string{"http_proxy=" + nobody}, code: "8", what: "connecting to the proxy: connection refused$", hint: "HTTP_PROXY"},
		"https proxy":       {url: "https://updates.example.org/a", options: once, env: []string{"https_proxy=http://u:secret@" + nobody}, code: "8", what: "connecting to the proxy: connection refused$", hint: "NO_PROXY"},
		"web page":          {url: w.plain + "/login", code: "6", what: "an HTML page instead of an artifact", hint: "compare"},
		"cut for ever":      {url: through(t, w.plain, webtest.Network{Then: webtest.Cut(half)}), options: once, code: "8", what: "connection lost at [0-9.]+ KiB of 1.0 MiB$", hint: "check the connection"},
		"silent":            {url: through(t, w.plain, webtest.Network{Then: webtest.Stall(0)}), options: []string{"--retries", "0", "--stall-timeout", "1s"}, code: "8", what: "did not answer in time$", hint: "check the connection"},
		"stalled":           {url: through(t, w.plain, webtest.Network{Then: webtest.Stall(half)}), options: []string{"--retries", "0", "--stall-timeout", "1"}, code: "8", what: "no byte came for 1 s at ", hint: "check the connection"},
		"too slow":          {url: through(t, w.plain, webtest.Network{Then: webtest.Slow(2000, 50*time.Millisecond)}), options: []string{"--timeout", "1s"}, code: "8", what: "not complete within 1 s at ", hint: "allow more time"},
		"corrupted":         {url: through(t, w.plain, webtest.Network{Then: webtest.Corrupt(half)}), code: "6", what: "checksum", hint: "get the artifact again"},
		"announces more":    {url: through(t, w.plain, webtest.Network{Then: webtest.Head(strings.NewReplacer(announced, announced+"0"), webtest.Pass)}), options: []string{"--retries", "0", "--stall-timeout", "1s"}, code: "8", what: "no byte came for 1 s at 1.0 MiB of 10.", hint: "check the connection"},
		"announces less":    {url: through(t, w.plain, webtest.Network{Then: webtest.Head(strings.NewReplacer(announced, "Content-Length: 500000"), webtest.Pass)}), code: "6", what: "not complete", hint: "get the artifact again"},
		"file exchanged":    {url: through(t, w.plain, exchanging(half)), code: "8", what: "exchanged during the download at ", hint: "start again"},
		"no range, no tag":  {url: through(t, w.norange, forgetting(half)), code: "8", what: "cannot resume a download, and does not say whether it still has the same file at ", hint: "start again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t, 2)
			if err := s.unmoved(c); err != nil {
				t.Error(err)
			}
		})
	}
}

// exchanging is a network behind which the file becomes another one after the first answer.
func exchanging(after int64) webtest.Network {
	return webtest.Network{
		First: []webtest.Fault{webtest.Cut(after)},
		Then:  webtest.Head(strings.NewReplacer(`ETag: "`, `ETag: "other-`), webtest.Pass),
	}
}

// forgetting hides what says which file it is.
func forgetting(after int64) webtest.Network {
	hide := strings.NewReplacer("ETag:", "X-Tag:", "Last-Modified:", "X-Modified:")
	return webtest.Network{First: []webtest.Fault{webtest.Head(hide, webtest.Cut(after))}, Then: webtest.Head(hide, webtest.Pass)}
}

// unmoved installs, which must fail as c says, and compares all files of the device.
func (s sandboxed) unmoved(c badSource) error {
	before, err := filesIn(s.dir)
	if err != nil {
		return err
	}
	command := []string{s.program, "--sandbox", s.dir}
	r, err := storytest.Refused(s.dir, c.code, append(slices.Clone(command), "status", "--json"),
		append(append(command, "install", c.url), c.options...),
		func(args []string, environ ...string) storytest.Ran {
			return s.exec(args, append(environ, c.env...)...)
		})
	if err != nil {
		return err
	}
	f, err := storytest.FailureIn(r.Stderr)
	switch {
	case err != nil:
		return err
	case !regexp.MustCompile(c.what).MatchString(f.What):
		return fmt.Errorf("error is %q; want a match for %q", f.What, c.what)
	case !regexp.MustCompile(c.hint).MatchString(f.Hint):
		return fmt.Errorf("hint is %q; want a match for %q", f.Hint, c.hint)
	case strings.Contains(r.Stderr, "secret"):
		return fmt.Errorf("a secret is shown:\n%s", r.Stderr)
	case !strings.Contains(r.Stdout, "System not modified."):
		return fmt.Errorf("standard output is %q; want System not modified", r.Stdout)
	}
	after, err := filesIn(s.dir)
	if err != nil {
		return err
	}
	// Once the header was good, the device keeps a record of what is going on. Once bytes flow, the
	// inactive slot changes too. Nothing else ever does.
	begun, spoiled := strings.HasPrefix(f.What, "download: ") || strings.HasPrefix(f.What, "reading the artifact: "), strings.Contains(f.Device, "inactive slot holds an incomplete image")
	mayDiffer := func(name, _ string) bool {
		return begun && strings.HasPrefix(name, "var/lib/mender/flipside/state-") || spoiled && name == "dev/mmcblk0p3"
	}
	maps.DeleteFunc(before, mayDiffer)
	maps.DeleteFunc(after, mayDiffer)
	var odd []error
	for name := range before {
		if after[name] != before[name] {
			odd = append(odd, fmt.Errorf("%s was %q and is %q", name, before[name], after[name]))
		}
		delete(after, name)
	}
	for name := range after {
		odd = append(odd, fmt.Errorf("%s was not there", name))
	}
	return errors.Join(odd...)
}

// filesIn lists everything below dir and what is in it, but for what says who works and what they
// had to tell: the lock file and the log.
func filesIn(dir string) (map[string]string, error) {
	all := map[string]string{}
	return all, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "var/lib/mender/flipside" || name == "var/lib/mender/flipside/lock" {
			return err
		}
		if name == "var/lib/mender/flipside/log" {
			return fs.SkipDir
		}
		switch {
		case e.IsDir():
			all[name] = "directory"
		case e.Type() == fs.ModeSymlink:
			all[name], err = os.Readlink(path)
		default:
			var data []byte
			data, err = os.ReadFile(path)
			all[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		return err
	})
}
