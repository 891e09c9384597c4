package dev_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// custody splits the token's PINs among the custodians, for each appliance anew.
func (h *soakHouse) custody(n int) {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "config", "charter1.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := policy.ParseEnvelope(text)
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := policy.ParseCharter(e.Payload)
	if err != nil {
		h.t.Fatal(err)
	}
	var pins [2][]byte
	for i, name := range []string{"pin", "so-pin"} {
		if pins[i], err = os.ReadFile(filepath.Join(h.dir, "hsm", name)); err != nil {
			h.t.Fatal(err)
		}
	}
	custody, shares, err := seal.NewCustody(c.Instance, applianceIDs[n], c.Custodians, bytes.TrimSpace(pins[0]), bytes.TrimSpace(pins[1]), time.Now().UTC().Truncate(time.Second))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, share := range shares {
		h.write(h.file(n, name+".share"), string(share.Encode())+"\n")
		share.Destroy()
	}
	if err := seal.WriteCustody(h.file(n, "seal"), custody); err != nil {
		h.t.Fatal(err)
	}
}

// sealOne seals an appliance on a custodian's document.
func (h *soakHouse) sealOne(ctx context.Context, n int, custodian string) error {
	d := &policy.Seal{Format: 1, Instance: h.instance, ApplianceID: applianceIDs[n], Reason: "soak", CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		return err
	}
	_, err = h.callers[n][custodian].SealSeal(ctx, client.EnvelopeRequest{Envelope: h.boxes[n].signed(custodian, policy.DocSeal, payload)})
	return err
}

// unsealOne hands in two custodians' shares, unless it is open.
func (h *soakHouse) unsealOne(ctx context.Context, n int) error {
	for _, custodian := range []string{"custodian-1", "custodian-3"} {
		s, err := h.callers[n]["viewer"].GetSeal(ctx)
		if err != nil {
			return err
		}
		if s.Reachable && !s.Sealed {
			return nil
		}
		if s.Unsealing == nil {
			return fmt.Errorf("the seal of %s is %+v", applianceIDs[n], s)
		}
		if err := h.share(ctx, n, custodian, s.Unsealing.Nonce); err != nil && !refusedAs(err, 1203) {
			return err
		}
	}
	s, err := h.callers[n]["viewer"].GetSeal(ctx)
	if err != nil {
		return err
	}
	if !s.Reachable || s.Sealed {
		return fmt.Errorf("the seal of %s is %+v after two shares", applianceIDs[n], s)
	}
	return nil
}

func (h *soakHouse) share(ctx context.Context, n int, custodian string, nonce []byte) error {
	text, err := os.ReadFile(h.file(n, custodian+".share"))
	if err != nil {
		return err
	}
	share, err := seal.ParseShare([]byte(strings.TrimSpace(string(text))))
	if err != nil {
		return err
	}
	defer share.Destroy()
	shown, err := h.callers[n]["viewer"].GetCharter(ctx)
	if err != nil {
		return err
	}
	c, err := policy.ParseCharter(shown.Document)
	if err != nil {
		return err
	}
	box, _ := c.Appliance(applianceIDs[n])
	sealed, err := seal.SealShare(box.UnsealKey, seal.Binding{Instance: c.Instance, ApplianceID: box.ID, Custodian: custodian, Nonce: nonce}, share)
	if err != nil {
		return err
	}
	d := &policy.Unseal{Format: 1, Instance: c.Instance, ApplianceID: box.ID, Nonce: nonce, Share: sealed, CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		return err
	}
	_, err = h.callers[n][custodian].UnsealSeal(ctx, client.EnvelopeRequest{Envelope: h.boxes[n].signed(custodian, policy.DocUnseal, payload)})
	return err
}
