package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// unsealRequest is what a custodian on another machine encrypts a share to. It is
// not secret. Before there is a charter nothing signs it: what is shown at the
// appliance's own terminal tells a custodian whether it is the right one.
type unsealRequest struct {
	Format      int    `json:"format"`
	Instance    string `json:"instance"`
	ApplianceID string `json:"applianceId"`
	Nonce       []byte `json:"nonce"`
	UnsealKey   []byte `json:"unsealKey"`
}

// digest is what people compare.
func (q *unsealRequest) digest() policy.Digest { return policy.DigestOf(q.UnsealKey) }

// unsealingOf is what the seal asks custodians for now.
func unsealingOf(instance string, status *seal.Status) (*unsealRequest, error) {
	u := status.Unsealing
	if u == nil {
		return nil, refused("the seal of %s asks for no shares: it is unsealed in another way, or there is no custody", status.ApplianceID)
	}
	return &unsealRequest{Format: policy.Format, Instance: instance, ApplianceID: status.ApplianceID, Nonce: u.Nonce, UnsealKey: u.UnsealKey}, nil
}

// answer is a custodian's share for the request, encrypted and signed.
func (q *unsealRequest) answer(custodian string, share seal.Share, s *policy.Signer) (*policy.Envelope, error) {
	sealed, err := seal.SealShare(q.UnsealKey, seal.Binding{Instance: q.Instance, ApplianceID: q.ApplianceID, Custodian: custodian, Nonce: q.Nonce}, share)
	if err != nil {
		return nil, err
	}
	doc := &policy.Unseal{Format: policy.Format, Instance: q.Instance, ApplianceID: q.ApplianceID, Nonce: q.Nonce, Share: sealed, CreatedAt: policy.Seconds(time.Now())}
	payload, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	return policy.Sign(policy.PayloadType(policy.DocUnseal), payload, s)
}

// maxRequest bounds an unseal request in bytes: an unseal key has 1,216.
const maxRequest = 8 << 10

func readUnsealRequest(path string) (*unsealRequest, error) {
	text, err := readBounded(path, maxRequest)
	if err != nil {
		return nil, usagef("--request: %w", err)
	}
	q, err := parseUnsealRequest(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	return q, nil
}

func parseUnsealRequest(text []byte) (*unsealRequest, error) {
	var q unsealRequest
	if len(text) > maxRequest {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxRequest)
	}
	if err := json.Unmarshal(text, &q, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	if q.Format != policy.Format || policy.CheckName(q.Instance) != nil || policy.CheckName(q.ApplianceID) != nil || len(q.Nonce) < 16 || len(q.UnsealKey) == 0 {
		return nil, fmt.Errorf("not an unseal request of format %d", policy.Format)
	}
	return &q, nil
}

// unseal brings a threshold of shares together for the first time, through the
// same door as every later unsealing.
func (f *founding) unseal(ctx context.Context) error {
	status, err := f.await(ctx, "unsealed or asking for shares", func(s *seal.Status) bool { return !s.Sealed || s.Unsealing != nil })
	if err != nil || !status.Sealed {
		return err
	}
	custody, err := seal.ReadCustody(f.seal.State)
	if err != nil {
		return err
	}
	f.c.say("The seal waits for the shares of %d custodians.", status.Unsealing.Need)
	for _, m := range custody.Members {
		if status, err = f.giveShare(ctx, custody, m.Name, status); err != nil {
			return err
		}
	}
	if asks(status) {
		return f.askForShares(custody, status)
	}
	if _, err = f.await(ctx, "unsealed", func(s *seal.Status) bool { return !s.Sealed }); err != nil {
		return err
	}
	f.c.say("The appliance is unsealed: the shares are good.")
	return nil
}

// asks is true of a seal that waits for more shares.
func asks(s *seal.Status) bool {
	return s.Sealed && s.Unsealing != nil && len(s.Unsealing.Shares) < s.Unsealing.Need
}

// giveShare hands in one custodian's share, if it is here: as a file that was
// signed elsewhere, or with the key that the ceremony names.
func (f *founding) giveShare(ctx context.Context, custody *seal.Custody, custodian string, status *seal.Status) (*seal.Status, error) {
	if !asks(status) || slices.Contains(status.Unsealing.Shares, custodian) {
		return status, nil
	}
	e, err := f.shareEnvelope(ctx, custody, custodian, status)
	if err != nil || e == nil {
		return status, err
	}
	now, err := f.door.Unseal(ctx, e)
	switch {
	case errors.Is(err, seal.ErrUnreachable): // with the last share the worker gives way to one that has the PIN
		now, err = f.await(ctx, "back", func(s *seal.Status) bool { return !s.Sealed || s.Unsealing != nil })
	case err != nil:
		err = fmt.Errorf("share of custodian %s: %w", custodian, err)
	}
	if err != nil {
		return nil, err
	}
	f.c.say("Share of %s taken.", custodian)
	return now, nil
}

// shareEnvelope is nil for a custodian who has to bring one.
func (f *founding) shareEnvelope(ctx context.Context, custody *seal.Custody, custodian string, status *seal.Status) (*policy.Envelope, error) {
	q, err := unsealingOf(custody.Instance, status)
	if err != nil {
		return nil, err
	}
	brought := f.path(workShares, custodian+".json")
	if exists(brought) {
		e, err := readEnvelope(brought)
		if err != nil {
			return nil, err
		}
		if d, err := policy.ParseUnseal(e.Payload); err == nil && string(d.Nonce) == string(q.Nonce) {
			return e, nil
		}
		f.c.say("%s answers an earlier request; %s has to answer the new one.", brought, custodian)
	}
	signer, err := f.signer(ctx, custodian)
	if err != nil || signer == nil {
		return nil, err
	}
	if f.opts.shares != "" && !exists(shareFile(f.opts.shares, custodian)) {
		return nil, nil
	}
	share, err := f.share(ctx, custody, f.opts.shares, custodian)
	if err != nil {
		return nil, err
	}
	defer share.Destroy()
	return q.answer(custodian, share, signer)
}

// askForShares leaves what the other custodians need, and ends the run.
func (f *founding) askForShares(custody *seal.Custody, status *seal.Status) error {
	q, err := unsealingOf(custody.Instance, status)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.path(workShares), privateDir); err != nil {
		return err
	}
	text, err := json.Marshal(q, json.Deterministic(true))
	if err != nil {
		return err
	}
	if err := writeWhole(f.path(workRequest), append(text, '\n'), 0o644, nil); err != nil {
		return err
	}
	var missing []string
	for _, m := range custody.Members {
		if !slices.Contains(status.Unsealing.Shares, m.Name) {
			missing = append(missing, m.Name)
		}
	}
	need := status.Unsealing.Need - len(status.Unsealing.Shares)
	return refused("%s of %s still needed. On a machine of their own, with %s, each runs: mintwarden unseal --request %s --name NAME --key KEY --out NAME.json; the unseal key there must be %s. Bring the files to %s and run this again, while the seal goes on running",
		count(need, "share"), list(missing), f.path(workRequest), filepath.Base(f.path(workRequest)), q.digest(), f.path(workShares))
}
