package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// helpCommand is cobra's, but for topics that are none: they are a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		Long:  "Help about any command, as --help gives it, and about the topics that 'mintwarden help' names.",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, s := range about.Commands() {
					if (s.IsAvailableCommand() || s.IsAdditionalHelpTopicCommand()) && strings.HasPrefix(s.Name(), typed) {
						out = append(out, cobra.CompletionWithDesc(s.Name(), s.Short))
					}
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || about == nil || len(rest) > 0 {
				return usagef("there is no command or topic %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// helpTexts has the groups that cobra makes refuse what they do not have, and
// topics named by the command that shows them.
func helpTexts(root *cobra.Command) {
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	for _, s := range root.Commands() {
		if s.Name() == "completion" {
			s.Args = cobra.ArbitraryArgs
			s.RunE = refuseWithin
		}
	}
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{rpad .CommandPath .CommandPathPadding}}",
		"{{.Root.Name}} help {{rpad .Name .NamePadding}}", 1))
}
