package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) userCommand() *cobra.Command {
	return group("user", "See who may call the appliance", "  mintwarden user list --as admin", c.userList())
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
		return c.show(listed[client.User]{all}, func() *rows {
			r := &rows{header: []string{"user", "name", "role", "status", "created"}, spare: []string{"created"}}
			for _, u := range all {
				r.add(u.ID, u.Name, string(u.Role), string(u.Status), stamp(u.CreatedAt))
			}
			return r
		})
	})
}
