package dev

import (
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// identity is a demo user: somebody with a bearer key, and, for those who
// sign, a key pair of their own.
type identity struct {
	name string
	role registry.UserRole
	// files is where the identity's files lie, without the ending.
	files string
	// alg of the signing key; empty for those who sign nothing.
	alg policy.Algorithm
}

// identities are formats.md's: three kinds of key among three approvers and
// three custodians, so that every one is in daily use.
func identities() []identity {
	return []identity{
		{"operator", registry.Operator, "keys/operator", ""},
		{"admin", registry.Admin, "keys/admin", ""},
		{"viewer", registry.Viewer, "keys/viewer", ""},
		{"approver-1", registry.Approver, "approvers/approver-1", policy.ECDSAP256},
		{"approver-2", registry.Approver, "approvers/approver-2", policy.Ed25519},
		{"approver-3", registry.Approver, "approvers/approver-3", policy.MLDSA65},
		{"custodian-1", registry.Custodian, "custodians/custodian-1", policy.ECDSAP256},
		{"custodian-2", registry.Custodian, "custodians/custodian-2", policy.Ed25519},
		{"custodian-3", registry.Custodian, "custodians/custodian-3", policy.MLDSA65},
	}
}

// makeIdentities draws users, bearer keys and signing keys, unless they are
// there. bootstrap.json is written last: its presence says that all are whole.
func (d *directory) makeIdentities() (*registry.FirstUsers, error) {
	if d.exists("config", "bootstrap.json") {
		return d.readBootstrap()
	}
	b := &registry.FirstUsers{Format: 1}
	for _, i := range identities() {
		bearer := registry.NewBearer(false)
		b.Users = append(b.Users, registry.FirstUser{ID: store.NewID("user_"), Name: i.name, Role: i.role,
			Credential: registry.FirstCredential{ID: bearer.CredentialID, Hash: bearer.Hash, Label: "dev " + i.name}})
		if err := d.write([]byte(bearer.Key+"\n"), i.files+".apikey"); err != nil {
			return nil, err
		}
		if i.alg == "" {
			continue
		}
		private, public, err := policy.GenerateKeyPEM(i.alg)
		if err != nil {
			return nil, fmt.Errorf("dev: key of %s: %w", i.name, err)
		}
		if err := d.noteMadeHere(private); err != nil {
			return nil, fmt.Errorf("dev: key of %s: %w", i.name, err)
		}
		if err := d.write(private, i.files+".key"); err != nil {
			return nil, err
		}
		if err := d.write(public, i.files+".pub"); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	return b, d.write(text, "config", "bootstrap.json")
}

// noteMadeHere tells the seal that this appliance made the key, before there is a
// file with it: no production charter over this state takes it for a person's.
func (d *directory) noteMadeHere(private []byte) error {
	s, err := policy.LoadSignerPEM(private)
	if err != nil {
		return err
	}
	return seal.NoteMadeHere(d.path("seal"), s.Public())
}

func (d *directory) readBootstrap() (*registry.FirstUsers, error) {
	text, err := d.read("config", "bootstrap.json")
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	return registry.ParseFirstUsers(text)
}

func (d *directory) signer(i identity) (*policy.Signer, error) {
	text, err := d.read(i.files + ".key")
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	s, err := policy.LoadSignerPEM(text)
	if err != nil {
		return nil, fmt.Errorf("dev: key of %s: %w", i.name, err)
	}
	return s, nil
}

// signing are the identities with a key, of one role.
func signing(role registry.UserRole) []identity {
	var out []identity
	for _, i := range identities() {
		if i.role == role {
			out = append(out, i)
		}
	}
	return out
}
