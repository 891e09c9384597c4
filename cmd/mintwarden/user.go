package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) userCommand() *cobra.Command {
	return group("user", "Make, see, appoint and suspend users", "  mintwarden user list --as admin",
		c.userList(), c.userShow(), c.userCreate(), c.userAppoint(),
		c.userStatus("suspend", "Suspend a user: all API keys of that user are refused everywhere within a second", client.UserUpdateStatusSUSPENDED),
		c.userStatus("reinstate", "Honour a suspended user's API keys again", client.UserUpdateStatusACTIVE))
}

func userRows(all ...client.User) *rows {
	r := &rows{header: []string{"user", "name", "role", "status", "created"}, spare: []string{"created"}}
	for _, u := range all {
		r.add(u.ID, u.Name, u.Role, string(u.Status), stamp(u.CreatedAt))
	}
	return r
}

func (c *cli) userList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List users, newest first", Example: "  mintwarden user list --as admin", Args: none}
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.Users(ctx))
		if err != nil {
			return err
		}
		return c.show(listed[client.User]{all}, func() *rows { return userRows(all...) })
	})
}

// aUser is what commands of one user take.
const aUser = "one user: user_… or the name"

func (c *cli) userShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show USER", Short: "Show a user", Example: "  mintwarden user show operator --as admin", Args: exactly(1, aUser),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		id, err := c.userID(ctx, api, args[0])
		if err != nil {
			return err
		}
		u, err := api.GetUser(ctx, id)
		if err != nil {
			return err
		}
		return c.show(u, func() *rows { return userRows(*u) })
	})
}

func (c *cli) userCreate() *cobra.Command {
	var role, key string
	cmd := &cobra.Command{
		Use: "create NAME --role ROLE", Short: "Make a user, who has no API key yet",
		Long: `Make a user, who has no API key yet.

A person has one name: the charter, approvals and the audit log use the same.
'mintwarden role list' says which roles there are; who asks for operations never
approves them, so a user has one role.`,
		Example: "  mintwarden user create auditor-1 --role viewer --as admin", Args: exactly(1, "one name"),
	}
	cmd.Flags().StringVar(&role, "role", "", "what the user may do, see 'mintwarden role list'")
	keyFlag(cmd.Flags(), &key)
	required(cmd, "role")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		u, err := api.CreateUser(ctx, client.UserCreate{Name: args[0], Role: role}, keyed(key)...)
		if err != nil {
			return err
		}
		return c.show(u, func() *rows { return userRows(*u) })
	})
}

func (c *cli) userAppoint() *cobra.Command {
	var role, key string
	cmd := &cobra.Command{
		Use: "appoint USER --role ROLE", Short: "Give a user another role",
		Long: `Give a user another role, in place of the one that the user has.

Nobody changes his own role, nobody gives what he could not have given in a role
that he makes, and the last admin who works stays one.

A role that adds permissions revokes, in the same moment, every API key of the
user that was not narrowed with --permission, for whoever drew it could give what
the role was then: make the user a new one with 'mintwarden credential create'.`,
		Example: "  mintwarden user appoint auditor-1 --role compliance_officer --as admin", Args: exactly(1, aUser),
	}
	cmd.Flags().StringVar(&role, "role", "", "what the user may do from now on, see 'mintwarden role list'")
	keyFlag(cmd.Flags(), &key)
	required(cmd, "role")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.changeUser(ctx, args[0], client.UserUpdate{Role: &role}, key)
	})
}

func (c *cli) userStatus(verb, short string, status client.UserUpdateStatus) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: verb + " USER", Short: short, Example: "  mintwarden user " + verb + " auditor-1 --as admin", Args: exactly(1, aUser),
	}
	keyFlag(cmd.Flags(), &key)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.changeUser(ctx, args[0], client.UserUpdate{Status: &status}, key)
	})
}

func (c *cli) changeUser(ctx context.Context, idOrName string, body client.UserUpdate, key string) error {
	api, err := c.connect()
	if err != nil {
		return err
	}
	id, err := c.userID(ctx, api, idOrName)
	if err != nil {
		return err
	}
	u, err := api.UpdateUser(ctx, id, body, keyed(key)...)
	if err != nil {
		return err
	}
	return c.show(u, func() *rows { return userRows(*u) })
}
