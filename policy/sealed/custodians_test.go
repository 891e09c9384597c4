package sealed

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A store that shows an older charter than this appliance saw, or none, does not
// give a removed custodian his voice back: who unseals over it is who the newest
// charter named that was seen here.
func TestAttack_AnOlderStoreBringsNoRemovedCustodianBack(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	log := openLog(t, house.store)
	first, err := log.c.Get(t.Context(), "/seal/log/00000000000000000001")
	require.NoError(t, err)
	require.Len(t, first.Kvs, 1)

	next := *i.charter
	next.Version, next.Replaces = 2, &i.digest
	next.Custodians = c.who.seats(2)
	next.Custodians.Members[0] = policy.Custodian{Name: "custodian-4", Keys: []policy.PublicKey{newSigner(t, policy.Ed25519).Public()}}
	payload, err := next.Encode()
	_, err = door.CharterApply(t.Context(), sign(t, policy.DocCharter, payload, err, c.who.custodians[:2]...))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		m, err := readCustodians(filepath.Join(p.dir, "state"))
		return err == nil && m != nil && m.Version == 2
	}, patience, rememberEvery/10)
	p.stop()

	for name, older := range map[string]func(){
		"the first charter": func() {
			emptyLog(t)
			_, err := log.c.Put(t.Context(), "/seal/log/00000000000000000001", string(first.Kvs[0].Value))
			require.NoError(t, err)
		},
		"nothing": func() { emptyLog(t) },
	} {
		older()
		p.launch()
		p.back(door)
		s, err := door.Status(t.Context())
		require.NoError(t, err)
		require.NotNil(t, s.Unsealing, name)
		_, err = c.handIn(door, c.document(s.Unsealing, 0, nil))
		requireKind(t, seal.KindInvalid, err)
		require.ErrorContains(t, err, "not known", name)
		s, err = c.handIn(door, c.document(s.Unsealing, 1, nil))
		require.NoError(t, err, name)
		require.Equal(t, []string{"custodian-2"}, s.Unsealing.Shares)
		p.stop()
	}
}

// What is no such memory is an error, and not none.
func TestTheMemoryOfCustodians(t *testing.T) {
	dir := t.TempDir()
	none, err := readCustodians(dir)
	require.NoError(t, err)
	require.Nil(t, none)
	c := newPeople(t).charter(&seal.InitResult{LedgerKey: newSigner(t, policy.Ed25519).Public(), UnsealKey: []byte("k")}, nil)
	require.NoError(t, writeCustodians(dir, c))
	got, err := readCustodians(dir)
	require.NoError(t, err)
	require.Equal(t, c.Custodians, got.Custodians)
	require.Equal(t, c.Version, got.Version)
	for _, bad := range []string{"", "{}", `{"format":2}`, `{"format":1,"version":1,"custodians":{"threshold":1,"members":[]}}`,
		`{"format":1,"version":1,"custodians":{"threshold":1,"members":[{"name":"a","keys":["x"]}]}}`, string(bytes.Repeat([]byte(" "), maxCustodians+1))} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, custodiansFile), []byte(bad), 0o600))
		_, err := readCustodians(dir)
		require.ErrorContains(t, err, custodiansFile)
	}
	require.Error(t, writeCustodians(filepath.Join(dir, "none"), c))
}

func FuzzParseCustodians(f *testing.F) {
	f.Add([]byte(`{"format":1,"version":1,"custodians":{"threshold":1,"members":[{"name":"a","keys":[]}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseCustodians(text); err == nil && (c.Version == 0 || len(c.Custodians.Members) == 0) {
			t.Fatal("took a memory of nobody")
		}
	})
}
