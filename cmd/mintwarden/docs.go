package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docsCommand writes what the package ships beside the program. It is hidden:
// nobody needs it who has the package.
func (c *cli) docsCommand() *cobra.Command {
	man := c.leaf(&cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a directory",
		Example: "  mintwarden docs man /tmp/man1",
		Args:    cobra.ExactArgs(1),
	}, func(_ context.Context, args []string) error { return manual(c.command(), args[0]) })
	docs := group("docs", "Documents made from the commands themselves", "  mintwarden docs man /tmp/man1", man)
	docs.Hidden = true
	return docs
}

// manual writes a page for each command. Their date is $SOURCE_DATE_EPOCH's, so
// that the same commands make the same bytes.
func manual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "mintwarden " + version, Manual: "mintwarden"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("the manual pages: %w", err)
	}
	return nil
}
