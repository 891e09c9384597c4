package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// envDir is the development appliance's directory, where --as looks.
const envDir = "MINTWARDEN_DIR"

// charter1File holds the digest of charter 1, in the development appliance's
// directory.
const charter1File = "charter1.sha256"

// cli is what the commands share: the flags that all have, the connection, the
// verified ledger.
type cli struct {
	json     bool
	as       string
	charter1 string
	patience time.Duration

	in       io.Reader
	lines    *bufio.Reader // on in, made by the first question
	out, err *printer
	running  bool // a command of ours began: what fails from here on is no usage error

	tokens map[string]tokenKey // by URI: people's keys in tokens
	point  func(string) error  // tests end a ceremony where it is called
	tab    time.Duration       // tests have a shell wait longer

	api  *client.Client
	fold *ledger.Fold
	dir  string // of the verified copy
}

func (c *cli) close() {
	if c.api != nil {
		c.api.Close()
	}
	for _, t := range c.tokens {
		_ = t.key.Close() // the process ends
	}
}

// connect is the client of the environment's user, or of --as.
func (c *cli) connect() (*client.Client, error) {
	if c.api != nil {
		return c.api, nil
	}
	config, err := client.ConfigFromEnv()
	if c.as != "" && config.URL != "" && config.CAFile != "" && config.CertFile != "" && config.KeyFile != "" {
		err = nil // only the bearer key may be missing: it is that of --as
	}
	if err != nil {
		return nil, usagef("%w; source the env file of the appliance", err)
	}
	if c.as != "" {
		if config.APIKeyFile, err = c.identityFile(".apikey"); err != nil {
			return nil, err
		}
	}
	config.UserAgent = "mintwarden/" + version
	config.Patience = c.patience
	if c.patience <= 0 {
		config.Patience = -1
	}
	if c.api, err = client.New(config); err != nil {
		return nil, usage(err)
	}
	return c.api, nil
}

// verified is the client, and the ledger as far as the appliance serves it,
// verified from charter 1 on.
func (c *cli) verified(ctx context.Context) (*client.Client, *ledger.Fold, error) {
	root, err := c.root()
	if err != nil {
		return nil, nil, err
	}
	api, err := c.connect()
	if err != nil || c.fold != nil {
		return api, c.fold, err
	}
	c.fold, c.dir, err = followLedger(ctx, api, root)
	return api, c.fold, err
}

// root is charter 1's digest, which all that is verified stands on.
func (c *cli) root() (policy.Digest, error) {
	named := c.charter1
	if named == "" {
		dir := os.Getenv(envDir)
		if dir == "" {
			return "", usagef("what the appliance says is verified from charter 1 on: give its digest, or the file that holds it, as --charter1")
		}
		named = filepath.Join(dir, charter1File)
	}
	if d := policy.Digest(named); d.Valid() {
		return d, nil
	}
	held, err := os.ReadFile(named)
	if err != nil {
		return "", usagef("charter 1's digest: %w", err)
	}
	d, err := policy.ParseDigest(strings.TrimSpace(string(held)))
	if err != nil {
		return "", usagef("%s: %w", named, err)
	}
	return d, nil
}

// vaultID takes a vault account's id or its name.
func (c *cli) vaultID(ctx context.Context, api *client.Client, idOrName string) (string, error) {
	if strings.HasPrefix(idOrName, "vault_") {
		return idOrName, checkID("vault", idOrName)
	}
	return only("vault account", idOrName, func(yield func(string) bool) error {
		for v, err := range api.VaultAccounts(ctx) {
			if err != nil {
				return err
			}
			if v.Name == idOrName && !yield(v.ID) {
				return nil
			}
		}
		return nil
	})
}

// policyID takes a policy's id or its name.
func (c *cli) policyID(ctx context.Context, api *client.Client, idOrName string) (string, error) {
	if strings.HasPrefix(idOrName, "pol_") {
		return idOrName, checkID("pol", idOrName)
	}
	named := func(live bool) (string, error) {
		return only("policy", idOrName, func(yield func(string) bool) error {
			for p, err := range api.Policies(ctx) {
				if err != nil {
					return err
				}
				if p.Name == idOrName && (p.Status != client.PolicyStatusREJECTED || !live) && !yield(p.ID) {
					return nil
				}
			}
			return nil
		})
	}
	// One that was withdrawn before it was ever in force does not hold its name.
	id, err := named(true)
	if errors.Is(err, errNoneNamed) {
		return named(false)
	}
	return id, err
}

// userID takes a user's id or name.
func (c *cli) userID(ctx context.Context, api *client.Client, idOrName string) (string, error) {
	if strings.HasPrefix(idOrName, "user_") {
		return idOrName, checkID("user", idOrName)
	}
	return only("user", idOrName, func(yield func(string) bool) error {
		for u, err := range api.Users(ctx) {
			if err != nil {
				return err
			}
			if u.Name == idOrName && !yield(u.ID) {
				return nil
			}
		}
		return nil
	})
}

// errNoneNamed begins what is said of a name that nothing has.
var errNoneNamed = errors.New("no")

// only is the one id that a name stands for; two of a name are an error, for
// the wrong one must not be picked silently.
func only(kind, name string, each func(yield func(string) bool) error) (string, error) {
	var id string
	several := false
	err := each(func(found string) bool {
		several = id != "" && id != found // pages may shift, so that one comes twice
		id = found
		return !several
	})
	switch {
	case err != nil:
		return "", err
	case id == "":
		return "", &codedError{exitRefused, fmt.Errorf("%w %s is named %q", errNoneNamed, kind, name)}
	case several:
		return "", usagef("more than one %s is named %q; give the id", kind, name)
	}
	return id, nil
}

// party takes 0x…, wallet_…, vault_… or a vault's name.
func (c *cli) party(ctx context.Context, api *client.Client, s string) (client.Party, error) {
	switch {
	case elided(s) && strings.HasPrefix(s, "0x"):
		return client.Party{}, usagef("%s: replace … by the rest of the address", s)
	case strings.HasPrefix(s, "0x"):
		return client.Party{Type: client.PartyTypeAddress, Address: &s}, nil
	case strings.HasPrefix(s, "wallet_"):
		return client.Party{Type: client.PartyTypeWalletID, WalletID: &s}, checkID("wallet", s)
	case s == "":
		return client.Party{}, usage(errors.New("an empty party; give 0x…, wallet_…, vault_… or a vault's name"))
	}
	id, err := c.vaultID(ctx, api, s)
	if err != nil {
		return client.Party{}, err
	}
	return client.Party{Type: client.PartyTypeVaultAccountID, VaultAccountID: &id}, nil
}

// performer takes wallet_…, vault_… or a vault's name; empty is the default.
func (c *cli) performer(ctx context.Context, api *client.Client, s string) (*client.Performer, error) {
	if s == "" {
		return nil, nil
	}
	if strings.HasPrefix(s, "0x") {
		return nil, usagef("--performed-by %q: only a wallet or vault of ours can perform; give wallet_…, vault_… or a vault's name", s)
	}
	p, err := c.party(ctx, api, s)
	if err != nil {
		return nil, err
	}
	return &client.Performer{Type: client.PerformerType(p.Type), WalletID: p.WalletID, VaultAccountID: p.VaultAccountID}, nil
}

// checkID refuses what cannot be an id before anybody is asked about it.
func checkID(prefix, id string) error {
	if elided(id) {
		return usagef("%s: replace … by the rest of the id; '%s' shows it", id, lister[prefix])
	}
	if err := policy.CheckID(prefix, id); err != nil {
		if list := lister[prefix]; list != "" {
			return usagef("%w; '%s' shows them", err, list)
		}
		return usage(err)
	}
	return nil
}

// answered refuses an id of the appliance's that is none: it goes into command lines
// that people are shown to paste.
func answered(prefix, id string) error {
	if err := policy.CheckID(prefix, id); err != nil {
		return &client.AnswerError{HTTPStatus: http.StatusOK, Err: err}
	}
	return nil
}

// elided tells an id that was typed as help texts shorten it.
func elided(id string) bool { return strings.HasSuffix(id, "…") || strings.HasSuffix(id, "...") }

// lister are the commands that show the ids of a prefix.
var lister = map[string]string{"token": "mintwarden token list", "op": "mintwarden operation list", "vault": "mintwarden vault list",
	"wallet": "mintwarden wallet list", "pol": "mintwarden policy list", "cred": "mintwarden credential list", "wh": "mintwarden webhook list", "del": "mintwarden webhook deliveries", "user": "mintwarden user list"}
