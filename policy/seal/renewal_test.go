package seal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/awnumar/memguard"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func pinsOf(user, so string) *seal.PINs {
	return &seal.PINs{User: memguard.NewBufferFromBytes([]byte(user)), SO: memguard.NewBufferFromBytes([]byte(so))}
}

func renewed(t *testing.T) (*seal.Custody, map[string]seal.Share) {
	t.Helper()
	now, before := pinsOf("the new PIN", "the new SO's"), pinsOf(userPIN, soPIN)
	defer now.Destroy()
	defer before.Destroy()
	c, shares, err := seal.RenewCustody("test", "appliance-1", custodians(t, 2, 3), now, before, ceremony)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, s := range shares {
			s.Destroy()
		}
	})
	return c, shares
}

// An unfinished custody gives what the token has, whichever of both that is, to the
// same shares; a finished one only the new PINs.
func TestACustodyInRenewal(t *testing.T) {
	c, shares := renewed(t)
	text, err := c.Encode()
	require.NoError(t, err)
	again, err := seal.ParseCustody(text)
	require.NoError(t, err)
	require.Equal(t, c, again)
	now, before, err := again.OpenAll(some(c, shares, 0b101))
	require.NoError(t, err)
	require.Equal(t, "the new PIN", string(now.User.Bytes()))
	require.Equal(t, "the new SO's", string(now.SO.Bytes()))
	require.Equal(t, userPIN, string(before.User.Bytes()))
	require.Equal(t, soPIN, string(before.SO.Bytes()))
	now.Destroy()
	before.Destroy()
	require.False(t, now.User.IsAlive())

	done := c.Finished()
	require.NotEmpty(t, c.Before)
	now, before, err = done.OpenAll(some(c, shares, 0b011))
	require.NoError(t, err)
	require.Nil(t, before)
	require.Equal(t, "the new PIN", string(now.User.Bytes()))
	now.Destroy()
}

// Who writes the file cannot have the token given its old PINs back.
func TestAttack_ThePINsOfACustodyAreSwapped(t *testing.T) {
	c, shares := renewed(t)
	swapped := *c
	swapped.Sealed, swapped.Before = c.Before, c.Sealed
	_, _, err := swapped.OpenAll(some(c, shares, 0b011))
	require.ErrorIs(t, err, seal.ErrCustody)
	twice := *c
	twice.Before = c.Sealed
	_, _, err = twice.OpenAll(some(c, shares, 0b011))
	require.ErrorIs(t, err, seal.ErrCustody)
}

func TestACustodyIsReplaced(t *testing.T) {
	dir := t.TempDir()
	first, _ := newCustody(t, 2, 3)
	require.NoError(t, seal.WriteCustody(dir, first))
	next, _ := renewed(t)
	require.ErrorIs(t, seal.WriteCustody(dir, next), fs.ErrExist)
	require.NoError(t, seal.ReplaceCustody(dir, next))
	have, err := seal.ReadCustody(dir)
	require.NoError(t, err)
	require.Equal(t, next, have)
	info, err := os.Stat(filepath.Join(dir, seal.CustodyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")
}

func renewal() *seal.Renewal {
	return &seal.Renewal{Format: 1, Instance: "test", ApplianceID: "appliance-1", UnsealKey: []byte("u"), Charter: policy.DigestOf([]byte("c")), Nonce: make([]byte, 32),
		Held: seal.HeldShares{Threshold: 2, Members: []string{"carol"}, CreatedAt: ceremony}, Given: []string{}, Keys: []string{"carol"}, Waiting: []string{},
		Parcels: map[string][]byte{"carol": {1}}, Received: []string{}}
}

func TestARenewalIsReadStrictly(t *testing.T) {
	text, err := renewal().Encode()
	require.NoError(t, err)
	again, err := seal.ParseRenewal(text)
	require.NoError(t, err)
	require.Equal(t, renewal(), again)
	for _, change := range []func(*seal.Renewal){
		func(r *seal.Renewal) { r.Format = 2 }, func(r *seal.Renewal) { r.Instance = "" }, func(r *seal.Renewal) { r.ApplianceID = "\n" },
		func(r *seal.Renewal) { r.Nonce = r.Nonce[:15] }, func(r *seal.Renewal) { r.Charter = "x" },
	} {
		r := renewal()
		change(r)
		text, err := r.Encode()
		require.NoError(t, err)
		_, err = seal.ParseRenewal(text)
		require.ErrorIs(t, err, seal.ErrRenewal)
	}
	_, err = seal.ParseRenewal(make([]byte, 1<<20))
	require.ErrorIs(t, err, seal.ErrRenewal)
}

func FuzzParseRenewal(f *testing.F) {
	text, err := renewal().Encode()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := seal.ParseRenewal(text)
		if err != nil {
			require.True(t, errors.Is(err, seal.ErrRenewal))
			return
		}
		once, err := r.Encode()
		require.NoError(t, err)
		again, err := seal.ParseRenewal(once)
		require.NoError(t, err)
		twice, err := again.Encode()
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice)) // a list that is left out is written as an empty one
	})
}
