package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// TestInitRefuses what would lose something or pass for somebody else's.
func TestInitRefuses(t *testing.T) {
	s := newSite(t)
	s.start()
	stopAt := func(at string) func(string) error {
		return func(point string) error {
			if point == at {
				return errKilled
			}
			return nil
		}
	}
	// Another custodian's key in the file.
	s.change("ceremony.toml", `key = "dave.key"`, `key = "erin.key"`)
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "custodian dave: the key at")
	s.change("ceremony.toml", "public_keys = [\"dave.pub\"]\nkey = \"erin.key\"", "public_keys = [\"dave.pub\"]\nkey = \"dave.key\"")

	// A token of that name that is not ours. (The run above ended at the unsealing.)
	require.NoError(t, os.Remove(s.path("state/custody.json")))
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, `a token with label "mint" is there already`)
	s.change("seal.toml", `token = "mint"`, `token = "mint-2"`)
	s.stop()
	s.start()

	// Other people than those who hold shares.
	got = s.init(stopAt("charter 1 written"), s.filed()...)
	require.Contains(t, got.err, "killed", s.read("seal.log"))
	s.change("ceremony.toml", "threshold = 2", "threshold = 3")
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "it is never replaced")
	s.change("ceremony.toml", "threshold = 3", "threshold = 2")

	// Another charter than the one that was written.
	s.change("ceremony.toml", "chain_id = 4242", "chain_id = 4243")
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "is another charter 1 than this ceremony makes")
	s.change("ceremony.toml", "chain_id = 4243", "chain_id = 4242")

	// Another charter in seal.toml.
	text := s.read("seal.toml")
	s.write("seal.toml", fmt.Sprintf("charter1 = %q\n%s", policy.NoDigest, text))
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "this appliance has begun already")
	s.write("seal.toml", text)

	// A share of somebody else.
	s.stop()
	s.start()
	carol, dave := s.read("shares/carol.share"), s.read("shares/dave.share")
	s.write("shares/carol.share", dave)
	got = s.init(nil, s.filed()...)
	require.NotEqual(t, exitDone, got.code)
	require.Contains(t, got.err, "carol")
	s.write("shares/carol.share", carol)

	// A PIN file, without a seal, without a terminal.
	s.write("seal.toml", text+"[pin]\nfile = \"pin\"\n")
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "there is no such file")
	s.write("seal.toml", text)
	s.stop()
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitUnreachable, got.code, got.err)
}
