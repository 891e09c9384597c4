package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

func (c *cli) certCommand() *cobra.Command {
	return group("cert", "Make roots, issue, renew and revoke certificates, for those who have no PKI", "  mintwarden cert show /etc/mintwarden/tls/api-ecdsa.crt",
		c.certRoots(), c.certIssue(), c.certRenew(), c.certRevoke(), c.certShow())
}

func (c *cli) certRoots() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "ca DIR --name NAME", Short: "Make two roots, one of ECDSA P-256 and one of ML-DSA-65",
		Long: `Make two roots, one of ECDSA P-256 and one of ML-DSA-65.

DIR gets root-ecdsa and root-mldsa, each with its key, and ca.crt, which holds
both and is what servers and clients are given. Whoever has the keys can name
anybody: keep DIR off the appliance. Roots that are there stay as they are.`,
		Example: "  mintwarden cert ca /media/vault/ca --name acme", Args: exactly(1, "one directory"),
	}
	cmd.Flags().StringVar(&name, "name", "", "the organization, as it stands in the roots")
	required(cmd, "name")
	return c.leaf(cmd, func(_ context.Context, args []string) error {
		dir := args[0]
		if exists(filepath.Join(dir, rootsFile)) {
			return refused("%s has roots already", dir)
		}
		if err := os.MkdirAll(dir, privateDir); err != nil {
			return err
		}
		r, err := makeRoots(dir, name)
		if err != nil {
			return err
		}
		if err := r.publish(dir); err != nil {
			return err
		}
		c.say("The roots are in %s; give %s to servers and clients, and %s and %s to nobody.", dir, rootsFile, classicRoot+".key", quantumRoot+".key")
		return c.written(filepath.Join(dir, classicRoot+".crt"), filepath.Join(dir, quantumRoot+".crt"))
	})
}

// publish writes ca.crt, which says that all else is there.
func (r *roots) publish(dir string) error {
	both := bytes.Join([][]byte{r.classic.Pair().Certificate, r.quantum.Pair().Certificate}, nil)
	return writeWhole(filepath.Join(dir, rootsFile), both, 0o644, nil)
}

// algorithms are the roots by the word that names them on the command line.
func (r *roots) algorithms(word string) (map[string]*pki.CA, error) {
	switch word {
	case "ecdsa":
		return map[string]*pki.CA{"ecdsa": r.classic}, nil
	case "ml-dsa":
		return map[string]*pki.CA{"mldsa": r.quantum}, nil
	case "both":
		return map[string]*pki.CA{"ecdsa": r.classic, "mldsa": r.quantum}, nil
	}
	return nil, usagef("--algorithm %s: want ecdsa, ml-dsa or both", word)
}

func kindOf(word string) pki.Algorithm {
	if word == "mldsa" {
		return pki.MLDSA65
	}
	return pki.ECDSAP256
}

func (c *cli) certIssue() *cobra.Command {
	var ca, out, algorithm string
	var hosts []string
	cmd := &cobra.Command{
		Use: "issue NAME --ca DIR --out DIR", Short: "Issue a certificate: a client's, or with --host a server's",
		Long: `Issue a certificate: a client's, or with --host a server's.

A client's NAME is who holds it; it says nothing of what he may do, which his API
key does. Both algorithms are issued unless --algorithm says which one: ML-DSA-65,
and its ECDSA twin for programs that cannot do it yet. Keys are made here and
written readable by you alone.`,
		Example: `  mintwarden cert issue mint-service --ca /media/vault/ca --out .
  mintwarden cert issue mintwarden --host api.acme.example --host 10.1.2.3 --ca /media/vault/ca --out /etc/mintwarden/tls`,
		Args: exactly(1, "one name"),
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", "", "directory of the roots")
	f.StringVar(&out, "out", "", "directory for NAME-ecdsa and NAME-mldsa, .crt and .key")
	f.StringSliceVar(&hosts, "host", nil, "DNS name or address that the server is reached by")
	f.StringVar(&algorithm, "algorithm", "both", "ecdsa, ml-dsa or both")
	required(cmd, "ca", "out")
	return c.leaf(cmd, func(_ context.Context, args []string) error {
		name := args[0]
		if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			return usagef("the name %q cannot be a file's", name)
		}
		r, err := loadRoots(ca)
		if err != nil {
			return err
		}
		by, err := r.algorithms(algorithm)
		if err != nil {
			return err
		}
		var paths []string
		for _, word := range slices.Sorted(maps.Keys(by)) {
			file := name + "-" + word
			for _, ending := range []string{".crt", ".key"} {
				if path := filepath.Join(out, file+ending); exists(path) {
					return refused("%s is there already; renew it, or issue under another name", path)
				}
			}
			pair, err := issue(by[word], name, hosts, kindOf(word))
			if err != nil {
				return err
			}
			if err := writePair(out, file, pair); err != nil {
				return err
			}
			paths = append(paths, filepath.Join(out, file+".crt"))
			c.say("%s is issued", filepath.Join(out, file+".crt"))
		}
		return c.written(paths...)
	})
}

func issue(root *pki.CA, name string, hosts []string, alg pki.Algorithm) (pki.Pair, error) {
	if len(hosts) > 0 {
		return root.IssueServer(name, hosts, alg)
	}
	return root.IssueClient(name, alg)
}

// readLeaf reads a certificate, and which of the roots issued it.
func readLeaf(path string, r *roots) (*x509.Certificate, *pki.CA, error) {
	leaf, err := readCertificate(path)
	if err != nil {
		return nil, nil, err
	}
	for _, root := range []*pki.CA{r.classic, r.quantum} {
		if root.Issued(leaf) {
			return leaf, root, nil
		}
	}
	return nil, nil, refused("%s, of %q, was issued by neither of the roots", path, leaf.Subject.CommonName)
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	leaf, err := pki.ParseCertificate(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	return leaf, nil
}

func (c *cli) certRenew() *cobra.Command {
	var ca string
	cmd := &cobra.Command{
		Use: "renew FILE.crt… --ca DIR", Short: "Renew certificates in place: the same names and use, new keys",
		Long: `Renew certificates in place: the same names and use, new keys.

FILE.crt and FILE.key are replaced, owners and modes stay. The appliance takes its
own in within seconds, without a dropped connection, but for a key that is a systemd
credential: that is encrypted anew, and read when the unit starts. What breaks off
here in between is put right by running it again. An API key that is bound to the old certificate's fingerprint
needs the new one's, which 'mintwarden cert show' prints.`,
		Example: "  mintwarden cert renew /etc/mintwarden/tls/api-ecdsa.crt /etc/mintwarden/tls/api-mldsa.crt --ca /media/vault/ca",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringVar(&ca, "ca", "", "directory of the roots")
	required(cmd, "ca")
	return c.leaf(cmd, func(_ context.Context, args []string) error {
		r, err := loadRoots(ca)
		if err != nil {
			return err
		}
		for _, path := range args {
			stem, ok := strings.CutSuffix(path, ".crt")
			if !ok {
				return usagef("%s: want a file that ends in .crt, beside its .key", path)
			}
			old, root, err := readLeaf(path, r)
			if err != nil {
				return err
			}
			pair, err := root.Renew(old)
			if err != nil {
				return err
			}
			if err := writePair(filepath.Dir(path), filepath.Base(stem), pair); err != nil {
				return err
			}
			c.say("%s is renewed", path)
		}
		return c.written(args...)
	})
}

// Revocation lists, beside the roots.
const (
	classicList = "crl-ecdsa.pem"
	quantumList = "crl-mldsa.pem"
)

func (c *cli) certRevoke() *cobra.Command {
	var ca string
	cmd := &cobra.Command{
		Use: "revoke [FILE.crt…] --ca DIR", Short: "Revoke certificates; without any, make the lists anew before they are due",
		Long: `Revoke certificates; without any, make the lists anew before they are due.

DIR gets crl-ecdsa.pem and crl-mldsa.pem, which the appliance reads where its
api.client_crl names them: who holds a revoked certificate is cut off within a
minute, connected or not. A list is good for 90 days.`,
		Example: "  mintwarden cert revoke lost-laptop-ecdsa.crt --ca /media/vault/ca", Args: cobra.ArbitraryArgs,
	}
	cmd.Flags().StringVar(&ca, "ca", "", "directory of the roots")
	required(cmd, "ca")
	return c.leaf(cmd, func(_ context.Context, args []string) error {
		r, err := loadRoots(ca)
		if err != nil {
			return err
		}
		revoked := map[*pki.CA][]*x509.Certificate{}
		for _, path := range args {
			leaf, root, err := readLeaf(path, r)
			if err != nil {
				return err
			}
			revoked[root] = append(revoked[root], leaf)
		}
		lists := listed[writtenList]{}
		for _, l := range []struct {
			file string
			root *pki.CA
		}{{classicList, r.classic}, {quantumList, r.quantum}} {
			path := filepath.Join(ca, l.file)
			old, err := os.ReadFile(path)
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			list, err := l.root.Revoke(old, revoked[l.root]...)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := writeWhole(path, list, 0o644, nil); err != nil {
				return err
			}
			c.say("%s is written; %d added", path, len(revoked[l.root]))
			lists.Data = append(lists.Data, writtenList{path, len(revoked[l.root])})
		}
		if c.json {
			return c.showJSON(lists)
		}
		return nil
	})
}

// writtenList is what --json prints of a revocation list.
type writtenList struct {
	File  string `json:"file"`
	Added int    `json:"added"`
}

// certificateSeen is what show prints of a certificate.
type certificateSeen struct {
	File        string   `json:"file"`
	Name        string   `json:"name"`
	Algorithm   string   `json:"algorithm"`
	Hosts       []string `json:"hosts,omitzero"`
	Issuer      string   `json:"issuer"`
	Ends        string   `json:"ends"`
	Days        int      `json:"days"` // until then, below zero if it has ended
	Fingerprint string   `json:"fingerprint"`
}

func (c *cli) certShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show FILE…", Short: "Show certificates: names, days left, and the fingerprint that API keys are bound to",
		Example: "  mintwarden cert show mint-service-ecdsa.crt", Args: cobra.MinimumNArgs(1),
	}
	return c.leaf(cmd, func(_ context.Context, args []string) error {
		all, err := seenIn(args)
		if err != nil {
			return err
		}
		return c.show(listed[certificateSeen]{all}, func() *rows {
			r := &rows{header: []string{"name", "algorithm", "hosts", "issuer", "ends", "days", "fingerprint"}, spare: []string{"issuer"}}
			for _, s := range all {
				r.add(s.Name, s.Algorithm, strings.Join(s.Hosts, " "), s.Issuer, s.Ends, fmt.Sprint(s.Days), s.Fingerprint)
			}
			return r
		})
	})
}

func seenIn(paths []string) ([]certificateSeen, error) {
	var all []certificateSeen
	for _, path := range paths {
		leaf, err := readCertificate(path)
		if err != nil {
			return nil, err
		}
		all = append(all, seenOf(path, leaf))
	}
	return all, nil
}

// written is what --json prints of certificates that were made; people were told of each.
func (c *cli) written(paths ...string) error {
	if !c.json {
		return nil
	}
	all, err := seenIn(paths)
	if err != nil {
		return err
	}
	return c.showJSON(listed[certificateSeen]{all})
}

func seenOf(path string, leaf *x509.Certificate) certificateSeen {
	sum := sha256.Sum256(leaf.Raw)
	s := certificateSeen{
		File: path, Name: leaf.Subject.CommonName, Algorithm: leaf.PublicKeyAlgorithm.String(), Hosts: leaf.DNSNames, Issuer: leaf.Issuer.CommonName,
		Ends: stamp(leaf.NotAfter), Days: int(time.Until(leaf.NotAfter).Hours() / 24), Fingerprint: hex.EncodeToString(sum[:]),
	}
	for _, ip := range leaf.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	return s
}
