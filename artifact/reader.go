// Package artifact reads and writes Mender Artifacts, format 3: the file format of root filesystem
// images and other updates for embedded devices, with a description of what they are and what
// they need, and a signature. It follows "Mender Artifact format 3" as mender-artifact documents
// and writes it. It knows nothing of devices and installs nothing.
//
// A Reader has the shape of tar.Reader, and one promise: what it hands out is verified. The
// manifest's signature comes first (if there are keys), the header before any of it is used, each
// file by its end, and the artifact as a whole when Next returns io.EOF. Until then nothing of it
// should be activated.
//
//	r, err := artifact.NewReader(f, keys)
//	if err != nil { … }
//	defer r.Close()
//	for {
//		p, err := r.Next()
//		if err == io.EOF { break } // all of it was right
//		if err != nil { … }
//		for {
//			f, err := p.Next()
//			if err == io.EOF { break }
//			if err != nil { … }
//			if _, err := io.Copy(w, f); err != nil { … }
//		}
//	}
//
// Errors that match ErrRefused speak of the artifact. Others come from the source and are passed
// on. Write makes artifacts, for tests and demonstrations.
package artifact

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Reader reads an artifact from beginning to end. Its first error sticks. It is not for use by
// several goroutines at a time.
type Reader struct {
	src    *input
	outer  *archive
	last   string // kind of the current entry of outer
	m      *manifest
	header *Header
	stream *stream // nil before the payload
	file   *File   // the current one
	err    error   // what every call returns from now on
}

// NewReader reads up to the payload: version, manifest, signature, header. With keys, the manifest
// must be signed by one of them; without, a signature is not looked at.
//
// As soon as the payload has begun, r is read ahead in a goroutine. The caller closes the Reader,
// and r only after it.
func NewReader(r io.Reader, keys []PublicKey) (*Reader, error) {
	b := bufio.NewReaderSize(&sticky{r: r}, readBuffer)
	src := &input{r: b}
	rd := &Reader{src: src, outer: newArchive(src)}
	if err := rd.begin(b, keys); err != nil {
		return nil, rd.explain(err)
	}
	return rd, nil
}

// Verify reads the whole artifact and returns its header if everything in it is right.
func Verify(r io.Reader, keys []PublicKey) (*Header, error) {
	rd, err := NewReader(r, keys)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	for err == nil {
		_, err = rd.Next()
	}
	if err != io.EOF {
		return nil, err
	}
	return rd.Header(), nil
}

// Header is the verified header.
func (r *Reader) Header() *Header { return r.header }

// Next goes to the next payload, over what is left of the current one. It returns io.EOF after the
// last, and only if the whole artifact was right to its end.
func (r *Reader) Next() (*Payload, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.stream == nil {
		var err error
		if r.stream, err = startStream(r.outer.tr, r.m); err != nil {
			r.err = err
			return nil, err
		}
		return &Payload{PayloadHeader: r.header.Payloads[0], r: r}, nil
	}
	for {
		if _, err := r.nextFile(); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	_, err := r.entry()
	return nil, r.fail(err)
}

// Close ends the Reader's goroutines and waits for them: if one is in a Read of the source, until
// that returns. It does not close the source. It may be called again, but not while somebody uses a
// Block.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = errStopped
	}
	if r.stream == nil {
		return nil
	}
	return r.stream.done()
}

// fail makes err stick.
func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = r.explain(err)
	}
	return r.err
}

// explain finds out what is behind an error, which may come from any layer between the source and
// us, and says it in terms of artifacts.
func (r *Reader) explain(err error) error {
	var refused *refusal
	switch {
	case err == nil, err == io.EOF, err == errStopped, errors.As(err, &refused):
		return err
	case r.src.err != nil:
		return fmt.Errorf("reading the artifact: %w", r.src.err)
	case r.src.ended && r.src.n == 0:
		return refuse(ErrTruncated, "the artifact is empty")
	case r.src.ended:
		return refuse(ErrTruncated, "the artifact ends after %d bytes: it is not complete", r.src.n)
	}
	return refuse(ErrMalformed, "%v", err) // no EOF may shine through: it would look like the end
}

// begin reads everything before the payload, in the order of trust.
func (r *Reader) begin(b *bufio.Reader, keys []PublicKey) error {
	if err := sniff(b); err != nil {
		return err
	}
	version, err := r.small(maxVersion)
	if err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	text, err := r.small(maxManifest)
	if err != nil {
		return err
	}
	header, signed, err := r.checkSignature(text, keys)
	if err != nil {
		return err
	}
	if r.m, err = parseManifest(text); err != nil {
		return err
	}
	if err := r.m.check(entryVersion, version); err != nil {
		return err
	}
	if err := r.readHeader(header); err != nil {
		return err
	}
	r.header.Signed = signed
	if r.header.Payloads[0].Type == "" && r.m.hasFiles() {
		return refuse(ErrMalformed, "files for a payload of type null, which is not installed by anything")
	}
	_, err = r.entry()
	return err
}

// entry goes to the next entry, if the order of entries allows it; io.EOF if that is the end.
func (r *Reader) entry() (*tar.Header, error) {
	e, err := r.outer.next()
	name, kind := entryEnd, entryEnd
	if err == nil {
		name = e.Name
		kind, err = entryKind(e.Name)
	}
	if legal := follows[r.last]; (err == nil || err == io.EOF) && !slices.Contains(legal, kind) {
		err = refuse(ErrMalformed, "unexpected %s where %s should be", name, quoteAll(legal))
	}
	if err != nil && err != io.EOF {
		return nil, r.foreign(err)
	}
	r.last = kind
	return e, err
}

// foreign says of an error at the very first entry that this is no artifact at all. What package tar
// misses in it tells nobody more than that.
func (r *Reader) foreign(err error) error {
	var refused *refusal
	switch {
	case r.last != "" || r.src.err != nil:
		return err
	case errors.As(err, &refused):
		return fmt.Errorf("not a Mender artifact: %w", err)
	case r.src.ended:
		return err
	}
	return refuse(ErrMalformed, "not a Mender artifact")
}

// small reads the next entry whole.
func (r *Reader) small(limit int64) ([]byte, error) {
	e, err := r.entry()
	if err != nil {
		return nil, err
	}
	return r.outer.content(e, limit)
}

// checkSignature reads the signature, if there is one, and goes to the header.
func (r *Reader) checkSignature(manifest []byte, keys []PublicKey) (header *tar.Header, signed bool, err error) {
	e, err := r.entry()
	if err != nil {
		return nil, false, err
	}
	if r.last != entrySignature {
		if len(keys) > 0 {
			return nil, false, refuse(ErrUnsigned, "the artifact is not signed, and only signed ones are accepted here")
		}
		return e, false, nil
	}
	text, err := r.outer.content(e, maxSignature)
	if err != nil {
		return nil, false, err
	}
	if len(keys) > 0 {
		if err := verify(manifest, text, keys); err != nil {
			return nil, false, err
		}
	}
	e, err = r.entry()
	return e, true, err
}

func (r *Reader) readHeader(e *tar.Header) error {
	packed, err := r.outer.content(e, maxHeaderPacked)
	if err != nil {
		return err
	}
	if err := r.m.check(e.Name, packed); err != nil {
		return err
	}
	unpacked, err := unpack(bytes.NewReader(packed), maxHeader)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	defer unpacked.Close()
	if r.header, err = readHeader(unpacked); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return nil
}

// checkVersion accepts format 3 only. The formats before it have no signature (1), or not these
// provides and depends (2), and no current tool writes them.
func checkVersion(text []byte) error {
	o, err := parseObject(text)
	if err != nil {
		return refuse(ErrMalformed, "%s: %w", entryVersion, err)
	}
	if format, err := o.word("format"); err != nil || format != "mender" {
		return refuse(ErrMalformed, "%s: not a Mender artifact: the format is %.40s", entryVersion, o["format"])
	}
	if v := string(o["version"]); v != "3" {
		return refuse(ErrUnsupported, "artifacts of format version %.40s are not supported, only version 3 is", v)
	}
	return nil
}

// sniff recognizes what people get instead of an artifact.
func sniff(b *bufio.Reader) error {
	first, err := b.Peek(512) // an error comes again
	start := first[:min(len(first), len(entryVersion))]
	first = bytes.ToLower(bytes.TrimLeft(first, "\xef\xbb\xbf \t\r\n"))
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<!--", "<?xml"} {
		if bytes.HasPrefix(first, []byte(tag)) {
			return refuse(ErrMalformed, "got an HTML page instead of an artifact")
		}
	}
	if err == io.EOF && !strings.HasPrefix(entryVersion, string(start)) {
		return refuse(ErrMalformed, "not a Mender artifact")
	}
	return nil
}
