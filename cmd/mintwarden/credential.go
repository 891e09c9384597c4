package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) credentialCommand() *cobra.Command {
	return group("credential", "Make, see, rotate and revoke API keys", "  mintwarden credential list --as admin",
		c.credentialList(), c.credentialShow(), c.credentialCreate(), c.credentialRotate(), c.credentialRevoke())
}

func credentialRows(ctx context.Context, n *names, all ...client.Credential) *rows {
	r := &rows{header: []string{"credential", "user", "label", "status", "permissions", "last used", "expires", "created"}, spare: []string{"created", "expires"}}
	for _, k := range all {
		permissions := strings.Join(k.Permissions, " ")
		if permissions == "" {
			permissions = "all of the role"
		}
		r.add(k.ID, n.user(ctx, k.UserID), k.Label, string(k.Status), permissions, stampOr(k.LastUsedAt, "never"), stampOr(k.ExpiresAt, "never"), stamp(k.CreatedAt))
	}
	return r
}

// stampOr is a time, or a word where there is none.
func stampOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return stamp(*t)
}

func (c *cli) credentialShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show CREDENTIAL", Short: "Show an API key, without its secret, and what it is bound to", Example: "  mintwarden credential show cred_01J… --as admin",
		Args: exactly(1, "one credential id, cred_…"),
	}
	return c.leafOf("cred", cmd, func(ctx context.Context, api *client.Client, id string) error {
		k, err := api.GetCredential(ctx, id)
		if err != nil {
			return err
		}
		if err := c.show(k, func() *rows { return credentialRows(ctx, c.names(ctx), *k) }); err != nil || c.json {
			return err
		}
		for _, f := range k.CertificateFingerprints {
			c.say("bound to the client certificate %s", f)
		}
		for _, n := range k.Cidrs {
			c.say("bound to the network %s", n)
		}
		if k.ReplacedBy != nil {
			c.say("replaced by %s", *k.ReplacedBy)
		}
		return nil
	})
}

func (c *cli) credentialList() *cobra.Command {
	var user string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List API keys, without their secrets", Example: "  mintwarden credential list --user operator", Args: none}
	cmd.Flags().StringVar(&user, "user", "", "only those of a user: user_… or the name")
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		var filter client.ListCredentialsParams
		if user != "" {
			id, err := c.userID(ctx, api, user)
			if err != nil {
				return err
			}
			filter.UserID = &id
		}
		all, err := upTo(limit, api.Credentials(ctx, filter))
		if err != nil {
			return err
		}
		return c.show(listed[client.Credential]{all}, func() *rows { return credentialRows(ctx, c.names(ctx), all...) })
	})
}

func (c *cli) credentialCreate() *cobra.Command {
	var user, label, out, key string
	var permissions, cidrs, fingerprints []string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "create --user USER --out FILE",
		Short: "Make an API key; its secret is shown this once",
		Long: `Make an API key; its secret is shown this once.

The key is written to FILE, readable by you alone, or with --out - to standard
output. Only a hash of it is kept: if it is lost, revoke it and make another.

A key for yourself carries no more than the one that you show, is bound to the
same certificates and networks or to fewer, and expires no later.`,
		Example: `  mintwarden credential create --user operator --label ci --out ci.apikey --as admin
  mintwarden credential create --user mint-service --lifetime 2160h --cidr 10.1.0.0/16 \
      --certificate 2ad6f3… --out mint.apikey --as admin`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", "", "whose key it is: user_… or the name")
	f.StringVar(&out, "out", "", "new file for the key, or - for standard output")
	f.StringVar(&label, "label", "", "a name for people")
	f.StringSliceVar(&permissions, "permission", nil, "narrow it to these permissions, such as tokens:read")
	f.StringSliceVar(&cidrs, "cidr", nil, "narrow it to callers of these networks")
	f.StringSliceVar(&fingerprints, "certificate", nil, "narrow it to client certificates with these SHA-256 fingerprints")
	f.DurationVar(&lifetime, "lifetime", 0, "from when on it is refused, such as 2160h for 90 days (default never)")
	keyFlag(f, &key)
	required(cmd, "user", "out")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		id, err := c.userID(ctx, api, user)
		if err != nil {
			return err
		}
		body := client.CredentialCreate{UserID: id, Label: pointer(label)}
		if lifetime != 0 {
			at := time.Now().Add(lifetime).UTC().Truncate(time.Second)
			body.ExpiresAt = &at
		}
		for _, l := range []struct {
			given []string
			to    **[]string
		}{{permissions, &body.Permissions}, {cidrs, &body.Cidrs}, {fingerprints, &body.CertificateFingerprints}} {
			if l.given != nil {
				*l.to = &l.given
			}
		}
		return c.draw(out, func() (*client.CredentialCreated, error) { return api.CreateCredential(ctx, body, keyed(key)...) })
	})
}

// draw makes a key and keeps it where it was asked for. The file comes first: a
// key that cannot be kept is not made.
func (c *cli) draw(out string, do func() (*client.CredentialCreated, error)) error {
	file, err := keyFile(out)
	if err != nil {
		return err
	}
	made, err := do()
	if err != nil {
		return keepNothing(file, err)
	}
	if made.Key == nil {
		return keepNothing(file, refused("this idempotency key was answered before, and a secret is shown once; revoke %s and make another", made.ID))
	}
	return c.handOver(made, file)
}

func (c *cli) credentialRotate() *cobra.Command {
	var out, key string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "rotate CREDENTIAL --out FILE",
		Short: "Put a new API key in the place of one",
		Long: `Put a new API key in the place of one: the same user, permissions, bindings and
expiry, another secret, which is shown this once. A key that should live longer
is made with 'mintwarden credential create'.

The old key goes on for --grace, so that who uses it can be told of the new one;
with --grace 0s, which is for a key that leaked, it is revoked at once.`,
		Example: "  mintwarden credential rotate cred_01J… --grace 1h --out ci.apikey --as admin",
		Args:    exactly(1, "one credential id, cred_…"),
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "new file for the key, or - for standard output")
	f.DurationVar(&grace, "grace", 0, "how long the old key is still honoured, at most 168h")
	keyFlag(f, &key)
	required(cmd, "out", "grace")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("cred", args[0]); err != nil {
			return err
		}
		if grace < 0 || grace%time.Second != 0 {
			return usagef("--grace %s: want whole seconds, 0s or more", grace)
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		seconds := int(grace / time.Second)
		body := client.CredentialRotate{CredentialID: args[0], GraceSeconds: &seconds}
		return c.draw(out, func() (*client.CredentialCreated, error) { return api.RotateCredential(ctx, body, keyed(key)...) })
	})
}

// keyFile makes the file for a secret, nil for standard output.
func keyFile(out string) (*os.File, error) {
	if out == "-" {
		return nil, nil
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, usagef("--out: %w", err)
	}
	return f, nil
}

// keepNothing takes the empty file away again.
func keepNothing(f *os.File, err error) error {
	if f == nil {
		return err
	}
	f.Close()
	if left := os.Remove(f.Name()); left != nil {
		return fmt.Errorf("%w (and %w)", err, left)
	}
	return err
}

// handOver writes the secret, and it alone, where it was asked for.
func (c *cli) handOver(made *client.CredentialCreated, file *os.File) error {
	secret := *made.Key
	if file == nil {
		if c.json {
			return c.showJSON(made)
		}
		c.out.printf("%s\n", printable(secret))
		return nil
	}
	if _, err := fmt.Fprintln(file, secret); err != nil {
		return fmt.Errorf("%s was made and its key could not be kept, so revoke it: %w", made.ID, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("%s was made and its key could not be kept, so revoke it: %w", made.ID, err)
	}
	if c.json {
		made.Key = nil
		return c.showJSON(made)
	}
	c.say("%s is in %s", made.ID, file.Name())
	return nil
}

func (c *cli) credentialRevoke() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "revoke CREDENTIAL", Short: "Revoke an API key, at once and for good", Example: "  mintwarden credential revoke cred_01J… --as admin",
		Args: exactly(1, "one credential id, cred_…"),
	}
	keyFlag(cmd.Flags(), &key)
	return c.leafOf("cred", cmd, func(ctx context.Context, api *client.Client, id string) error {
		k, err := api.RevokeCredential(ctx, id, keyed(key)...)
		if err != nil {
			return err
		}
		return c.tell(k, "%s is %s", k.ID, k.Status)
	})
}
