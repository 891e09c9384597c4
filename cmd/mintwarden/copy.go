package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// The files of an instance's directory, $XDG_STATE_HOME/mintwarden/<instance>.
const (
	lockFile   = "lock"   // held by whoever reads or writes the others
	ledgerFile = "ledger" // every verified batch's exact bytes, each with a newline behind it
	headFile   = "head"   // where the verified copy ends; written last
	auditFile  = "audit"  // the newest audit entry that 'audit verify' saw
)

// ledgerCopy is this user's verified copy of an instance's ledger.
//
// What follows the size that the head file names was not promised to anybody: a
// crash before the head was replaced leaves it, and the next one cuts it off.
// Up to there every byte is verified again from charter 1 on each time it is
// read, and what the appliance serves must go on from it. So an appliance that
// once showed this user a batch can neither take it back nor show another in
// its place.
type ledgerCopy struct {
	dir  string
	lock *os.File
	log  *os.File
	size int64 // of the verified part of log
	fold *ledger.Fold
	root policy.Digest
}

// storedHead is the head file.
type storedHead struct {
	Format   int           `json:"format"`
	Charter1 policy.Digest `json:"charter1"`
	Sequence uint64        `json:"sequence"`
	Head     policy.Digest `json:"head"`
	Size     int64         `json:"size"` // bytes of the ledger file
}

// stateHome is where copies lie (XDG Base Directory Specification: a relative
// $XDG_STATE_HOME is not used).
func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mintwarden"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("where the verified copy of the ledger is kept: %w; set XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local", "state", "mintwarden"), nil
}

// followLedger brings the copy that is rooted in charter 1's digest up to what
// the appliance serves, and gives its fold.
func followLedger(ctx context.Context, api *client.Client, root policy.Digest) (*ledger.Fold, string, error) {
	base, err := stateHome()
	if err != nil {
		return nil, "", err
	}
	instance, err := instanceOf(ctx, api, base, root)
	if err != nil {
		return nil, "", err
	}
	k, err := openCopy(ctx, filepath.Join(base, instance), root)
	if err != nil {
		return nil, "", err
	}
	defer k.close()
	if err := k.follow(ctx, api); err != nil {
		return nil, "", err
	}
	return k.fold, k.dir, nil
}

// instanceOf is the name of the instance whose charter 1 has the digest: that of
// a copy that is there, or else what charter 1 itself says.
func instanceOf(ctx context.Context, api *client.Client, base string, root policy.Digest) (string, error) {
	known, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("verified copies of ledgers: %w", err)
	}
	for _, entry := range known {
		if h, err := readHead(filepath.Join(base, entry.Name())); err == nil && h.Charter1 == root {
			return entry.Name(), nil
		}
	}
	from, one := int64(ledger.FirstSequence), 1
	page, err := api.GetLedger(ctx, client.GetLedgerParams{From: &from, Limit: &one})
	if err != nil {
		return "", err
	}
	if len(page.Data) == 0 {
		return "", unverified("the appliance serves no ledger, so nothing that it says can be verified; is it initialized?")
	}
	fold := ledger.NewFold(root)
	if _, err := fold.Apply(page.Data[0]); err != nil {
		return "", unverified("the appliance's ledger does not begin with charter 1 %s: %w; is it another appliance, or --charter1 another instance's?", root, err)
	}
	return fold.Instance(), nil
}

// openCopy locks the copy in dir, made if it is not there, and verifies it.
func openCopy(ctx context.Context, dir string, root policy.Digest) (*ledgerCopy, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("verified copy of the ledger: %w", err)
	}
	k := &ledgerCopy{dir: dir, fold: ledger.NewFold(root), root: root}
	if err := k.open(ctx); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *ledgerCopy) open(ctx context.Context) (err error) {
	if k.lock, err = lockIn(ctx, k.dir); err != nil {
		return err
	}
	if k.log, err = os.OpenFile(filepath.Join(k.dir, ledgerFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("verified copy of the ledger: %w", err)
	}
	h, err := readHead(k.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k.log.Truncate(0)
	case err != nil:
		return k.damaged(err)
	case h.Charter1 != k.root:
		return unverified("%s is the copy of an instance with charter 1 %s, not %s; if that instance is gone for good, move the directory away", k.dir, h.Charter1, k.root)
	}
	if err := k.load(h); err != nil {
		return k.damaged(err)
	}
	return k.log.Truncate(k.size)
}

// load verifies what is stored up to the head.
func (k *ledgerCopy) load(h *storedHead) error {
	r := bufio.NewReaderSize(io.LimitReader(k.log, h.Size), ledger.MaxBatch+1)
	for k.size < h.Size {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("behind byte %d: %w", k.size, err)
		}
		if _, err := k.fold.Apply(line[:len(line)-1]); err != nil {
			return err
		}
		k.size += int64(len(line))
	}
	if sequence, digest := k.fold.Head(); sequence != h.Sequence || digest != h.Head {
		return fmt.Errorf("it ends at batch %d, %s; its head file says %d, %s", sequence, digest, h.Sequence, h.Head)
	}
	return nil
}

func (k *ledgerCopy) damaged(err error) error {
	return unverified("the stored copy of the ledger, %s, does not verify: %w; somebody or a disk changed it: find out who before you move it away, "+
		"for without it the appliance could show you an older ledger", k.dir, err)
}

func (k *ledgerCopy) close() {
	if k.log != nil {
		k.log.Close()
	}
	if k.lock != nil {
		k.lock.Close() // which unlocks
	}
}

// follow verifies and stores what the appliance serves behind the copy's head.
// An error with exit code 5 says that it does not go on from there.
func (k *ledgerCopy) follow(ctx context.Context, api *client.Client) error {
	for {
		sequence, _ := k.fold.Head()
		from := int64(sequence) + 1
		page, err := api.GetLedger(ctx, client.GetLedgerParams{From: &from})
		if err != nil {
			return err
		}
		served := page.Head
		if served.Sequence < int64(sequence) {
			return unverified("the appliance serves a ledger that ends at batch %d; %s holds %d verified ones: batches were taken away, or this appliance "+
				"lags behind another of its cluster. If it does not catch up in a minute, trust nothing that it shows, and call the custodians", served.Sequence, k.dir, sequence)
		}
		if err := k.take(page.Data); err != nil {
			return err
		}
		reached, newest := k.fold.Head()
		switch {
		case reached == uint64(served.Sequence) && policy.Digest(served.Hash) != newest:
			return k.forked(fmt.Errorf("batch %d is %s there and %s here", reached, served.Hash, newest))
		case reached >= uint64(served.Sequence):
			return nil
		case reached == sequence:
			return unverified("the appliance says that its ledger ends at batch %d and serves none behind %d", served.Sequence, sequence)
		}
	}
}

// take verifies the values and stores them.
func (k *ledgerCopy) take(values [][]byte) error {
	before, _ := k.fold.Head()
	var text bytes.Buffer
	for _, value := range values {
		if _, err := k.fold.Apply(value); err != nil {
			var r *ledger.Refusal
			if head, _ := k.fold.Head(); head == before && before > 0 && errors.As(err, &r) && r.Reason == ledger.ReasonLink {
				return k.forked(err)
			}
			return unverified("the appliance serves a ledger that does not verify: %w; trust nothing that it shows, and call the custodians", err)
		}
		text.Write(value) // canonical JSON, which has no newline
		text.WriteByte('\n')
	}
	if len(values) == 0 {
		return nil
	}
	return k.store(text.Bytes())
}

func (k *ledgerCopy) forked(err error) error {
	return unverified("the appliance serves another ledger than the one that %s holds, verified: %w; one of them is forged: trust nothing that it shows, and call the custodians", k.dir, err)
}

// store appends and makes it count: write, fsync, then the head file replaced.
func (k *ledgerCopy) store(text []byte) error {
	if _, err := k.log.WriteAt(text, k.size); err != nil {
		return fmt.Errorf("verified copy of the ledger: %w", err)
	}
	if err := k.log.Sync(); err != nil {
		return fmt.Errorf("verified copy of the ledger: %w", err)
	}
	k.size += int64(len(text))
	sequence, digest := k.fold.Head()
	return replace(k.dir, headFile, storedHead{Format: 1, Charter1: k.root, Sequence: sequence, Head: digest, Size: k.size})
}

func readHead(dir string) (*storedHead, error) {
	var h storedHead
	if err := readStored(dir, headFile, &h); err != nil {
		return nil, err
	}
	if h.Format != 1 || !h.Charter1.Valid() || !h.Head.Valid() || h.Sequence == 0 || h.Size <= 0 {
		return nil, fmt.Errorf("%s is not a head", filepath.Join(dir, headFile))
	}
	return &h, nil
}

// readStored reads one of our small JSON files, strictly.
func readStored(dir, name string, into any) error {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// replace writes a small JSON file in one step that survives a crash: temporary
// file, fsync, rename, fsync of the directory.
func replace(dir, name string, v any) error {
	if err := replaceFile(dir, name, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

func replaceFile(dir, name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockIn waits until nobody else uses the directory. The lock goes with the
// file, also when the process is killed.
func lockIn(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("verified copy of the ledger: %w", err)
	}
	got := make(chan error, 1)
	go func() { got <- flock(int(f.Fd())) }()
	select {
	case err = <-got:
	case <-ctx.Done(): // the file stays open: the goroutine still waits on it, and the process ends
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", dir, err)
	}
	return f, nil
}

func flock(fd int) error {
	for {
		if err := syscall.Flock(fd, syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
