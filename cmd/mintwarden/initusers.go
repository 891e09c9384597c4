package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy"
)

// firstUsers is users.json of the work directory, and, with the hashes of their
// bearer keys, bootstrap.json, which serve takes once while it has no user
// (formats.md, “First start”). It holds no secret.
type firstUsers struct {
	Format int         `json:"format"`
	Users  []firstUser `json:"users"`
}

type firstUser struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Role       string          `json:"role"`
	Credential firstCredential `json:"credential,omitzero"`
}

type firstCredential struct {
	ID    string `json:"id"`
	Hash  string `json:"hash"` // of the secret part of the bearer key
	Label string `json:"label"`
}

// The roles of first users, as the API names them.
const (
	roleAdmin     = "admin"
	roleCustodian = "custodian"
	roleApprover  = "approver"
)

func (u *firstUsers) id(name string) (string, bool) {
	for _, x := range u.Users {
		if x.Name == name {
			return x.ID, true
		}
	}
	return "", false
}

// drawUsers draws ids, which charter 1 names, once.
func (f *founding) drawUsers(context.Context) error {
	var have firstUsers
	err := readStored(f.plan.Work, workUsers, &have)
	if err == nil {
		f.users = &have
		return f.sameUsers()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.users = f.wantedUsers()
	return replace(f.plan.Work, workUsers, f.users)
}

func (f *founding) wantedUsers() *firstUsers {
	u := &firstUsers{Format: 1}
	add := func(name, role string) {
		u.Users = append(u.Users, firstUser{ID: newID("user"), Name: name, Role: role})
	}
	add(f.plan.Admin, roleAdmin)
	for _, m := range f.plan.Custodians.Members {
		add(m.Name, roleCustodian)
	}
	for _, p := range f.plan.Persons {
		add(p.Name, roleApprover)
	}
	return u
}

func (f *founding) sameUsers() error {
	want := f.wantedUsers()
	same := len(want.Users) == len(f.users.Users)
	for n := 0; same && n < len(want.Users); n++ {
		same = want.Users[n].Name == f.users.Users[n].Name && want.Users[n].Role == f.users.Users[n].Role
	}
	if !same {
		return refused("%s has other people than the ceremony's file: it changed since; take %s away to draw users anew", f.path(workUsers), f.path(workUsers))
	}
	return nil
}

func newID(prefix string) string { return prefix + "_" + ulid.Make().String() }

// bearer is a user's API key, shown once.
type bearer struct {
	User        string `json:"user"`
	Role        string `json:"role"`
	Key         string `json:"key"`
	Certificate string `json:"certificate"` // PEM
	PrivateKey  string `json:"privateKey"`  // PEM, PKCS #8
}

// secretSize is of a bearer key's secret part, in bytes.
const secretSize = 32

// newBearer draws a bearer key as serve reads it: qcs_live_<credential>_<secret>.
func newBearer(u *firstUser, environment policy.Environment) *bearer {
	raw := make([]byte, secretSize)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	defer clear(raw)
	secret := base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(secret))
	id := newID("cred")
	u.Credential = firstCredential{ID: id, Hash: "sha256:" + hex.EncodeToString(sum[:]), Label: "first key"}
	kind := map[policy.Environment]string{policy.Production: "live", policy.Dev: "test"}[environment]
	return &bearer{User: u.Name, Role: u.Role, Key: "qcs_" + kind + "_" + id[len("cred_"):] + "_" + secret}
}

// handOver makes the first users' keys and certificates and gives them out, then
// leaves bootstrap.json: a crash between draws new ones, and those before are void.
func (f *founding) handOver(context.Context) error {
	if exists(f.plan.Bootstrap) { // written behind the keys: those that were given out are good
		f.c.say("The first users' keys were given out by the run before this one.")
		return f.end(nil)
	}
	roots, err := f.roots()
	if err != nil {
		return err
	}
	var keys []*bearer
	for n := range f.users.Users {
		b := newBearer(&f.users.Users[n], f.plan.Environment)
		pair, err := roots.classic.IssueClient(b.User, pki.ECDSAP256)
		if err != nil {
			return err
		}
		b.Certificate, b.PrivateKey = string(pair.Certificate), string(pair.Key)
		keys = append(keys, b)
	}
	if err := f.give(keys); err != nil {
		return err
	}
	if err := f.at("first keys given out"); err != nil {
		return err
	}
	text, err := json.Marshal(f.users, json.Deterministic(true))
	if err != nil {
		return err
	}
	if err := writeWhole(f.plan.Bootstrap, append(text, '\n'), 0o644, nil); err != nil {
		return err
	}
	if err := f.at("bootstrap.json written"); err != nil {
		return err
	}
	return f.end(keys)
}

// end marks the ceremony as over.
func (f *founding) end(keys []*bearer) error {
	if err := writeWhole(f.path(workDone), []byte(f.signed.PayloadDigest()+"\n"), 0o644, nil); err != nil {
		return err
	}
	return f.sayDone(keys)
}

// give writes keys and certificates where --keys says, or shows them.
func (f *founding) give(keys []*bearer) error {
	if f.opts.keys == "" {
		return f.showKeys(keys)
	}
	var files []secretFile
	for _, b := range keys {
		files = append(files, secretFile{b.User + ".apikey", []byte(b.Key + "\n")}, secretFile{b.User + ".crt", []byte(b.Certificate)},
			secretFile{b.User + ".key", []byte(b.PrivateKey)})
	}
	return f.writeSecrets("--keys", f.opts.keys, files)
}

func (f *founding) showKeys(keys []*bearer) error {
	if f.c.json {
		return f.showBegun(keys)
	}
	for _, b := range keys {
		w := f.c.out
		w.printf("\nThe API key, the client certificate and its key of %s (%s). They are shown this once:\n\n%s\n\n%s\n%s\n",
			printable(b.User), b.Role, b.Key, b.Certificate, b.PrivateKey)
	}
	return f.c.out.err
}

// begunInstance is what --json prints of init.
type begunInstance struct {
	Instance    string        `json:"instance"`
	ApplianceID string        `json:"applianceId"`
	Charter1    policy.Digest `json:"charter1"`
	Bootstrap   string        `json:"bootstrap"`
	Keys        []*bearer     `json:"keys,omitzero"` // without --keys
}

func (f *founding) showBegun(keys []*bearer) error {
	return f.c.showJSON(begunInstance{Instance: f.plan.Instance, ApplianceID: f.seal.Appliance, Charter1: f.signed.PayloadDigest(), Bootstrap: f.plan.Bootstrap, Keys: keys})
}

func (f *founding) sayDone(keys []*bearer) error {
	c, digest := f.c, f.signed.PayloadDigest()
	switch {
	case c.json && keys != nil && f.opts.keys == "":
		return nil // it stands there with the keys, which are shown before they count
	case c.json:
		return f.showBegun(nil)
	}
	c.say("")
	c.say("Instance %s has begun.", f.plan.Instance)
	c.say("Every custodian keeps: their share, their signing key, and the digest %s.", digest)
	c.say("Everybody who uses this program keeps that digest too (--charter1) and %s.", filepath.Join(f.plan.TLS.Dir, "ca.crt"))
	if f.opts.keys != "" {
		c.say("The files in %s go to those whose name they bear, each to one person, and from here.", f.opts.keys)
	}
	c.say("serve takes its first users from %s when it starts.", f.plan.Bootstrap)
	return nil
}
