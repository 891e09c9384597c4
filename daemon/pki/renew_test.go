package pki_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

func TestRenewalKeepsNamesAndUse(t *testing.T) {
	for _, alg := range []pki.Algorithm{pki.MLDSA65, pki.ECDSAP256} {
		t.Run(alg.String(), func(t *testing.T) {
			ca, stranger := newCA(t, alg), newCA(t, alg)
			first, err := ca.IssueServer("mintwarden", []string{"127.0.0.1", "api.example"}, alg)
			require.NoError(t, err)
			old, err := pki.ParseCertificate(first.Certificate)
			require.NoError(t, err)
			second, err := ca.Renew(old)
			require.NoError(t, err)
			next, err := pki.ParseCertificate(second.Certificate)
			require.NoError(t, err)
			require.Equal(t, old.DNSNames, next.DNSNames)
			require.True(t, old.IPAddresses[0].Equal(next.IPAddresses[0]))
			require.Equal(t, old.ExtKeyUsage, next.ExtKeyUsage)
			require.Equal(t, old.PublicKeyAlgorithm, next.PublicKeyAlgorithm)
			require.NotEqual(t, old.SerialNumber, next.SerialNumber)
			require.False(t, bytes.Equal(first.Key, second.Key), "a new key")
			_, err = stranger.Renew(old)
			require.ErrorContains(t, err, "not issued by")
			root, err := pki.ParseCertificate(ca.Pair().Certificate)
			require.NoError(t, err)
			_, err = ca.Renew(root)
			require.ErrorContains(t, err, "is a root")
		})
	}
}

func TestRevocationLists(t *testing.T) {
	for _, alg := range []pki.Algorithm{pki.MLDSA65, pki.ECDSAP256} {
		t.Run(alg.String(), func(t *testing.T) {
			ca, stranger := newCA(t, alg), newCA(t, alg)
			pair, err := ca.IssueClient("lost laptop", alg)
			require.NoError(t, err)
			lost, err := pki.ParseCertificate(pair.Certificate)
			require.NoError(t, err)
			first, err := ca.Revoke(nil, lost)
			require.NoError(t, err)
			second, err := ca.Revoke(first, lost)
			require.NoError(t, err)
			l, err := pki.ParseList(second)
			require.NoError(t, err)
			require.Equal(t, int64(2), l.Number.Int64())
			require.Len(t, l.RevokedCertificateEntries, 1, "once")
			require.Equal(t, lost.SerialNumber, l.RevokedCertificateEntries[0].SerialNumber)
			require.True(t, l.NextUpdate.After(l.ThisUpdate))
			_, err = stranger.Revoke(nil, lost)
			require.ErrorContains(t, err, "not issued by")
			_, err = stranger.Revoke(first)
			require.ErrorContains(t, err, "not of")
			_, err = pki.ParseList(append(second, second...))
			require.Error(t, err)
			_, err = pki.ParseList(pair.Certificate)
			require.Error(t, err)
		})
	}
}

func FuzzParseList(f *testing.F) {
	ca, err := pki.NewCA("root", pki.ECDSAP256)
	if err != nil {
		f.Fatal(err)
	}
	l, err := ca.Revoke(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l)
	f.Add([]byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := pki.ParseList(b); err == nil && l.Number == nil {
			t.Fatal("a list without a number was taken")
		}
	})
}
