package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) credentialCommand() *cobra.Command {
	return group("credential", "Make, see and revoke API keys", "  mintwarden credential list --as admin",
		c.credentialList(), c.credentialCreate(), c.credentialRevoke())
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
		return c.show(listed[client.Credential]{all}, func() *rows {
			r := &rows{header: []string{"credential", "user", "label", "status", "permissions", "created"}, spare: []string{"created"}}
			n := c.names(ctx)
			for _, k := range all {
				permissions := strings.Join(k.Permissions, " ")
				if permissions == "" {
					permissions = "all of the role"
				}
				r.add(k.ID, n.user(ctx, k.UserID), k.Label, string(k.Status), permissions, stamp(k.CreatedAt))
			}
			return r
		})
	})
}

func (c *cli) credentialCreate() *cobra.Command {
	var user, label, out, key string
	var permissions, cidrs, fingerprints []string
	cmd := &cobra.Command{
		Use:   "create --user USER --out FILE",
		Short: "Make an API key; its secret is shown this once",
		Long: `Make an API key; its secret is shown this once.

The key is written to FILE, readable by you alone, or with --out - to standard
output. Only a hash of it is kept: if it is lost, revoke it and make another.`,
		Example: "  mintwarden credential create --user operator --label ci --out ci.apikey --as admin",
		Args:    none,
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", "", "whose key it is: user_… or the name")
	f.StringVar(&out, "out", "", "new file for the key, or - for standard output")
	f.StringVar(&label, "label", "", "a name for people")
	f.StringSliceVar(&permissions, "permission", nil, "narrow it to these permissions, such as tokens:read")
	f.StringSliceVar(&cidrs, "cidr", nil, "narrow it to callers of these networks")
	f.StringSliceVar(&fingerprints, "certificate", nil, "narrow it to client certificates with these fingerprints")
	f.StringVar(&key, "idempotency-key", "", "makes a repeated call the same call")
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
		for _, l := range []struct {
			given []string
			to    **[]string
		}{{permissions, &body.Permissions}, {cidrs, &body.Cidrs}, {fingerprints, &body.CertificateFingerprints}} {
			if l.given != nil {
				*l.to = &l.given
			}
		}
		// The file comes first: a key that cannot be kept is not made.
		file, err := keyFile(out)
		if err != nil {
			return err
		}
		made, err := api.CreateCredential(ctx, body, keyed(key)...)
		if err != nil {
			return keepNothing(file, err)
		}
		if made.Key == nil {
			return keepNothing(file, refused("this idempotency key was answered before, and a secret is shown once; revoke %s and make another", made.ID))
		}
		return c.handOver(made, file)
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
	cmd.Flags().StringVar(&key, "idempotency-key", "", "makes a repeated call the same call")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("cred", args[0]); err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		k, err := api.RevokeCredential(ctx, args[0], keyed(key)...)
		if err != nil {
			return err
		}
		if c.json {
			return c.showJSON(k)
		}
		c.say("%s is %s", k.ID, k.Status)
		return nil
	})
}
