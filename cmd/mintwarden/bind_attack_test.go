package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// TestAttack_ABindingThatTakesAnothersPlace: root of serve has custodians sign, as the binding of what they import, one
// that changes what a token in use means: other decimals, so that approvers read other amounts, or another contract, so
// that the old one can be bound anew under an id that the token's own policies do not cover.
func TestAttack_ABindingThatTakesAnothersPlace(t *testing.T) {
	w := newWorld(t)
	inUse := id("token", 1)
	was, digest, _, ok := w.fold.BindingDocument(inUse)
	require.True(t, ok)
	serve := func(change func(*policy.Binding)) (*client.TokenBinding, *policy.Binding) {
		b := *was
		b.Version, b.Replaces = was.Version+1, &digest
		change(&b)
		document, err := b.Encode()
		require.NoError(t, err)
		return &client.TokenBinding{TokenID: b.TokenID, Document: document, DocumentDigest: string(policy.DigestOf(document)), Verified: b.Verified}, &b
	}
	shown := func(served *client.TokenBinding) string {
		t.Helper()
		b, err := bindable(w.fold, inUse, served)
		require.NoError(t, err)
		var out bytes.Buffer
		(&cli{out: &printer{w: &out}}).showBinding(b, served, w.fold)
		return strings.Join(strings.Fields(out.String()), " ")
	}
	served, _ := serve(func(b *policy.Binding) { b.Decimals = 6 })
	require.Contains(t, shown(served), "It CHANGES what the token id means since version 1: Version: 1 becomes 2.")
	require.Contains(t, shown(served), "Decimals: 18 becomes 6.")
	served, other := serve(func(b *policy.Binding) { b.ContractAddress = account("decoy") })
	require.Contains(t, shown(served), "Contract: "+was.ContractAddress.String()+" becomes "+other.ContractAddress.String()+".")
	require.Contains(t, shown(served), "Contract "+was.ContractAddress.String()+" is then no token's")

	_, err := bindable(w.fold, id("token", 2), served)
	require.ErrorContains(t, err, "asked for was "+id("token", 2), "it is not the token that was typed")
	for name, change := range map[string]func(*policy.Binding){
		"a version that is not the next": func(b *policy.Binding) { b.Version++ },
		"another one's successor":        func(b *policy.Binding) { d := policy.DigestOf([]byte("another")); b.Replaces = &d },
		"a first one":                    func(b *policy.Binding) { b.Version, b.Replaces = 1, nil },
	} {
		served, _ := serve(change)
		_, err := bindable(w.fold, inUse, served)
		require.ErrorContains(t, err, "by the ledger the next one is version 2", name)
	}
}
