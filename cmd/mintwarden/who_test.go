package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// identify lays the demo identities into the appliance's directory: with names
// of the charter's persons, who can sign.
func identify(t *testing.T, a *appliance) {
	for name, key := range map[string]string{"keys/operator": "", "approvers/approver-1": "approver-1", "approvers/approver-2": "approver-2", "custodians/custodian-1": "custodian-1"} {
		path := filepath.Join(a.dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path+".apikey", []byte("qcs_test_key\n"), 0o600))
		if key != "" {
			text, err := os.ReadFile(keyFileOf(t, key))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path+".key", text, 0o600))
		}
	}
}

// demo is a charter whose approvers are named like demo identities.
func demo(c *policy.Charter) {
	for n, name := range []string{"approver-1", "approver-2", "approver-3"} {
		c.Persons[n].Name, c.Persons[n].Keys = name, keys(name)
	}
	c.Groups["approvers"] = []string{"approver-1", "approver-2", "approver-3"}
}

// TestWrongPerson: whoever cannot sign is told so before anything else is
// asked, and who can.
func TestWrongPerson(t *testing.T) {
	w := newWorld(t, demo)
	a := serve(t, w)
	identify(t, a)
	i := w.mint(1)
	a.offer(i)
	a.propose(id("pol", 1), nextPolicy(t, w))
	for _, tt := range []struct {
		args []string
		says string
		code int
	}{
		{[]string{"approve", i.OperationID, "--as", "operator"}, "operator is no approver; " + i.OperationID + " asks 2 of approvers (approver-1, approver-2 and approver-3)", exitRefused},
		{[]string{"reject", i.OperationID, "--as", "operator"}, "operator is no approver", exitRefused},
		{[]string{"approve", i.OperationID, "--as", "custodian-1"}, "custodian-1 is no approver; " + i.OperationID + " asks 2 of approvers", exitRefused},
		{[]string{"approve", i.OperationID, "--as", "approver-9"}, "--as approver-9: there is no such identity; there are approver-1 and approver-2", exitUsage},
		{[]string{"vault", "list", "--as", "approver-9"}, "there are approver-1 and approver-2", exitUsage},
		{[]string{"policy", "sign", "dev-default", "--as", "approver-1"}, "approver-1 is no custodian; policies are signed by 2 of custodian-1, custodian-2 and custodian-3", exitRefused},
		{[]string{"policy", "sign", "dev-default", "--as", "operator"}, "operator is no custodian", exitRefused},
	} {
		got := mintwarden(t, tt.args...)
		require.Equal(t, tt.code, got.code, "%s: %s", tt.args, got.err)
		require.Contains(t, got.err, tt.says)
		require.NotContains(t, got.err, "terminal")
	}
	require.Empty(t, a.sent())

	t.Setenv(client.EnvURL, "https://"+closedPort(t)) // who signs nothing needs no appliance to be told so
	got := mintwarden(t, "approve", i.OperationID, "--as", "operator")
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "operator has no signing key")
}

// TestHintIsPasted: the commands that a request prints for its approvers work as
// they stand.
func TestHintIsPasted(t *testing.T) {
	w := newWorld(t, demo)
	a := serve(t, w)
	identify(t, a)
	i := w.mint(1)
	op := a.offer(i)
	op.OperationID, a.operations[id("op", 1)] = id("op", 1), op
	got := mintwarden(t, "token", "mint", id("token", 1), "--amount", "1000", "--to", "treasury")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "It waits for 2 approvals of approvers:\n  mintwarden approve "+id("op", 1)+" --as approver-1\n  mintwarden approve "+id("op", 1)+" --as approver-2\n")
	require.NotContains(t, got.out, "approver-3") // whose key is not on this machine

	w = newWorld(t, demo, func(c *policy.Charter) { c.Environment = policy.Production })
	a = serve(t, w)
	identify(t, a)
	op = a.offer(w.mint(1))
	op.OperationID, a.operations[id("op", 1)] = id("op", 1), op
	got = mintwarden(t, "token", "mint", id("token", 1), "--amount", "1000", "--to", "treasury")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "  mintwarden approve "+id("op", 1)+" --key FILE\n")
}
