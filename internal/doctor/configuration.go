package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"flipside/internal/disk"
)

// configuration: mender.conf.
func (e *examination) configuration(context.Context) {
	read, paths := 0, []string{}
	for _, s := range e.Sources {
		paths = append(paths, s.Path)
		switch {
		case s.Err == nil:
			read++
			e.ok(Configuration, "%s was read", s.Path)
			e.spelling(s.Path, s.Data)
		case s.Absent():
		case errors.Is(s.Err, os.ErrNotExist):
			e.problem(Configuration, "name a file that is there, or leave the option out", "%s, which the command line names, is not there", s.Path)
		default:
			e.problem(Configuration, "correct it: with a broken configuration nothing is installed, because signatures might be meant to be checked",
				"%s: %v", s.Path, disk.Cause(s.Err))
		}
	}
	if read == 0 && !e.Broken() {
		e.warn(Configuration, fmt.Sprintf("write %s: at least RootfsPartA and RootfsPartB, and the keys that verify artifacts", paths[len(paths)-1]),
			"there is no configuration: neither %s", strings.Join(paths, " nor "))
	}
	if e.Err != nil {
		e.problem(Configuration, "correct mender.conf", "%v", e.Err)
	}
	if values := inEffect(reflect.ValueOf(*e.Config), ""); len(values) > 0 {
		e.ok(Configuration, "in effect: %s", strings.Join(values, ", "))
	}
	e.negativeTimes()
}

// inEffect are the values that are set, as "RootfsPartA=/dev/mmcblk0p2".
func inEffect(v reflect.Value, prefix string) (values []string) {
	for i := range v.NumField() {
		name, field := prefix+v.Type().Field(i).Name, v.Field(i)
		switch {
		case field.IsZero():
		case field.Kind() == reflect.Struct:
			values = append(values, inEffect(field, name+".")...)
		default:
			values = append(values, fmt.Sprintf("%s=%v", name, field.Interface()))
		}
	}
	return values
}

func (e *examination) negativeTimes() {
	v := reflect.ValueOf(*e.Config)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Int && f.Int() < 0 {
			name := v.Type().Field(i).Name
			e.warn(Configuration, "give "+name+" a number of seconds, or remove it", "%s is %d, which makes no sense: the default counts instead", name, f.Int())
		}
	}
}

// keys: what verifies signatures.
func (e *examination) keys(context.Context) {
	for _, file := range e.KeyFiles {
		if _, err := e.Key(file); err != nil {
			e.problem(Keys, "put a public key in PEM format there (openssl pkey -in PRIVATE.key -pubout), or correct ArtifactVerifyKey or ArtifactVerifyKeys: until then no artifact is accepted",
				"verification key %s: %v", file, err)
			continue
		}
		e.ok(Keys, "%s verifies artifacts", file)
	}
	if len(e.KeyFiles) == 0 && !e.Broken() {
		e.ok(Keys, "none: artifacts are accepted without a signature (ArtifactVerifyKeys names keys)")
	}
}

// https: the files for connections to servers.
func (e *examination) https(context.Context) {
	if file := e.Config.ServerCertificate; file != "" {
		pem, err := disk.ReadRegular(file)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			err = errors.New("there is no certificate in PEM format in it")
		}
		if err != nil {
			e.problem(HTTPS, "put the server's certificate, or its authority's, there, or remove ServerCertificate: until then nothing is downloaded by https",
				"ServerCertificate %s: %v", file, disk.Cause(err))
		} else {
			e.ok(HTTPS, "servers with certificates from %s are trusted", file)
		}
	}
	e.clientCertificate()
	if e.Config.SkipVerify {
		e.warn(HTTPS, "remove SkipVerify, and name the server's authority in ServerCertificate",
			"SkipVerify is set: anybody on the network can pose as the server")
	}
}

func (e *examination) clientCertificate() {
	certificate, key := e.Config.HttpsClient.Certificate, e.Config.HttpsClient.Key
	switch {
	case certificate == "" && key == "":
		return
	case certificate == "":
		e.problem(HTTPS, "set HttpsClient.Certificate too, or remove both", "HttpsClient.Key is %s, and HttpsClient.Certificate is not set", key)
		return
	case key == "":
		key = certificate // both in one file
	}
	if err := checkPair(certificate, key); err != nil {
		e.problem(HTTPS, "correct HttpsClient: both files in PEM format, the key not encrypted and the certificate's own",
			"client certificate %s with key %s: %v", certificate, key, err)
		return
	}
	e.ok(HTTPS, "client certificate %s and its key can be used", certificate)
}

func checkPair(certificate, key string) error {
	cert, err := disk.ReadRegular(certificate)
	if err != nil {
		return err
	}
	pem, err := disk.ReadRegular(key)
	if err != nil {
		return err
	}
	_, err = tls.X509KeyPair(cert, pem)
	return err
}
