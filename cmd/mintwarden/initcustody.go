package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// splitPINs draws both PINs, hands every custodian a share and leaves
// custody.json with the seal. The shares go out first: a crash before custody.json
// makes them void, a crash behind it loses nothing.
func (f *founding) splitPINs(ctx context.Context) error {
	have, err := seal.ReadCustody(f.seal.State)
	if err == nil {
		return f.sameCustody(have)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("custody of the PINs: %w", err)
	}
	if path := f.opts.credential; path != "" && exists(path) {
		return refused("%s is there, and is not of this ceremony's PIN; take it away, or name another file with --credential", path)
	}
	if f.opts.custody != "" {
		if err := f.pinsOfAnother(ctx); err != nil {
			return err
		}
	} else if there, err := f.findToken(ctx); err != nil {
		return err
	} else if there.Found {
		return refused("a token with label %q is there already (serial %s), and its PINs are not in custody here; init makes its own: choose another label in %s", f.seal.HSM.Token, there.Serial, f.plan.SealConfig)
	}
	if f.pins == nil {
		if f.pins, err = drawPINs(f.plan.PINLength); err != nil {
			return err
		}
	}
	pins := f.pins
	custody, shares, err := seal.NewCustody(f.plan.Instance, f.seal.Appliance, f.people.Custodians, pins.user.Bytes(), pins.so.Bytes(), time.Now())
	if err != nil {
		return err
	}
	defer destroyShares(shares)
	if err := f.handShares(ctx, custody, shares); err != nil {
		return err
	}
	if err := f.at("shares handed out"); err != nil {
		return err
	}
	if err := seal.WriteCustody(f.seal.State, custody); err != nil {
		return fmt.Errorf("custody of the PINs: %w", err)
	}
	f.c.say("The token's PINs are drawn and split: %d of %d custodians unseal.", custody.Threshold, len(custody.Members))
	return nil
}

func drawPINs(length int) (*tokenPINs, error) {
	user, err := seal.DrawPIN(length)
	if err != nil {
		return nil, err
	}
	so, err := seal.DrawPIN(length)
	if err != nil {
		user.Destroy()
		return nil, err
	}
	return &tokenPINs{user, so}, nil
}

// sameCustody refuses a custody that another ceremony made.
func (f *founding) sameCustody(have *seal.Custody) error {
	want := f.people.Custodians
	same := have.Instance == f.plan.Instance && have.ApplianceID == f.seal.Appliance && have.Threshold == int(want.Threshold) && len(have.Members) == len(want.Members)
	for n := range have.Members {
		same = same && have.Members[n].Name == want.Members[n].Name && equalKeys(have.Members[n].Keys, want.Members[n].Keys)
	}
	if !same {
		return refused("%s holds the PINs of appliance %s of instance %s, split %d of %d, with other custodians or another threshold than the ceremony's; it is never replaced, for its token's PINs would be gone",
			filepath.Join(f.seal.State, seal.CustodyFile), have.ApplianceID, have.Instance, have.Threshold, len(have.Members))
	}
	return nil
}

func equalKeys(a, b []policy.PublicKey) bool {
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		if a[n] != b[n] {
			return false
		}
	}
	return true
}

func destroyShares(shares map[string]seal.Share) {
	for _, s := range shares {
		s.Destroy()
	}
}

// handShares gives each custodian their own share: in a file, or at the terminal,
// one after the other.
func (f *founding) handShares(ctx context.Context, custody *seal.Custody, shares map[string]seal.Share) error {
	if f.opts.shares != "" {
		return f.writeShares(custody, shares)
	}
	if !f.c.terminal() {
		return usagef("%w their share; use --shares DIR to have the shares written to files", errNoTerminal)
	}
	for _, m := range custody.Members {
		if err := f.showShare(ctx, custody, m.Name, shares[m.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (f *founding) writeShares(custody *seal.Custody, shares map[string]seal.Share) error {
	var files []secretFile
	defer func() {
		for _, s := range files {
			clear(s.text)
		}
	}()
	for _, m := range custody.Members {
		files = append(files, secretFile{m.Name + shareEnding, append(shares[m.Name].Encode(), '\n')})
	}
	if err := f.writeSecrets("--shares", f.opts.shares, files); err != nil {
		return err
	}
	f.c.say("Each custodian keeps the file of their name in %s, where nobody else can read it, and takes it away from here once this command has ended.", f.opts.shares)
	return nil
}

// shareEnding is of a share's file, which has its custodian's name.
const shareEnding = ".share"

func shareFile(dir, custodian string) string { return filepath.Join(dir, custodian+shareEnding) }

// clearScreen empties a terminal and what can be scrolled back to.
const clearScreen = "\x1b[2J\x1b[3J\x1b[H"

// showShare shows a share to one custodian, who types it back, so that a slip of
// the pen is found now and not when the appliance waits for it.
func (f *founding) showShare(ctx context.Context, custody *seal.Custody, custodian string, s seal.Share) error {
	c := f.c
	if _, err := c.typed(ctx, fmt.Sprintf("%s comes to the terminal, alone, and presses Enter:", custodian)); err != nil {
		return err
	}
	text := s.Encode()
	defer clear(text)
	w := c.people()
	w.printf("\nThis is the share of %s. Keep it where nobody else can read it; nobody can tell it again.\n\n  ", printable(custodian))
	_, _ = w.Write(text) // the printer remembers a failure
	w.printf("\n\n")
	defer w.printf("%s", clearScreen)
	for {
		back, err := c.hidden(ctx, "Type it back from what you keep")
		if err != nil {
			return err
		}
		given, err := seal.ParseShare(back)
		clear(back)
		if err == nil {
			err = custody.CheckShare(custodian, given)
			given.Destroy()
		}
		if err == nil {
			return w.err
		}
		w.printf("%s\n", printable(err.Error()))
	}
}

// share is a custodian's, from the file of their name in the directory or, without
// one, from what they type. The caller destroys it.
func (f *founding) share(ctx context.Context, custody *seal.Custody, dir, custodian string) (seal.Share, error) {
	var s seal.Share
	var err error
	if dir != "" {
		s, err = readShare(shareFile(dir, custodian))
	} else {
		s, err = f.c.typedShare(ctx, custodian)
	}
	if err != nil {
		return seal.Share{}, err
	}
	if err := custody.CheckShare(custodian, s); err != nil {
		s.Destroy()
		return seal.Share{}, err
	}
	return s, nil
}

// maxShare bounds a share's file in bytes; its text has 78 characters.
const maxShare = 1024

// readShare reads a share's file, which nobody but its owner may be able to read.
func readShare(path string) (seal.Share, error) {
	f, err := os.Open(path)
	if err != nil {
		return seal.Share{}, usagef("share: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return seal.Share{}, err
	}
	if err := unreadable("share", path, info, 0o077); err != nil {
		return seal.Share{}, err
	}
	text := memguard.NewBuffer(maxShare)
	defer text.Destroy()
	n := 0
	for n < maxShare {
		got, err := f.Read(text.Bytes()[n:])
		n += got
		if err != nil {
			break // at the end; anything else leaves no share
		}
	}
	s, err := seal.ParseShare(bytes.TrimSpace(text.Bytes()[:n]))
	if err != nil {
		return seal.Share{}, usagef("share %s: %w", path, err)
	}
	return s, nil
}

// typedShare is a share that a custodian types without its being shown.
func (c *cli) typedShare(ctx context.Context, custodian string) (seal.Share, error) {
	for {
		text, err := c.hidden(ctx, "The share of "+custodian)
		if err != nil {
			return seal.Share{}, err
		}
		s, err := seal.ParseShare(text)
		clear(text)
		if err == nil {
			return s, nil
		}
		c.people().printf("%s\n", printable(err.Error()))
	}
}

// openPINs is what a run does that goes on after a crash and needs the PINs again:
// a threshold of custodians brings them back.
func (f *founding) openPINs(ctx context.Context) error {
	if f.pins != nil {
		return nil
	}
	custody, err := seal.ReadCustody(f.seal.State)
	if err != nil {
		return err
	}
	f.c.say("The PINs are in custody; %d of %d custodians bring them back.", custody.Threshold, len(custody.Members))
	f.pins, err = f.openCustody(ctx, custody, f.opts.shares)
	return err
}

// pinsOfAnother takes the PINs of a token that another appliance uses too, or of
// which this one's is a copy, from that appliance's custody.
func (f *founding) pinsOfAnother(ctx context.Context) error {
	text, err := os.ReadFile(f.opts.custody)
	if err != nil {
		return usagef("--custody: %w", err)
	}
	custody, err := seal.ParseCustody(text)
	if err != nil {
		return usagef("--custody %s: %w", f.opts.custody, err)
	}
	f.c.say("The PINs are those of appliance %s; %d of %d custodians bring them with their shares for it.", custody.ApplianceID, custody.Threshold, len(custody.Members))
	f.pins, err = f.openCustody(ctx, custody, f.opts.oldShares)
	return err
}

// openCustody brings a threshold of shares together, from the files of a directory
// or as custodians type them.
func (f *founding) openCustody(ctx context.Context, custody *seal.Custody, dir string) (*tokenPINs, error) {
	shares := map[string]seal.Share{}
	defer func() { destroyShares(shares) }()
	for _, m := range custody.Members {
		if len(shares) == custody.Threshold {
			break
		}
		if dir != "" && !exists(shareFile(dir, m.Name)) {
			continue
		}
		s, err := f.share(ctx, custody, dir, m.Name)
		if err != nil {
			return nil, err
		}
		shares[m.Name] = s
	}
	user, so, err := custody.Open(shares)
	if err != nil {
		return nil, err
	}
	return &tokenPINs{user, so}, nil
}
