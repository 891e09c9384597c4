package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// renewFlags is what is said on the command line.
type renewFlags struct {
	socket, request    string // where the renewal is read
	key, share, name   string // whose part
	receive, keep, out string // files
	document           string
}

func (c *cli) renewCommand() *cobra.Command {
	cmd := group("renew", "Renew the custodians' shares and the token's PINs", "  mintwarden renew show --socket /run/mintwarden-seal/seal.sock",
		c.renewShow(), c.renewGive(), c.renewTake(), c.renewSubmit())
	cmd.Long = `Renew the custodians' shares and the token's PINs.

After custodians changed, or because they want it: the appliance draws new PINs for
its token and splits them among the custodians of the charter in force. Afterwards
the old shares, and old copies of custody.json, open nothing.

It takes the shares of as many old custodians as unseal, and every custodian of the
charter. First each of them gives ('renew give'): who has a share that is good now
gives it up, encrypted to the appliance, and who is to get one makes a key for it.
Then each takes ('renew take'): the new share comes encrypted to that key, is written
to a file, and the appliance is told. With the last one's word, and not before, the
token's PINs change; the appliance is away for some seconds and then signs on, or
stays sealed if it was. What is not complete within a day leaves all as it was.

On the appliance --socket hands everything in at once. Elsewhere a courier carries
files: 'renew show --out' from the appliance, --request and --out on the custodian's
machine, 'renew submit' back at the appliance. None of them holds a secret.

An appliance that starts by a credential goes on to where seal.toml names another one
under which the new PIN is kept ([pin], key_credential); what came of it is in 'renew
show'. Else the PIN file or credential is stale, and custodians unseal it.`
	return cmd
}

func (c *cli) renewShow() *cobra.Command {
	var f renewFlags
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show how far a renewal is",
		Example: `  mintwarden renew show --socket /run/mintwarden-seal/seal.sock --out renewal.json`,
		Args:    none,
	}
	cmd.Flags().StringVar(&f.socket, "socket", "", "the seal's socket, on the appliance")
	cmd.Flags().StringVar(&f.out, "out", "", "write it to a file, for custodians elsewhere")
	required(cmd, "socket")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		r, err := f.read(ctx)
		if err != nil {
			return err
		}
		if f.out != "" {
			if err := replaceable(f.out, maxRenewal, seal.ParseRenewal); err != nil {
				return err
			}
			text, err := r.Encode()
			if err != nil {
				return err
			}
			if err := writeWhole(f.out, text, 0o644, nil); err != nil {
				return err
			}
		}
		return c.showRenewal(r)
	})
}

func (c *cli) renewGive() *cobra.Command {
	var f renewFlags
	cmd := &cobra.Command{
		Use:   "give",
		Short: "Give your share up, and a key for the new one",
		Example: `  mintwarden renew give --socket /run/mintwarden-seal/seal.sock --key carol.pem --share carol.share --receive carol.receive
  mintwarden renew give --request renewal.json --key carol.pem --receive carol.receive --out carol.json`,
		Args: none,
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.share, "share", "", "file with the share that you have now; default: that of --as, or you type it")
	fl.StringVar(&f.receive, "receive", "", "where the key for your new share is kept until you take it; it must not be there")
	fl.StringVar(&f.name, "name", "", "your name, if you are a custodian no more and only give your share")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.renewGiving(ctx, &f) })
}

func (c *cli) renewTake() *cobra.Command {
	var f renewFlags
	cmd := &cobra.Command{
		Use:   "take",
		Short: "Take your new share, and say that you have it",
		Example: `  mintwarden renew take --socket /run/mintwarden-seal/seal.sock --key carol.pem --receive carol.receive --keep carol.share
  mintwarden renew take --request renewal.json --key carol.pem --receive carol.receive --keep carol.share --out carol.json`,
		Args: none,
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.receive, "receive", "", "the key that 'renew give' made")
	fl.StringVar(&f.keep, "keep", "", "where your new share goes; it must not be there")
	required(cmd, "receive")
	required(cmd, "keep")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.renewTaking(ctx, &f) })
}

func (c *cli) renewSubmit() *cobra.Command {
	var f renewFlags
	cmd := &cobra.Command{
		Use:     "submit --socket SOCKET --document FILE",
		Short:   "Hand in what a custodian signed elsewhere",
		Example: `  mintwarden renew submit --socket /run/mintwarden-seal/seal.sock --document carol.json`,
		Args:    none,
	}
	cmd.Flags().StringVar(&f.socket, "socket", "", "the seal's socket, on the appliance")
	cmd.Flags().StringVar(&f.document, "document", "", "the file that --out wrote")
	required(cmd, "socket")
	required(cmd, "document")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		e, err := readEnvelope(f.document)
		if err != nil {
			return usage(err)
		}
		return c.handRenewal(ctx, f.socket, e)
	})
}

func (f *renewFlags) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.socket, "socket", "", "the seal's socket, on the appliance")
	fl.StringVar(&f.request, "request", "", "a file that 'renew show --out' wrote, in place of the appliance")
	fl.StringVar(&f.out, "out", "", "with --request: where what you sign goes")
	fl.StringVar(&f.key, "key", "", "your signing key: a PEM file (PKCS #8) that only you can read, or a pkcs11: URI (RFC 7512); default: that of --as")
	cmd.MarkFlagsRequiredTogether("request", "out")
	cmd.MarkFlagsMutuallyExclusive("request", "socket")
	cmd.MarkFlagsOneRequired("request", "socket")
}

// read is the renewal as the seal or the file has it.
func (f *renewFlags) read(ctx context.Context) (*seal.Renewal, error) {
	if f.request != "" {
		text, err := readBounded(f.request, maxRenewal)
		if err != nil {
			return nil, usagef("--request: %w", err)
		}
		r, err := seal.ParseRenewal(text)
		if err != nil {
			return nil, usagef("%s: %w", f.request, err)
		}
		return r, nil
	}
	door, err := seal.Dial(ctx, f.socket)
	if err != nil {
		return nil, usage(err)
	}
	defer door.Close()
	r, err := door.Renew(ctx, nil)
	if err != nil {
		return nil, sealAway(f.socket, err)
	}
	return r, nil
}

// maxRenewal bounds a renewal's file in bytes.
const maxRenewal = 128 << 10

// renewer is somebody who takes part: the renewal, held against the verified charter,
// and who signs.
type renewer struct {
	renewal   *seal.Renewal
	appliance *policy.Appliance
	signer    *policy.Signer
	name      string
	custodian bool // of the charter: gets a share
}

func (c *cli) renewer(ctx context.Context, f *renewFlags) (*renewer, error) {
	if f.out != "" {
		if err := replaceable(f.out, policy.MaxEnvelope+1, policy.ParseEnvelope); err != nil {
			return nil, err
		}
	}
	signer, fold, err := c.signing(ctx, f.key)
	if err != nil {
		return nil, err
	}
	if signer == nil {
		return nil, usagef("no signing key is named (--key FILE)")
	}
	r, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	charter, digest := fold.Charter()
	a, ok := charter.Appliance(r.ApplianceID)
	switch {
	case !ok || r.Instance != charter.Instance:
		return nil, unverified("the renewal is of appliance %q of %q, which is none of the charter's", r.ApplianceID, r.Instance)
	case r.Charter != digest:
		return nil, unverified("the renewal is for the custodians of charter %s; in force is version %d, %s", r.Charter, charter.Version, digest)
	}
	if m, _, ok := charter.CustodianByKey(signer.Public().KeyID()); ok {
		if f.name != "" && f.name != m.Name {
			return nil, usagef("--name %s: the key is %s's", f.name, m.Name)
		}
		return &renewer{r, a, signer, m.Name, true}, nil
	}
	if f.name == "" {
		return nil, usagef("the signing key is no custodian's of the charter in force; who is none any more says --name NAME, and only gives a share")
	}
	if !slices.Contains(r.Held.Members, f.name) {
		return nil, usagef("--name %s: the shares that are good now are those of %s", f.name, list(r.Held.Members))
	}
	return &renewer{r, a, signer, f.name, false}, nil
}

// document is what this custodian signs.
func (n *renewer) document(fill func(*policy.Renew)) (*policy.Envelope, error) {
	d := &policy.Renew{Format: policy.Format, Instance: n.renewal.Instance, ApplianceID: n.renewal.ApplianceID, Nonce: n.renewal.Nonce,
		Charter: n.renewal.Charter, CreatedAt: policy.Seconds(time.Now())}
	fill(d)
	payload, err := d.Encode()
	if err != nil {
		return nil, err
	}
	return policy.Sign(policy.PayloadType(policy.DocRenew), payload, n.signer)
}

func (n *renewer) binding(p seal.Purpose) seal.Binding {
	return seal.Binding{Purpose: p, Instance: n.renewal.Instance, ApplianceID: n.renewal.ApplianceID, Custodian: n.name, Nonce: n.renewal.Nonce}
}

func (c *cli) renewGiving(ctx context.Context, f *renewFlags) error {
	n, err := c.renewer(ctx, f)
	if err != nil {
		return err
	}
	if len(n.renewal.Parcels) > 0 {
		return refused("the new shares are split already: run 'mintwarden renew take'")
	}
	if n.custodian == (f.receive == "") {
		return usagef("--receive FILE is for those who get a new share, and they need it; %s", map[bool]string{true: "you get one", false: "you get none"}[n.custodian])
	}
	var share, public []byte
	if slices.Contains(n.renewal.Held.Members, n.name) {
		if share, err = c.giveUp(ctx, f, n); err != nil {
			return err
		}
	}
	if n.custodian {
		if public, err = makeReceiveKey(f.receive); err != nil {
			return err
		}
	}
	e, err := n.document(func(d *policy.Renew) { d.Share, d.ReceiveKey = share, public })
	if err != nil {
		return err
	}
	err = c.hand(ctx, f, e)
	var no *notTakenError
	if errors.As(err, &no) && n.custodian {
		return errors.Join(err, os.Remove(f.receive)) // nothing will ever come for that key
	}
	return err
}

// notTakenError says that the seal refused a document for certain.
type notTakenError struct{ err error }

func (e *notTakenError) Error() string { return e.err.Error() }
func (e *notTakenError) Unwrap() error { return e.err }

// giveUp is the custodian's share that is good now, encrypted to the appliance's unseal
// key from the verified charter.
func (c *cli) giveUp(ctx context.Context, f *renewFlags, n *renewer) ([]byte, error) {
	share, err := c.ownShare(ctx, &unsealing{share: f.share}, n.name)
	if err != nil {
		return nil, err
	}
	defer share.Destroy()
	return seal.SealShare(n.appliance.UnsealKey, n.binding(seal.ForRenewal), share)
}

func (c *cli) renewTaking(ctx context.Context, f *renewFlags) error {
	n, err := c.renewer(ctx, f)
	if err != nil {
		return err
	}
	parcel, ok := n.renewal.Parcels[n.name]
	if !ok {
		return refused("there is no new share for %s yet; the renewal waits for %s, and %d of %d shares are given", n.name, list(n.renewal.Waiting), len(n.renewal.Given), n.renewal.Held.Threshold)
	}
	share, err := openParcel(f.receive, n.binding(seal.ForCustodian), parcel)
	if err != nil {
		return err
	}
	defer share.Destroy()
	// First it is kept, and only then somebody is told: with the last word the old
	// shares are worthless.
	if err := keepShare(f.keep, share); err != nil {
		return err
	}
	e, err := n.document(func(d *policy.Renew) { d.Received = share.Digest() })
	if err != nil {
		return err
	}
	if err := c.hand(ctx, f, e); err != nil {
		return err
	}
	c.say("Your new share is in %s. Keep the old one until the renewal is done, and %s no longer.", f.keep, f.receive)
	return nil
}

// hand hands a document in, or leaves it for the courier.
func (c *cli) hand(ctx context.Context, f *renewFlags, e *policy.Envelope) error {
	if f.socket != "" {
		return c.handRenewal(ctx, f.socket, e)
	}
	if err := writeWhole(f.out, append(e.Encode(), '\n'), 0o644, nil); err != nil {
		return err
	}
	return c.tell(e, "Bring %s to the appliance: mintwarden renew submit --socket SOCKET --document %s", f.out, f.out)
}

// handRenewal hands a document in. With the last one the seal's worker ends, maybe with
// its answer under way.
func (c *cli) handRenewal(ctx context.Context, socket string, e *policy.Envelope) error {
	door, err := seal.Dial(ctx, socket)
	if err != nil {
		return usage(err)
	}
	defer door.Close()
	r, err := door.Renew(ctx, e)
	lost := errors.Is(err, seal.ErrUnreachable)
	if kind, told := seal.KindOf(err); told && kind != seal.KindStore {
		return &notTakenError{err}
	}
	if err != nil && !lost {
		return err
	}
	if lost || len(r.Waiting) == 0 && len(r.Parcels) > 0 {
		if r, err = c.renewalDone(ctx, socket); err != nil {
			return err
		}
	}
	return c.showRenewal(r)
}

// renewalDone waits for the worker that comes after the PINs changed.
func (c *cli) renewalDone(ctx context.Context, socket string) (*seal.Renewal, error) {
	ctx, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	tick := time.NewTicker(sealPoll)
	defer tick.Stop()
	for {
		r, err := (&renewFlags{socket: socket}).read(ctx)
		kind, told := seal.KindOf(err)
		switch {
		case err == nil:
			return r, nil
		case told && kind != seal.KindStore:
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, refused("all custodians have their new shares, and the seal does not say yet what came of it: %w; see its log", err)
		}
	}
}

func (c *cli) showRenewal(r *seal.Renewal) error {
	if c.json {
		return c.showJSON(r)
	}
	c.say("Good now: the shares of %s, made %s; %d of %d unseal appliance %s.", list(r.Held.Members), r.Held.CreatedAt.Format(time.RFC3339), r.Held.Threshold, len(r.Held.Members), printable(r.ApplianceID))
	if r.Outcome != "" {
		c.say("The last renewal: %s.", r.Outcome)
		c.say("Where it changed the PINs, take a backup now: the custody in an older one holds PINs that the token takes no more.")
	}
	switch {
	case len(r.Parcels) > 0:
		c.say("The new shares are split. %s to take theirs: mintwarden renew take", fmt.Sprintf("%d of %d have; %s still have", len(r.Received), len(r.Parcels), list(r.Waiting)))
	case len(r.Given) > 0 || len(r.Keys) > 0:
		c.say("Given up: %d of %d shares (%s). A key for their new share is to come from %s: mintwarden renew give", len(r.Given), r.Held.Threshold, orNothing(policy.Digest(list(r.Given))), orNothing(policy.Digest(list(r.Waiting))))
	}
	return nil
}
