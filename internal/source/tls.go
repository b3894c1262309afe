package source

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// newTLS prepares for https. Its errors are about files on this device.
func newTLS(o Options) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: o.SkipVerify,
		Time:               o.now,
	}
	if o.TrustedCerts != "" {
		pool, err := trust(o.TrustedCerts)
		if err != nil {
			return nil, tlsFailure("reading trusted certificates", err)
		}
		c.RootCAs = pool
	}
	switch {
	case o.Certificate != "":
		key := o.Key
		if key == "" {
			key = o.Certificate
		}
		pair, err := tls.LoadX509KeyPair(o.Certificate, key)
		if err != nil {
			return nil, tlsFailure(fmt.Sprintf("reading the client certificate %s with the key %s", o.Certificate, key), err)
		}
		c.Certificates = []tls.Certificate{pair}
	case o.Key != "":
		return nil, tlsFailure("client certificate", fmt.Errorf("there is a key, %s, but no certificate", o.Key))
	}
	return c, nil
}

func tlsFailure(doing string, err error) *failure {
	return &failure{
		text: doing + ": " + err.Error(), err: err, usage: true,
		hint: "see ServerCertificate and HttpsClient in mender.conf, and the options that replace them",
	}
}

// trust returns the authorities of the system and those in the file. A device without any of the
// system's is common and fine.
func trust(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM format in " + file)
	}
	return pool, nil
}

// now is the time for certificates: a clock behind NotBefore is known to be wrong.
func (o Options) now() time.Time {
	if o.clockIsWrong() {
		return o.NotBefore
	}
	return time.Now()
}

// clockIsWrong says whether the clock of this device is behind what is surely past. A day may come
// from setting a clock that had been ahead a little, and matters to no certificate.
func (o Options) clockIsWrong() bool { return time.Now().AddDate(0, 0, 1).Before(o.NotBefore) }

// noteTLS says, once, what is odd about the way that certificates are checked.
func (d *download) noteTLS() {
	if d.noted {
		return
	}
	d.noted = true
	const day = "2006-01-02"
	switch {
	case d.o.SkipVerify:
		d.o.Warn("the server's certificate is NOT verified (--skipverify, or SkipVerify in mender.conf): " +
			"anybody on the way can exchange the artifact, and only a signature would show it")
	case d.o.clockIsWrong():
		known := d.o.NotBefore.UTC().Format(day)
		d.o.Warn(fmt.Sprintf("the clock of this device is wrong: it says %s, but %s is of %s; certificates are checked as of %s",
			time.Now().UTC().Format(day), d.o.evidence(), known, known))
	}
}

func (o Options) evidence() string { return cmp.Or(o.Evidence, "what is known to be past") }

// suspectClock replaces the hint where a certificate may only seem to have expired: because what
// is known to be past is none.
func (o Options) suspectClock(f *failure) *failure {
	var invalid x509.CertificateInvalidError
	if errors.As(f, &invalid) && invalid.Reason == x509.Expired && o.now().After(invalid.Cert.NotAfter) && o.clockIsWrong() {
		f.hint = "renew the certificate of the server and set the clock of this device; if the clock is right, correct " +
			o.evidence() + ", whose time is in the future"
	}
	return f
}
