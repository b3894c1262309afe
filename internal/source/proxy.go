package source

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"unicode"
)

// proxyFor says through which proxy a request goes; nil: none. It follows http.ProxyFromEnvironment
// (HTTP_PROXY, HTTPS_PROXY, NO_PROXY or their lower-case forms), with these differences:
// the environment is read each time, NO_PROXY may be separated by blanks as Mender documents it,
// a proxy address that is none is an error instead of ignored, and under CGI only HTTP_PROXY, which
// the client of a web server can set there, is ignored.
func proxyFor(req *http.Request) (*url.URL, error) {
	names := []string{"HTTPS_PROXY", "https_proxy"}
	if req.URL.Scheme == "http" {
		names = []string{"HTTP_PROXY", "http_proxy"}
		if os.Getenv("REQUEST_METHOD") != "" {
			names = names[1:]
		}
	}
	name, value := firstEnv(names...)
	if value == "" || bypassed(req.URL) {
		return nil, nil
	}
	proxy, ok := parseProxy(value)
	if !ok {
		return nil, &failure{
			text: "the environment variable " + name + " is not the address of a proxy", usage: true,
			hint: "write " + name + "=http://host:port; in a user name or password, @ is %40 and / is %2F",
		}
	}
	return proxy, nil
}

func firstEnv(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// parseProxy takes a URL or host:port.
func parseProxy(value string) (*url.URL, bool) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" {
		return nil, false
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, true
	}
	return nil, false
}

// bypassed says whether NO_PROXY covers u. This device itself never goes through a proxy.
func bypassed(u *url.URL) bool {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && ip.IsLoopback() {
		return true
	}
	_, list := firstEnv("NO_PROXY", "no_proxy")
	for _, entry := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		if covers(strings.ToLower(entry), host, port, ip.Unmap()) {
			return true
		}
	}
	return false
}

// covers says whether one entry of NO_PROXY means the host: "*", an address, a range like
// 10.0.0.0/8, a domain with all below it, or ".domain" for only those below; each but the range
// with an optional ":port". ip is the zero Addr if host is a name.
func covers(entry, host, port string, ip netip.Addr) bool {
	if entry == "*" {
		return true
	}
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		return prefix.Contains(ip)
	}
	if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return addr.Unmap() == ip
	}
	if i := strings.LastIndexByte(entry, ':'); i >= 0 {
		if entry[i+1:] != port {
			return false
		}
		entry = entry[:i]
		if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			return addr.Unmap() == ip
		}
	}
	entry = strings.TrimPrefix(entry, "*")
	if entry == "" || ip.IsValid() {
		return false
	}
	if strings.HasPrefix(entry, ".") {
		return strings.HasSuffix(host, entry)
	}
	return host == entry || strings.HasSuffix(host, "."+entry)
}

// proxyAnswer refuses what a proxy answered to CONNECT, before net/http turns it into a bare text.
func proxyAnswer(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	f := statusFailure(resp)
	f.text = fmt.Sprintf("the proxy refused the connection: %s", statusText(resp.StatusCode))
	f.hint = "check HTTPS_PROXY and NO_PROXY in the environment"
	return f
}
