package source

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// target is what a http or https URI says.
type target struct {
	url  *url.URL // without user name, password and fragment
	auth string   // value of the Authorization header; "" if none
	name string   // for people: without secrets
}

// parseTarget never lets a part of a URI that it does not understand into an error: a password with
// a / or # in it shifts the boundaries, and may then be taken for a host or a port.
func parseTarget(uri string) (target, error) {
	scheme, _, _ := strings.Cut(uri, ":")
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return target{}, (&failure{
			text: "not a valid URL", usage: true,
			hint: "write " + strings.ToLower(scheme) + "://host/path; in a user name or password, @ is %40, / is %2F, # is %23, % is %25",
		}).as("opening", strings.ToLower(scheme)+"://...")
	}
	t := target{url: u}
	if u.User != nil {
		password, _ := u.User.Password()
		t.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	fragment := u.Fragment
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	t.name = u.Scheme + "://" + u.Host + u.EscapedPath()
	switch {
	case strings.Contains(u.Path+u.RawQuery+fragment, "@"):
		// Perhaps the rest of a password with a /, ? or # in it: then the port is its beginning.
		t.name = u.Scheme + "://" + u.Hostname() + "/..."
	case u.RawQuery != "":
		t.name += "?..." // presigned URLs carry their signature there
	}
	return t, nil
}

// checkHeader refuses what net/http would refuse at every single try.
func checkHeader(h http.Header) error {
	for key, values := range h {
		const separators = "()<>@,;:\\\"/[]?={} \t"
		bad := key == "" || strings.ContainsAny(key, separators) || strings.ContainsFunc(key, isControl)
		for _, value := range values {
			bad = bad || strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && isControl(r) })
		}
		if bad {
			return &failure{
				text: "a request header cannot be sent", usage: true, // its value may be a secret
				hint: "write it as Name: value, in one line",
			}
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// origin is scheme, host and port; http on its own port counts as https, so that a server that
// sends us to https keeps its header.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" || u.Scheme == "http" && port == "80" {
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}
