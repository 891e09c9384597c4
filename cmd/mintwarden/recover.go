package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// recovery is what is said on the command line.
type recovery struct {
	gathering
	socket string
	lanes  []string
}

func (c *cli) recoverCommand() *cobra.Command {
	var r recovery
	cmd := &cobra.Command{
		Use:   "recover --document FILE",
		Short: "Accept a lost or restored store, with the custodians' threshold",
		Long: `Accept a lost or restored store, with the custodians' threshold.

A seal refuses a store that does not hold all that it, or its token, has seen. If
that store is all there is, custodians may accept it: what came after it is given
up, every decision made before is void (the epoch rises), and every daily counter
stands at its limit until the next midnight, but for what the document states.

Begun on the appliance with --socket, where the seal says what is lost and what is
there. The document says where each wallet's nonces go on: at least where the
accepted ledger is, where this machine's own copy of the lost ledger was, and what
--lane says. Look at the chain first: a nonce that is too low signs what cannot be
mined; one too high leaves a gap that a CANCEL fills.

Then the document goes from one custodian to the next; it is handed in with
--socket once enough have signed.`,
		Example: `  mintwarden recover --socket /run/mintwarden-seal/seal.sock --document recover.json --lane wallet_01J…=17 --key carol.pem
  mintwarden recover --document recover.json --key ~/keys/dave.pem
  mintwarden recover --socket /run/mintwarden-seal/seal.sock --document recover.json --key erin.pem`,
		Args: none,
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.socket, "socket", "", "the seal's socket, on the appliance: there it is begun and handed in")
	f.StringSliceVar(&r.lanes, "lane", nil, "WALLET=NONCE: where a wallet goes on, if higher than what the ledgers say")
	required(cmd, "document")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if err := r.check(); err != nil {
			return err
		}
		return c.recover(ctx, &r)
	})
}

func (c *cli) recover(ctx context.Context, r *recovery) error {
	signer, err := r.signer(ctx, c)
	if err != nil {
		return err
	}
	root, err := c.root()
	if err != nil {
		return err
	}
	accepted, err := c.acceptedFold(ctx, root)
	if err != nil {
		return err
	}
	lost, err := c.lostFold(ctx, root, accepted)
	if err != nil {
		return err
	}
	charter, _ := accepted.Charter()
	a := act{kind: policy.DocRecover, need: int(charter.Custodians.Threshold), next: "mintwarden recover"}
	a.draft = func() (interface{ Encode() ([]byte, error) }, error) { return c.draftRecover(ctx, r, accepted, lost) }
	a.show = func(payload []byte) error {
		if err := r.said(payload); err != nil {
			return err
		}
		return c.showRecover(payload, accepted, lost)
	}
	a.apply = func(ctx context.Context, e *policy.Envelope) error { return c.applyRecover(ctx, r.socket, e) }
	if r.socket == "" {
		a.elsewhere = ": mintwarden recover"
	}
	return c.gather(ctx, &r.gathering, a, charter, signer)
}

func (c *cli) applyRecover(ctx context.Context, socket string, e *policy.Envelope) error {
	door, err := seal.Dial(ctx, socket)
	if err != nil {
		return usage(err)
	}
	defer door.Close()
	done, err := door.Recover(ctx, e)
	if err != nil {
		return sealAway(socket, err)
	}
	c.say("Recovered: batch %d. Everything that was not signed has to be asked for again.", done.Sequence)
	return nil
}

// acceptedFold is the store's ledger as the appliance serves it, verified from
// charter 1 on. It is not this machine's copy, which may know more: that is what
// was lost.
func (c *cli) acceptedFold(ctx context.Context, root policy.Digest) (*ledger.Fold, error) {
	api, err := c.connect()
	if err != nil {
		return nil, err
	}
	fold := ledger.NewFold(root)
	for value, err := range api.Batches(ctx, int64(ledger.FirstSequence)) {
		if err != nil {
			return nil, err
		}
		if _, err := fold.Apply(value); err != nil {
			return nil, unverified("the store's ledger does not verify: %w", err)
		}
	}
	if sequence, _ := fold.Head(); sequence == 0 {
		return nil, refused("the store holds no ledger at all: restore a backup of it first")
	}
	return fold, nil
}

// lostFold is this machine's own copy, if it goes on from the accepted ledger;
// else nil.
func (c *cli) lostFold(ctx context.Context, root policy.Digest, accepted *ledger.Fold) (*ledger.Fold, error) {
	dir, err := c.kept(ctx, root, true)
	if err != nil {
		return nil, nil
	}
	sequence, head := accepted.Head()
	fold, same := ledger.NewFold(root), false
	for value, err := range keptBatches(dir) {
		if err != nil {
			return nil, err
		}
		if _, err := fold.Apply(value); err != nil {
			return nil, unverified("the copy of the ledger in %s does not verify: %w", dir, err)
		}
		if at, digest := fold.Head(); at == sequence {
			same = digest == head
		}
	}
	if !same {
		return nil, nil
	}
	return fold, nil
}

// draftRecover is the document that custodians sign.
func (c *cli) draftRecover(ctx context.Context, r *recovery, accepted, lost *ledger.Fold) (*ledger.Recover, error) {
	if r.socket == "" {
		return nil, usagef("%s is not there yet; it is begun on the appliance, with --socket", r.file)
	}
	door, err := seal.Dial(ctx, r.socket)
	if err != nil {
		return nil, usage(err)
	}
	defer door.Close()
	status, err := door.Status(ctx)
	if err != nil {
		return nil, sealAway(r.socket, err)
	}
	sequence, head := accepted.Head()
	d := status.Doubt
	switch {
	case status.Sealed:
		return nil, &codedError{exitSealed, fmt.Errorf("appliance %s is sealed: %s", status.ApplianceID, status.Why)}
	case d == nil:
		return nil, refused("the seal of %s has no doubt about its store; there is nothing to recover", status.ApplianceID)
	case d.Known == nil:
		return nil, refused("the seal of %s remembers nothing of the store (%s); that takes a join, not a recover", status.ApplianceID, d.Reason)
	case d.Store.Sequence != sequence || d.Store.Head != head:
		return nil, unverified("the seal says that the store ends at batch %d, %s; the appliance serves a ledger that ends at %d, %s", d.Store.Sequence, d.Store.Head, sequence, head)
	}
	doc := &ledger.Recover{Format: policy.Format, Instance: accepted.Instance(), Epoch: nextEpoch(d.Epoch, lost), Lost: ledger.Point{Sequence: d.Known.Sequence, Head: d.Known.Head},
		Accepted: ledger.Point{Sequence: sequence, Head: head}, CreatedAt: policy.Seconds(time.Now())}
	if doc.Lanes, err = lanesOf(accepted, lost, r.lanes); err != nil {
		return nil, err
	}
	if lost != nil {
		if at, digest := lost.Head(); at == doc.Lost.Sequence && digest == doc.Lost.Head {
			doc.Usage = usageOf(lost)
		}
	}
	return doc, nil
}

// nextEpoch is above every epoch that is known, here or to the seal: an appliance with a token of its own that was away
// for one has not seen it.
func nextEpoch(known uint64, lost *ledger.Fold) uint64 {
	if lost != nil {
		known = max(known, lost.Epoch())
	}
	return known + 1
}

// said refuses a document that says otherwise than --lane: it was drafted by an earlier
// run, and stays as it is.
func (r *recovery) said(payload []byte) error {
	d, err := ledger.ParseRecover(payload)
	if err != nil {
		return unverified("%w", err)
	}
	for _, s := range r.lanes {
		id, text, _ := strings.Cut(s, "=")
		nonce, err := strconv.ParseUint(text, 10, 53)
		if err != nil || !slices.Contains(d.Lanes, ledger.RecoverLane{WalletID: id, Nonce: nonce}) {
			return usagef("--lane %s: the document of before does not say that; take %s and %s away to begin anew", s, r.file, r.file+draftEnding)
		}
	}
	return nil
}

// lanesOf is where every wallet goes on: the highest of what the ledgers and
// people say.
func lanesOf(accepted, lost *ledger.Fold, said []string) ([]ledger.RecoverLane, error) {
	lanes := map[string]uint64{}
	for _, fold := range []*ledger.Fold{accepted, lost} {
		if fold == nil {
			continue
		}
		for _, w := range fold.Wallets() {
			lanes[w.WalletID] = max(lanes[w.WalletID], fold.NextNonce(w.WalletID))
		}
	}
	for _, s := range said {
		id, text, ok := strings.Cut(s, "=")
		nonce, err := strconv.ParseUint(text, 10, 53)
		if !ok || err != nil || policy.CheckID("wallet", id) != nil {
			return nil, usagef("--lane %q: want wallet_…=NONCE", s)
		}
		if nonce < lanes[id] {
			return nil, usagef("--lane %s: the ledgers know that wallet up to nonce %d already", s, lanes[id])
		}
		lanes[id] = nonce
	}
	out := []ledger.RecoverLane{}
	for id, nonce := range lanes {
		out = append(out, ledger.RecoverLane{WalletID: id, Nonce: nonce})
	}
	slices.SortFunc(out, func(a, b ledger.RecoverLane) int { return strings.Compare(a.WalletID, b.WalletID) })
	return out, nil
}

// usageOf is everything that the lost ledger charged, as far back as it knows. It is
// stated only where all of that ledger is known here.
//
// Nothing of it is left out as too old for any limit: what the accepted ledger charged
// lately is taken off it, and with a shorter view than that one's a charge of two days
// ago would stand in for one of today that was lost.
func usageOf(lost *ledger.Fold) []ledger.RecoverUsage {
	out := []ledger.RecoverUsage{}
	for _, b := range lost.Bindings() {
		for _, op := range []policy.OperationType{policy.OpMint, policy.OpBurn, policy.OpTransfer} {
			out = append(out, ledger.RecoverUsage{ChainID: b.ChainID, ContractAddress: b.ContractAddress, Operation: op,
				Amount: lost.Charged(b.ChainID, b.ContractAddress, op, time.Time{})})
		}
	}
	return out
}

// holdsCopy is nil if the document gives up nothing of what this machine's own copy of
// the lost ledger knows: who wrote the document had a copy of his own, or said that he had.
func holdsCopy(d *ledger.Recover, lost *ledger.Fold, now time.Time) error {
	if lost == nil {
		return nil
	}
	if d.Epoch <= lost.Epoch() {
		return unverified("the document begins epoch %d; by the copy of the lost ledger here epoch %d had begun, and what was decided in it would count again", d.Epoch, lost.Epoch())
	}
	// Every day that a limit may count lies in it, and no statement of all that the lost
	// ledger kept when it was lost has less.
	since := now.Add(-limitsLookBack)
	if d.CreatedAt.Before(now) {
		since = d.CreatedAt.Add(-limitsLookBack)
	}
	for _, u := range d.Usage {
		if known := lost.Charged(u.ChainID, u.ContractAddress, u.Operation, since); known.Cmp(u.Amount) > 0 {
			return unverified("the document states that %s base units were charged by %s on chain %d, contract %s; by the copy of the lost ledger here %s were",
				u.Amount, u.Operation, u.ChainID, u.ContractAddress, known)
		}
	}
	stated := map[string]uint64{}
	for _, l := range d.Lanes {
		stated[l.WalletID] = l.Nonce
	}
	for _, w := range lost.Wallets() {
		if next := lost.NextNonce(w.WalletID); stated[w.WalletID] < next {
			return unverified("the document has wallet %s go on at nonce %d; by the copy of the lost ledger here it is at %d", w.WalletID, stated[w.WalletID], next)
		}
	}
	return nil
}

// limitsLookBack is further back than any day that a limit counts begins.
const limitsLookBack = 48 * time.Hour

// showRecover is what a custodian reads.
func (c *cli) showRecover(payload []byte, accepted, lost *ledger.Fold) error {
	d, err := ledger.ParseRecover(payload)
	if err != nil {
		return unverified("%w", err)
	}
	sequence, head := accepted.Head()
	if d.Instance != accepted.Instance() || d.Accepted.Sequence != sequence || d.Accepted.Head != head || d.Epoch <= accepted.Epoch() {
		return unverified("the document accepts batch %d, %s, of instance %s into epoch %d; the store ends at %d, %s, in epoch %d", d.Accepted.Sequence, d.Accepted.Head, d.Instance, d.Epoch, sequence, head, accepted.Epoch())
	}
	if err := holdsCopy(d, lost, time.Now()); err != nil {
		return err
	}
	w := c.people()
	say := func(format string, args ...any) { w.printf("%s\n", wrapped(fmt.Sprintf(format, args...), w.width())) }
	say("Instance %s goes on from batch %d, %s.", printable(d.Instance), d.Accepted.Sequence, d.Accepted.Head)
	say("Given up is what came after it, up to batch %d, %s: %d batches.", d.Lost.Sequence, d.Lost.Head, max(d.Lost.Sequence, d.Accepted.Sequence)-d.Accepted.Sequence)
	switch first, last := accepted.Epoch()+1, d.Epoch-1; {
	case first == last:
		say("Epoch %d is given up with it.", first)
	case first < last:
		say("Epochs %d to %d are given up with it.", first, last)
	}
	say("Epoch %d begins: every decision made before is void.", d.Epoch)
	if d.Usage == nil {
		say("What was charged since is not known: every daily limit is used up until the next midnight.")
	} else {
		say("What was charged since is stated: by it the daily limits go on at once, and those of fees by the accepted ledger alone. A limit that is not named here is used up until the next midnight.")
	}
	for _, u := range d.Usage {
		// Nothing, too: it opens a limit that would else be used up.
		say("Charged already: %s base units by %s on chain %d, contract %s.", u.Amount, u.Operation, u.ChainID, u.ContractAddress)
	}
	for _, l := range d.Lanes {
		if next := accepted.NextNonce(l.WalletID); next != l.Nonce {
			say("Wallet %s goes on at nonce %d; the accepted ledger is at %d.", l.WalletID, l.Nonce, next)
		} else {
			say("Wallet %s goes on at nonce %d.", l.WalletID, l.Nonce)
		}
	}
	return nil
}
