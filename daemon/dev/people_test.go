package dev_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
)

// TestPeopleFromTheCommandLine: an organization makes a role, a service that has
// it, keys for the service, and takes them away again, with the operator's own
// program against a real appliance.
func TestPeopleFromTheCommandLine(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "dev"))
	cli, dir := a.cli(), t.TempDir()
	cli("role", "create", "minter", "--permission", "tokens:mint,tokens:read,transactions:read", "--description", "mints", "--as", "admin")
	cli("role", "list")
	cli("user", "create", "mint-service", "--role", "minter", "--as", "admin")
	first, second := filepath.Join(dir, "first.apikey"), filepath.Join(dir, "second.apikey")
	cli("credential", "create", "--user", "mint-service", "--label", "prod", "--lifetime", "24h", "--cidr", "127.0.0.0/8", "--out", first, "--as", "admin")

	service := func(file string) *client.Client {
		c, err := client.New(client.Config{URL: a.url, CAFile: a.dir + "/tls/ca.crt", CertFile: a.dir + "/tls/client.crt", KeyFile: a.dir + "/tls/client.key", APIKeyFile: file})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reads := func(file string) error {
		_, err := service(file).ListTokens(a.context(), client.ListTokensParams{})
		return err
	}
	refused := func(file string, code int) {
		t.Helper()
		var e *client.Error
		if err := reads(file); !errors.As(err, &e) || e.Code != code {
			t.Fatalf("%s: %v, want code %d", file, err, code)
		}
	}
	if err := reads(first); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key's file: %v, %v", info, err)
	}
	users, err := a.as("admin").ListUsers(a.context(), client.ListUsersParams{})
	if err != nil || users.Data[0].Name != "mint-service" {
		t.Fatalf("users: %+v, %v", users, err)
	}
	keys, err := a.as("admin").ListCredentials(a.context(), client.ListCredentialsParams{UserID: &users.Data[0].ID})
	if err != nil || len(keys.Data) != 1 || keys.Data[0].LastUsedAt == nil || keys.Data[0].ExpiresAt == nil {
		t.Fatalf("keys: %+v, %v", keys, err)
	}
	id := keys.Data[0].ID
	cli("credential", "show", id, "--as", "admin")
	cli("credential", "rotate", id, "--grace", "0s", "--out", second, "--as", "admin")
	refused(first, client.CodeAPIKeyRevoked)
	if err := reads(second); err != nil {
		t.Fatal(err)
	}
	cli("user", "suspend", "mint-service", "--as", "admin")
	refused(second, client.CodeAPIKeyRevoked)
	cli("user", "reinstate", "mint-service", "--as", "admin")
	cli("user", "appoint", "mint-service", "--role", "viewer", "--as", "admin")
	cli("user", "show", "mint-service", "--as", "admin")
	refused(second, client.CodeAPIKeyRevoked) // a viewer reads more than a minter: whoever drew the key could not give that
	third := filepath.Join(dir, "third.apikey")
	cli("credential", "create", "--user", "mint-service", "--out", third, "--as", "admin")
	if _, err := service(third).GetSeal(a.context()); err != nil {
		t.Fatalf("a viewer reads: %v", err)
	}
}
