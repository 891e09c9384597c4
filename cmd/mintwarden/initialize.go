package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/awnumar/memguard"
	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Files of a ceremony's work directory. None holds a secret.
const (
	workWritten    = "written.json"     // digests of the files with shares and keys that were written
	workUsers      = "users.json"       // ids and names of the first users
	workCharter    = "charter1.json"    // the exact bytes that every custodian signs
	workSigned     = "charter1.signed"  // the envelope, with the signatures so far
	workSignatures = "signatures"       // envelopes that custodians bring from their own machines
	workRequest    = "unseal.json"      // what custodians encrypt their shares to
	workShares     = "unseal"           // envelopes with encrypted shares that they bring
	workDigest     = charter1File       // charter 1's digest
	workDone       = "done"             // the ceremony ended
	privateDir     = fs.FileMode(0o700) // of what is the ceremony's alone
)

// founding is one run of the ceremony that begins an instance, or lets an
// appliance join one. Each of its steps finds out whether it is done, so a run
// that ended anywhere goes on where it was when it is run again.
type founding struct {
	c    *cli
	plan *ceremony
	seal *sealConfig
	door *seal.Client
	opts initFlags

	people  *policy.Charter // custodians, persons and groups, their keys read
	pins    *tokenPINs      // drawn in this run, else nil
	signers map[string]*policy.Signer
	me      *seal.InitResult
	users   *firstUsers
	signed  *policy.Envelope // charter 1

	// at is called at each point where a crash leaves something to go on from. Tests
	// end a run there.
	at func(point string) error
}

// tokenPINs are in locked memory from their drawing to the end of the run.
type tokenPINs struct{ user, so *memguard.LockedBuffer }

func (p *tokenPINs) destroy() {
	if p != nil {
		p.user.Destroy()
		p.so.Destroy()
	}
}

type initFlags struct {
	config     string
	backedUp   bool
	yes        bool
	shares     string // directory
	keys       string // directory
	join       bool
	credential string // file
	loadedAs   string // the credential's name; empty: the file's
	custody    string // custody.json of another appliance
	oldShares  string // directory
	document   string
}

func (c *cli) initCommand() *cobra.Command {
	var o initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Begin an instance: token, custodians' shares, charter 1, first users",
		Long: `Begin an instance: token, custodians' shares, charter 1, first users.

It runs on the appliance, as root or as the seal's own user, beside a seal that
was just started, and does in this order:

  1. draws the token's PINs, which nobody ever sees, encrypts them, and splits the
     key among the custodians: each keeps one share, a threshold of them unseals
  2. initializes the token with the label that seal.toml names
  3. unseals with a threshold of the shares, which proves them
  4. has the seal make its keys in the token
  5. writes charter 1, which every custodian reads and signs
  6. writes the digest of charter 1 into seal.toml, and charter 1 into the ledger
  7. makes the first users' keys and client certificates, and shows them once

What is agreed on stands in a file (--config, see configuration.md), or is asked for at
the terminal and written to ceremony.toml. A custodian whose key is not reachable
from here signs elsewhere: the command says with what, and goes on when it is run
again. It also goes on after a crash, and refuses once all is done.

Keys that are made in the token never leave it. Without a backup of the token
itself, by its vendor's tools, they are lost with it, and the control of every
token whose ADMIN they hold. --token-backed-up says that this is arranged.`,
		Example: `  mintwarden init --config ceremony.toml --token-backed-up
  mintwarden init --config ceremony.toml --token-backed-up --shares /media/shares --keys /media/keys
  mintwarden init --join --config ceremony.toml --token-backed-up --document join.json`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "what was agreed on, ceremony.toml; without it you are asked at the terminal")
	f.BoolVar(&o.backedUp, "token-backed-up", false, "the token is backed up by its vendor's tools, or will be before it matters")
	f.BoolVar(&o.yes, "yes", false, "sign charter 1 with the keys that the file names without asking")
	f.StringVar(&o.shares, "shares", "", "write each custodian's share into this directory, and read it there, instead of the terminal")
	f.StringVar(&o.keys, "keys", "", "write the first users' keys and certificates into this directory instead of showing them")
	f.StringVar(&o.credential, "credential", "", "also leave the user PIN as an encrypted systemd credential in this file, for an unattended start")
	f.StringVar(&o.loadedAs, "credential-name", "", "with --credential: how systemd calls it, such as seal_pin (default: the file's name without its ending)")
	f.BoolVar(&o.join, "join", false, "let this appliance join the instance that is there")
	f.StringVar(&o.custody, "custody", "", "with --join: custody.json of an appliance that uses the same token, or of whose token this one's is a copy")
	f.StringVar(&o.oldShares, "old-shares", "", "with --custody: directory of the shares for that appliance")
	f.StringVar(&o.document, "document", "", "with --join: the document that custodians sign, with the signatures so far")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.initialize(ctx, o) })
}

func (c *cli) initialize(ctx context.Context, o initFlags) error {
	if !o.backedUp {
		return usagef("keys that are made in the token never leave it: without a backup of the token itself they are lost with it, and so is every ADMIN role that they hold; set up that backup by the vendor's tools, then say --token-backed-up")
	}
	f, err := c.founding(ctx, o)
	if err != nil {
		return err
	}
	defer f.close()
	if o.join {
		return f.joinInstance(ctx)
	}
	return f.found(ctx)
}

// founding reads everything that was agreed on, before anything is changed.
func (c *cli) founding(ctx context.Context, o initFlags) (*founding, error) {
	if o.config == "" {
		path, err := c.askCeremony(ctx)
		if err != nil {
			return nil, err
		}
		o.config = path
	}
	plan, err := loadCeremony(o.config)
	if err != nil {
		return nil, err
	}
	config, err := loadSealConfig(plan.SealConfig)
	if err != nil {
		return nil, err
	}
	if config.PIN.File != "" {
		return nil, usagef("%s: [pin] file = %q: the PINs are drawn and split among the custodians, so there is no such file; take the line away and start the seal again", plan.SealConfig, config.PIN.File)
	}
	f := &founding{c: c, plan: plan, seal: config, opts: o, signers: map[string]*policy.Signer{}, at: c.point}
	if f.at == nil {
		f.at = func(string) error { return nil }
	}
	if f.people, err = c.gatherPeople(ctx, plan); err != nil {
		return nil, err
	}
	if f.door, err = seal.Dial(ctx, config.Socket); err != nil {
		return nil, usage(err)
	}
	return f, os.MkdirAll(plan.Work, privateDir)
}

func (f *founding) close() {
	f.pins.destroy()
	_ = f.door.Close() // nothing is under way
}

func (f *founding) path(elements ...string) string {
	return filepath.Join(append([]string{f.plan.Work}, elements...)...)
}

// step is a part of the ceremony. It does what is not done yet and says so.
type step struct {
	name string
	do   func(context.Context) error
}

func (f *founding) found(ctx context.Context) error {
	if err := f.begun(ctx); err != nil {
		return err
	}
	if err := f.rootsAtHand(); err != nil {
		return err
	}
	return f.run(ctx, []step{
		{"shares", f.splitPINs},
		{"token", f.makeToken},
		{"unsealed", f.unseal},
		{"credential", f.writeCredential},
		{"keys", f.makeKeys},
		{"users", f.drawUsers},
		{"charter 1 written", f.writeCharter},
		{"charter 1 signed", f.signCharter},
		{"charter 1 named", f.nameCharter},
		{"charter 1 in force", f.applyCharter},
		{"first users", f.handOver},
	})
}

func (f *founding) run(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return err
		}
		if err := f.at(s.name); err != nil {
			return err
		}
	}
	return nil
}

// begun refuses an appliance that is another ceremony's, or whose ceremony is
// over.
func (f *founding) begun(ctx context.Context) error {
	status, err := f.door.Status(ctx)
	if err != nil {
		return sealAway(f.seal.Socket, err)
	}
	if status.ApplianceID != f.seal.Appliance {
		return usagef("%s is of appliance %s, the seal at %s is of %s", f.plan.SealConfig, f.seal.Appliance, f.seal.Socket, status.ApplianceID)
	}
	var there []string
	if status.Initialized {
		there = append(there, fmt.Sprintf("a ledger of instance %s at batch %d", status.Instance, status.Sequence))
	}
	if f.seal.Charter1 != "" {
		there = append(there, fmt.Sprintf("charter 1 %s in %s", f.seal.Charter1, f.plan.SealConfig))
	}
	if exists(f.plan.Bootstrap) {
		there = append(there, "the first users in "+f.plan.Bootstrap)
	}
	if len(there) == 0 {
		return nil
	}
	document, err := os.ReadFile(f.path(workCharter))
	ours := err == nil && (f.seal.Charter1 == "" || policy.DigestOf(document) == f.seal.Charter1)
	if ours && !exists(f.path(workDone)) {
		return nil
	}
	return refused("this appliance has begun already: there is %s; nothing was changed", list(there))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sealAway says that the seal does not answer at its socket.
func sealAway(socket string, err error) error {
	if errors.Is(err, seal.ErrUnreachable) {
		err = fmt.Errorf("the seal does not answer at %s: %w; start it first (mintwarden-seal --config …)", socket, err)
		return &codedError{exitUnreachable, err}
	}
	return err
}

// sealPatience is how long the seal's worker may take to come back: it opens the
// token and folds the ledger first.
const sealPatience = time.Minute

// sealPoll is how often it is asked meanwhile.
const sealPoll = 50 * time.Millisecond

// await asks the seal until its state is the one that is waited for.
func (f *founding) await(ctx context.Context, what string, ready func(*seal.Status) bool) (*seal.Status, error) {
	return awaitSeal(ctx, f.door, f.seal.Socket, what, ready)
}

func awaitSeal(ctx context.Context, door *seal.Client, socket, what string, ready func(*seal.Status) bool) (*seal.Status, error) {
	patient, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	tick := time.NewTicker(sealPoll)
	defer tick.Stop()
	why := "it does not answer"
	for {
		status, err := door.Status(patient)
		switch {
		case err == nil && ready(status):
			return status, nil
		case err == nil:
			why = status.Why
		case !errors.Is(err, seal.ErrUnreachable) && patient.Err() == nil:
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.New("interrupted")
		case <-patient.Done():
			return nil, refused("the seal at %s is not %s after %s: %s", socket, what, sealPatience, why)
		}
	}
}

// quiet is for packages that log; what matters is said by the command.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
