// Command mintwarden is what people use at a terminal: back-end teams to ask
// for operations, approvers to see and sign them, operators to look around.
//
// What it says of charter, policies, tokens and wallets where a person signs is
// read from the ledger, of which it keeps a copy that it verifies itself from
// charter 1 on; the API's word is never enough. Everything it prints is
// escaped, so nothing that somebody typed into a name can move the cursor or
// turn the text around.
//
// What it does not: it cannot know that the appliance holds back batches that
// are newer than all it has seen. The seal, which judges in the end, can.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without the process around it: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{in: stdin, out: &printer{w: stdout}, err: &printer{w: stderr}}
	return c.run(ctx, args)
}

func (c *cli) run(ctx context.Context, args []string) int {
	defer c.close()
	root := c.command()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && c.out.err != nil {
		c.running, err = true, fmt.Errorf("what was done could not be shown: %w", c.out.err)
	}
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		err = &codedError{exitRefused, errors.New("interrupted")}
	}
	if !c.running { // cobra's own complaints about what was typed, at which it reads no further
		err, c.json = usage(err), c.json || asksJSON(args)
	}
	c.complain(cmd, err)
	return exitCode(err)
}

// asksJSON is whether --json stands among arguments that could not all be read.
func asksJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}

// patience is how long a call goes on trying while the appliance restarts.
const patience = 10 * time.Second

func (c *cli) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "mintwarden",
		Short: "Mint, burn and manage the roles of tokens, with approvals",
		Long: `Mint, burn and manage the roles of tokens, with approvals.

Where the appliance is and who calls it is read from the environment, as
'mintwardend dev' writes it into DIR/env: MINTWARDEN_URL, MINTWARDEN_CA,
MINTWARDEN_CERT, MINTWARDEN_KEY, MINTWARDEN_API_KEY_FILE, and MINTWARDEN_DIR
for --as and the digest of charter 1.

What is said to be verified is read from a copy of the appliance's ledger, which
this program verifies from charter 1 on and keeps for you in
$XDG_STATE_HOME/mintwarden/<instance>, by default below ~/.local/state. Keep it:
by it an appliance is caught that shows you an older or another ledger.

Exit codes: 0 done; 1 refused; 2 usage; 3 unreachable; 4 sealed; 5 does not
verify; 6 ended other than COMPLETED.`,
		Example: `  . ./.dev/env
  mintwarden token create --name "Example Institutional Token" --symbol EIT \
      --max-supply 1000000 --vault treasury --policy dev-default
  mintwarden token deploy token_01J…
  mintwarden approve op_01J… --as approver-1`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	f := root.PersistentFlags()
	f.BoolVar(&c.json, "json", false, "print JSON for programs (see 'mintwarden help json')")
	f.StringVar(&c.as, "as", "", "a demo identity of $MINTWARDEN_DIR: operator, admin, viewer, approver-N, custodian-N")
	f.StringVar(&c.charter1, "charter1", "", "digest of charter 1, or a file that holds it (default $MINTWARDEN_DIR/charter1.sha256)")
	f.DurationVar(&c.patience, "patience", patience, "how long to go on trying while the appliance does not answer")
	root.AddCommand(c.tokenCommand(), c.operationCommand(), c.transactionCommand(), c.approveCommand(), c.rejectCommand(), c.policyCommand(),
		c.vaultCommand(), c.walletCommand(), c.auditCommand(), c.charterCommand(), c.credentialCommand(), c.userCommand(), c.roleCommand(), c.certCommand(), c.webhookCommand(),
		c.explainCommand(), c.initCommand(), c.unsealCommand(), c.sealCommand(), c.recoverCommand(), c.renewCommand(), c.rotateCommand(), c.tokenJobCommand(), c.backupCommand(), c.restoreCommand(), c.docsCommand(), jsonTopic())
	helpTexts(root)
	c.completions(root)
	return root
}

// leaf is a command that does something.
func (c *cli) leaf(cmd *cobra.Command, do func(ctx context.Context, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.running = true
		return do(cmd.Context(), args)
	}
	return cmd
}

// leafOf is a leaf whose first argument is the id of what it asks the API about;
// kind is the id's prefix.
func (c *cli) leafOf(kind string, cmd *cobra.Command, do func(ctx context.Context, api *client.Client, id string) error) *cobra.Command {
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID(kind, args[0]); err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		return do(ctx, api, args[0])
	})
}

// group is a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs}
	g.RunE = refuseWithin
	g.AddCommand(commands...)
	return g
}

// refuseWithin is what a group does that was given no command that it has.
func refuseWithin(cmd *cobra.Command, args []string) error {
	var names []string
	for _, s := range cmd.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	if len(args) == 0 {
		return usagef("%s what? One of %s", cmd.CommandPath(), list(names))
	}
	return usagef("%s has no command %q; it has %s", cmd.CommandPath(), args[0], list(names))
}

// jsonTopic is a help text, not a command.
func jsonTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "json",
		Short: "What --json prints",
		Long: `What --json prints, one JSON value on standard output:

  create, show, cancel, propose, sign,
  withdraw, simulate, seal, unseal      the resource, as the API answers it (api/openapi.yaml)
  token deploy|mint|burn|transfer|
  grant|revoke|pause|unpause|freeze|
  unfreeze|allow|disallow               the API's 202 answer; with --wait what operation watch prints
  token retire                          the token, as the API answers it
  token estimate                        the API's estimate: fees in the currency's base units
  list                                  {"data":[…]}, each as show prints it, newest first
  token balance                         {"tokenId","symbol","decimals","balances":[{"address",
                                        "walletId","balance"}],"total"}, in base units
  operation watch                       one line of JSON for each change of the operation
  transaction export                    one array, or CSV where --format says so
  approve, reject                       {"operationId","decision","approver","intentDigest","words",
                                        "notes":[…],"warnings":[…],"status","approved","required",
                                        "alreadyRecorded"}
  policy list|show                      {"policy","digest","inForce","proposals":[…]}: policy is the
                                        document in force, from the verified ledger
  wallet list|show                      {"walletId","vaultAccountId","network","scheme","address",…},
                                        from the verified ledger
  charter show                          {"charter","digest","proposals":[…]}: charter is the one in
                                        force, from the verified ledger
  charter freeze|unfreeze|admit,
  recover, rotate                       {"document","signedBy","required","applied","file"}
  renew show|give|take|submit           {"held","given","keys","waiting","parcels","received",
                                        "outcome",…}
  charter sign --first, unseal and
  renew with --request                  the signed envelope, as --out has it
  cert ca|issue|renew|show              {"data":[{"file","name","algorithm","ends","fingerprint",…}]}
  cert revoke                           {"data":[{"file","added"}]}: the lists
  backup, restore                       {"instance","appliance","charter1","createdAt","revision",
                                        "ledger":{"sequence","head"},"parts":[{"name","entries",
                                        "bytes","digest"}]}
  explain                               {"operationId","recorded","verdict","differs","why",…}
  init                                  {"instance","applianceId","charter1","bootstrap","keys":[…]}
  audit verify                          {"ledger":{"sequence","head","valid"},
                                        "audit":{"valid","entriesChecked","firstEntryHash",
                                        "lastEntryHash","brokenAt"}}
  audit receipt, verify --receipt       {"instance","appliance","charter","index","tree":{"size",
                                        "root"},"recorded","entry"}; with --out - the receipt itself

Errors go to standard error as
  {"error":{"exitCode","message","code","type","requestId","details"}}
where code to details are the API's, if it was the API that refused.

Members may be added in later versions; none is renamed or taken away.`,
	}
}

// complain says on standard error what went wrong, and where help is.
func (c *cli) complain(cmd *cobra.Command, err error) {
	if c.json {
		c.complainJSON(err)
		return
	}
	said := []string{spoken(err)}
	if !c.running { // ours or cobra's own words, which may take several lines
		said = strings.Split(plain(strings.TrimSpace(err.Error())), "\n")
	}
	c.err.printf("mintwarden: %s\n", printable(said[0]))
	for _, line := range said[1:] {
		if line = strings.TrimSpace(line); line != "" {
			c.err.printf("%s\n", printable(line))
		}
	}
	if exitCode(err) == exitUsage && cmd != nil {
		c.err.printf("See '%s --help'.\n", cmd.CommandPath())
	}
}
