// Package source brings an artifact's bytes, in order and once, wherever they are: a file, standard
// input, a USB stick, a web or NFS server. It knows nothing of what the bytes mean; checksums and signatures are the
// business of package artifact.
//
//	src, err := source.Open(ctx, "https://example.org/release-2.mender", source.Options{})
//	if err != nil {
//		return err
//	}
//	defer src.Close()
//	r, err := artifact.NewReader(src, keys)
//
// A download goes on where it broke (HTTP range requests, RFC 9110), as often as the options allow,
// and never mixes two versions of a file. Every error that concerns the source is an *Error.
package source

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Source is an open artifact. Read, Rewind and Close belong to one goroutine; In and Size may be
// called from others.
type Source struct {
	ctx  context.Context
	in   body
	name string
	read atomic.Int64

	release func() error // ends what the body needs; nil: nothing
}

// body is what the kinds of source have in common.
type body interface {
	io.ReadCloser
	// Size is what is known of the number of bytes in all; -1: nothing.
	Size() int64
}

// opener opens one kind of source.
type opener func(ctx context.Context, uri string, o Options) (*Source, error)

// openers says who opens what: a kind is what stands before the first colon, stdin, or path.
// A new kind of source is a line here.
func openers() map[string]opener {
	return map[string]opener{
		"path":  openPath,
		"stdin": openStdin,
		"file":  openFileURL,
		"http":  openHTTP,
		"https": openHTTP,
		"nfs":   openNFS,
		"usb":   openUSB,
	}
}

// Open opens the artifact that uri names:
//
//	release.mender  /media/usb/r.mender     a file
//	file:///media/usb/r%202.mender          a file, percent-encoded
//	-                                       standard input (/dev/stdin means the same)
//	http://host/r.mender  https://...       a web server; user:password@host for Basic authentication
//	nfs://host/export/r.mender              an NFS server; ?vers=3 or ?vers=4 for one version, host:port
//	usb:/r.mender  usb:LABEL=X/r.mender     a file on a USB stick, which is mounted for that; UUID=...
//
// If Options.Choose is set, all but the web and standard input may name a directory: usb: alone is the
// root of any stick, or of all sticks that there are. What is chosen in it is opened.
//
// A file whose name looks like a URL is written with "./" in front. For a web server Open returns
// when the first answer is there, retries included. The Source lives as long as ctx: when ctx is
// done, Open and Read return ctx.Err().
func Open(ctx context.Context, uri string, o Options) (*Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	table := openers()
	kind := kindOf(uri, table)
	open, ok := table[kind]
	if !ok {
		return nil, &Error{
			Op: "opening", URI: kind + "://...", usage: true,
			Err:  errors.New("this kind of source is not supported"),
			Hint: "give a file, - for standard input, or a URL that begins with " + known(table),
		}
	}
	if uri == "" {
		return nil, &Error{Op: "opening", URI: `""`, usage: true, Err: errors.New("no artifact named")}
	}
	return open(ctx, uri, o.withDefaults())
}

// Redact returns uri as messages may show it: without a user name, a password, or the query of a
// URL. What is no URL is returned as it is.
func Redact(uri string) string {
	table := openers()
	kind := kindOf(uri, table)
	if _, known := table[kind]; !known {
		return kind + "://..."
	}
	if !isWeb(kind) {
		return uri
	}
	t, err := parseTarget(uri)
	if err != nil {
		return kind + "://..."
	}
	return t.name
}

// Web says whether uri names a file on a web server.
func Web(uri string) bool { return isWeb(kindOf(uri, openers())) }

func isWeb(kind string) bool { return kind == "http" || kind == "https" }

// kindOf returns the key of uri in the table, or the unknown scheme that uri begins with.
func kindOf(uri string, table map[string]opener) string {
	if uri == "-" || uri == "/dev/stdin" {
		return "stdin"
	}
	before, after, found := strings.Cut(uri, ":")
	if !found || !isScheme(before) {
		return "path"
	}
	scheme := strings.ToLower(before)
	if scheme == "path" || scheme == "stdin" {
		return "path" // words of ours, not schemes
	}
	if _, ok := table[scheme]; ok || strings.HasPrefix(after, "//") {
		return scheme
	}
	return "path" // a colon in a file name
}

// isScheme follows RFC 3986, section 3.1.
func isScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

// known lists the schemes for a hint.
func known(table map[string]opener) string {
	var s []string
	for _, kind := range slices.Sorted(maps.Keys(table)) {
		if kind != "path" && kind != "stdin" {
			s = append(s, kind+":")
		}
	}
	return strings.Join(s, ", ")
}

// Name names the source for messages. It never has a user name, a password or the query of a URL,
// because those are secrets of some servers.
func (s *Source) Name() string { return s.name }

// Size is the number of bytes that the source has in all, -1 if unknown. It may change until the
// first byte was read: a download that starts again may find a new version of the file.
func (s *Source) Size() int64 { return s.in.Size() }

// In is the number of bytes that were read so far, counting again what was read again after Rewind.
func (s *Source) In() int64 { return s.read.Load() }

// Read reads as io.Reader says. An error other than io.EOF is final: retries are used up.
func (s *Source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.in.Read(p)
	s.read.Add(int64(n))
	return n, err
}

// Close gives up what the source holds: file, mount, connection. It does not wait for the network.
func (s *Source) Close() error {
	err := s.in.Close()
	if s.release != nil {
		err = errors.Join(err, s.release())
	}
	return err
}

// Rewindable says whether Rewind works: for files and block devices, not for pipes and downloads.
func (s *Source) Rewindable() bool {
	_, ok := s.in.(io.Seeker)
	return ok
}

// Rewind makes Read begin again at the first byte, of the same open file: what was verified in one
// pass is what is installed in the next, even if the name has come to mean another file.
func (s *Source) Rewind() error {
	f, ok := s.in.(io.Seeker)
	if !ok {
		return &Error{Op: "rewinding", URI: s.name, Err: errors.ErrUnsupported, usage: true}
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}
