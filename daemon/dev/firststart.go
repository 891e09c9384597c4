package dev

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// applianceID names the one box of a development instance.
	applianceID = "appliance-1"
	// custodianThreshold of the three demo custodians (formats.md).
	custodianThreshold = 2
)

// charter1 makes charter 1 for the seal's own keys, or reads the one that an
// earlier start made. The digest in charter1.sha256 is written first, since
// the seal's configuration and the CLI are rooted in it.
func (d *directory) charter1(ctx context.Context, door *seal.Client, users *registry.FirstUsers, network policy.Network) (*policy.Envelope, error) {
	if e, err := d.readCharter1(); err != nil || e != nil {
		return e, err
	}
	keys, err := door.Init(ctx)
	if err != nil {
		return nil, fmt.Errorf("dev: the seal's keys: %w", err)
	}
	charter, err := d.draftCharter(keys, users, network)
	if err != nil {
		return nil, err
	}
	payload, err := charter.Encode()
	if err != nil {
		return nil, fmt.Errorf("dev: charter 1: %w", err)
	}
	var signers []*policy.Signer
	for _, i := range signing(registry.Custodian) {
		s, err := d.signer(i)
		if err != nil {
			return nil, err
		}
		signers = append(signers, s)
	}
	e, err := policy.Sign(policy.PayloadType("charter"), payload, signers...)
	if err != nil {
		return nil, fmt.Errorf("dev: sign charter 1: %w", err)
	}
	return e, d.write(e.Encode(), "config", "charter1.json")
}

func (d *directory) draftCharter(keys *seal.InitResult, users *registry.FirstUsers, network policy.Network) (*policy.Charter, error) {
	c := &policy.Charter{
		Format: 1, Instance: store.NewID("inst_"), Version: 1, Environment: policy.Dev, TenantID: tenant,
		Networks:   []policy.Network{network},
		Custodians: policy.Custodians{Threshold: custodianThreshold},
		Groups:     map[string][]string{},
		Appliances: []policy.Appliance{{ID: applianceID, LedgerKey: keys.LedgerKey, UnsealKey: keys.UnsealKey,
			Token: policy.SecurityToken{Serial: keys.Token.Serial, CheckValues: keys.Token.CheckValues}}},
	}
	ids := map[string]string{}
	for _, u := range users.Users {
		ids[u.Name] = u.ID
	}
	for _, i := range signing(registry.Custodian) {
		s, err := d.signer(i)
		if err != nil {
			return nil, err
		}
		c.Custodians.Members = append(c.Custodians.Members, policy.Custodian{Name: i.name, Keys: []policy.PublicKey{s.Public()}})
	}
	for _, i := range signing(registry.Approver) {
		s, err := d.signer(i)
		if err != nil {
			return nil, err
		}
		c.Persons = append(c.Persons, policy.Person{Name: i.name, Keys: []policy.PublicKey{s.Public()}, Users: []string{ids[i.name]}})
		c.Groups[approverGroup] = append(c.Groups[approverGroup], i.name)
	}
	return c, nil
}

// firstStart brings seal and ledger to the point where serve can start:
// charter 1 in the ledger. Every step run again finds itself done.
func (a *appliance) firstStart(ctx context.Context, sealConfig sealFile, users *registry.FirstUsers) (policy.Digest, error) {
	e, err := a.charter1(ctx, a.door, users, a.network)
	if err != nil {
		return "", err
	}
	digest := e.PayloadDigest()
	if err := a.write([]byte(digest+"\n"), "charter1.sha256"); err != nil {
		return "", err
	}
	sealConfig.Charter1 = digest
	if err := a.writeSealConfig(sealConfig); err != nil {
		return "", err
	}
	if err := a.makeCustody(e); err != nil {
		return "", err
	}
	// A seal that was sealed stays so over a restart, by a marker in its directory; serve answers reads meanwhile, and
	// takes the custodians' shares. One that reads the ledger still does not know whether charter 1 is in it.
	var status *seal.Status
	if err := waitSeal(ctx, a.door, func(s *seal.Status) bool {
		status = s
		if s.Sealed {
			return s.Initialized && a.exists("seal", "sealed")
		}
		return s.Doubt == nil || s.Doubt.Kind != "store"
	}); err != nil {
		return "", err
	}
	if status.Initialized {
		return digest, nil
	}
	if _, err := a.door.CharterApply(ctx, e); err != nil {
		return "", fmt.Errorf("dev: charter 1: %w", err)
	}
	return digest, nil
}

// sealPatience is how long the seal may take from its start until it answers:
// it opens the token and folds the ledger first.
const sealPatience = 60 * time.Second

// waitSeal asks until the seal's status satisfies ready, or patience ends.
func waitSeal(ctx context.Context, door *seal.Client, ready func(*seal.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	var last error
	for {
		s, err := door.Status(ctx)
		switch {
		case err == nil && ready(s):
			return nil
		case err == nil && s.Sealed:
			last = errors.New("it is sealed")
		case err == nil && s.Doubt != nil:
			last = errors.New(s.Doubt.Reason)
		case ctx.Err() == nil:
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("dev: the seal is not ready: %w", errors.Join(last, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// readCharter1 is the charter 1 that an earlier start made, nil without one.
// A production charter is refused: dev would put demo keys beside real ones.
func (d *directory) readCharter1() (*policy.Envelope, error) {
	if !d.exists("config", "charter1.json") {
		return nil, nil
	}
	text, err := d.read("config", "charter1.json")
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	e, err := policy.ParseEnvelope(text)
	if err != nil {
		return nil, fmt.Errorf("dev: config/charter1.json: %w", err)
	}
	c, err := policy.ParseCharter(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("dev: config/charter1.json: %w", err)
	}
	if c.Environment != policy.Dev {
		return nil, fmt.Errorf("dev: %s holds a %s charter; mintwardend dev does not touch it", d.root, c.Environment)
	}
	return e, nil
}
