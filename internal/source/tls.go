package source

import (
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
	if t := time.Now(); o.NotBefore.Before(t) {
		return t
	}
	return o.NotBefore
}

// noteClock says, once, that the clock of the device is not believed.
func (d *download) noteClock() {
	t := time.Now()
	if d.noted || d.o.SkipVerify || !t.Before(d.o.NotBefore) {
		return
	}
	d.noted = true
	const day = "2006-01-02"
	d.o.Notify(fmt.Sprintf("the clock of this device is wrong: it says %s; certificates are checked as of %s",
		t.UTC().Format(day), d.o.NotBefore.UTC().Format(day)))
}
