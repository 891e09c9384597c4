package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) roleCommand() *cobra.Command {
	return group("role", "Make and see the roles that users may have", "  mintwarden role list", c.roleList(), c.roleCreate())
}

func roleRows(all ...client.RoleDefinition) *rows {
	r := &rows{header: []string{"role", "permissions", "description", "made"}, spare: []string{"made"}}
	for _, d := range all {
		made := "built in"
		if d.CreatedAt != nil {
			made = stamp(*d.CreatedAt)
		}
		r.add(d.Name, strings.Join(d.Permissions, " "), d.Description, made)
	}
	return r
}

func (c *cli) roleList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List roles, newest first, built-in ones last", Example: "  mintwarden role list", Args: none}
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.Roles(ctx))
		if err != nil {
			return err
		}
		return c.show(listed[client.RoleDefinition]{all}, func() *rows { return roleRows(all...) })
	})
}

func (c *cli) roleCreate() *cobra.Command {
	var permissions []string
	var description, key string
	cmd := &cobra.Command{
		Use: "create NAME --permission PERMISSION…", Short: "Make a role of permissions, for good",
		Long: `Make a role of permissions, for good: a role is never changed.

A role has one duty at most: to ask for operations, to approve them, to sign
policies and charter and work the seal, or to administer users, roles and keys.
Nobody makes a role of what he could not give.`,
		Example: "  mintwarden role create minter --permission tokens:mint --permission tokens:read --as admin", Args: exactly(1, "one name"),
	}
	cmd.Flags().StringSliceVar(&permissions, "permission", nil, "what the role carries, such as tokens:mint or tokens:*")
	cmd.Flags().StringVar(&description, "description", "", "a line for people")
	keyFlag(cmd.Flags(), &key)
	required(cmd, "permission")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		body := client.RoleDefinitionCreate{Name: args[0], Permissions: permissions, Description: pointer(description)}
		d, err := api.CreateRole(ctx, body, keyed(key)...)
		if err != nil {
			return err
		}
		return c.show(d, func() *rows { return roleRows(*d) })
	})
}
