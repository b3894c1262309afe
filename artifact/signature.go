package artifact

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// PublicKey verifies signatures.
type PublicKey struct{ key crypto.PublicKey }

// ParsePublicKey reads the first PEM block in text: an RSA, ECDSA or Ed25519 public key
// ("PUBLIC KEY" or "RSA PUBLIC KEY").
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return PublicKey{}, errors.New("not a PEM file")
	}
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return PublicKey{}, fmt.Errorf("not a public key but a %q", block.Type)
	}
	if err != nil {
		return PublicKey{}, fmt.Errorf("parsing a public key: %w", err)
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return PublicKey{key}, nil
	}
	return PublicKey{}, fmt.Errorf("a public key of type %T is not supported", key)
}

// ParsePrivateKey reads a PEM private key for Spec: RSA, ECDSA or Ed25519, not encrypted.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // openssl writes them in front of the key
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("not a private key but a %q", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("parsing a private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T is not supported", key)
	}
	return signer, nil
}

// verify returns nil if text is the base64 of a signature over the manifest by one of the keys.
func verify(manifest, text []byte, keys []PublicKey) error {
	sig, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return refuse(ErrSignature, "%s: %w", entrySignature, err)
	}
	for _, k := range keys {
		if k.verifies(manifest, sig) {
			return nil
		}
	}
	return refuse(ErrSignature, "the artifact's signature matches no key (%d tried)", len(keys))
}

// verifies knows the signatures that are written for artifacts: RSA PKCS #1 v1.5 and ECDSA over
// the SHA-256 of the manifest, and Ed25519 over the manifest itself.
func (k PublicKey) verifies(manifest, sig []byte) bool {
	sum := sha256.Sum256(manifest)
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PublicKey:
		return verifiesRaw(key, sum[:], sig) || ecdsa.VerifyASN1(key, sum[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, manifest, sig)
	}
	return false
}

// verifiesRaw takes sig for the two numbers r and s, one after the other in full length: that is
// how mender-artifact writes them, where others use DER.
func verifiesRaw(key *ecdsa.PublicKey, sum, sig []byte) bool {
	size := rawSize(key)
	if len(sig) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])
	return ecdsa.Verify(key, sum, r, s)
}

func rawSize(key *ecdsa.PublicKey) int { return (key.Params().BitSize + 7) / 8 }

// sign returns what belongs into manifest.sig. The same manifest and key give the same signature.
func sign(manifest []byte, key crypto.Signer) ([]byte, error) {
	sum := sha256.Sum256(manifest)
	var sig []byte
	var err error
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case *ecdsa.PublicKey:
		// Without a source of randomness the signature is the deterministic one of RFC 6979.
		if sig, err = key.Sign(nil, sum[:], crypto.SHA256); err == nil {
			sig, err = rawSignature(sig, rawSize(k))
		}
	case ed25519.PublicKey:
		sig, err = key.Sign(nil, manifest, crypto.Hash(0))
	default:
		return nil, fmt.Errorf("a key of type %T cannot sign artifacts", k)
	}
	if err != nil {
		return nil, fmt.Errorf("signing the manifest: %w", err)
	}
	return base64.StdEncoding.AppendEncode(nil, sig), nil
}

// rawSignature turns DER into the two numbers, one after the other in full length.
func rawSignature(der []byte, size int) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, err
	}
	raw := make([]byte, 2*size)
	sig.R.FillBytes(raw[:size])
	sig.S.FillBytes(raw[size:])
	return raw, nil
}
