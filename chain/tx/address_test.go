package tx_test

import (
	"encoding/json/v2"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// The examples of EIP-55 itself.
var eip55 = []string{
	"0x52908400098527886E0F7030069857D2E4169EE7",
	"0x8617E340B3D01FA5F11F306F4090FD50E238070D",
	"0xde709f2102306220921060314715629080e2fb77",
	"0x27b1fdb04752bbc536007a920d24acb045561c26",
	"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
	"0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
	"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
	"0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
}

func TestParseAddress(t *testing.T) {
	for _, s := range eip55 {
		lower := strings.ToLower(s)
		for _, spelling := range []string{s, lower, "0x" + strings.ToUpper(s[2:])} {
			a, err := tx.ParseAddress(spelling)
			require.NoError(t, err)
			require.Equal(t, s, a.String())
		}
	}
	good := eip55[4]
	for name, s := range map[string]string{
		"empty":            "",
		"0x alone":         "0x",
		"no 0x":            good[2:],
		"0X":               "0X" + good[2:],
		"a digit short":    good[:41],
		"a digit long":     good + "0",
		"not hex":          good[:41] + "g",
		"blank in front":   " " + good[:41],
		"wrong checksum":   "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
		"one letter lower": strings.Replace(good, "BeAed", "BeAeD", 1),
		"very long":        "0x" + strings.Repeat("0", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tx.ParseAddress(s)
			var bad *tx.AddressError
			require.ErrorAs(t, err, &bad)
			require.LessOrEqual(t, len(bad.Text), 64)
			require.Less(t, len(err.Error()), 200)
		})
	}
}

func TestDocumentsHaveOneSpelling(t *testing.T) {
	for _, s := range eip55 {
		var a tx.Address
		require.NoError(t, json.Unmarshal([]byte(`"`+s+`"`), &a))
		again, err := json.Marshal(a)
		require.NoError(t, err)
		require.Equal(t, `"`+s+`"`, string(again))
	}
	kept, err := tx.ParseAddress(eip55[0])
	require.NoError(t, err)
	for _, s := range []string{strings.ToLower(eip55[4]), "0x" + strings.ToUpper(eip55[4][2:]), eip55[4][2:], ""} {
		a := kept
		require.Error(t, a.UnmarshalText([]byte(s)), s)
		require.Equal(t, kept, a, "a refused text changes nothing")
	}
}

// Texts are kept by a part of the address; whoever shares the place has his own all the same.
func TestAddressesThatShareAPlaceHaveTheirOwnTexts(t *testing.T) {
	const addresses, callers, rounds = 16, 4, 200
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for n := range addresses * rounds {
				a := tx.Address{byte(n % addresses), 0xab, 19: byte(n%addresses) ^ 0xcd}
				want := common.Address(a).Hex()
				text, err := a.AppendText([]byte("to "))
				if err != nil || string(text) != "to "+want || a.String() != want {
					t.Errorf("%s and %s, want %s (%v)", text, a, want, err)
					return
				}
				var again tx.Address
				if err := again.UnmarshalText([]byte(want)); err != nil || again != a {
					t.Errorf("%s is read as %s (%v)", want, again, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestHashText(t *testing.T) {
	h := tx.HashOf([]byte("mint"))
	require.Equal(t, crypto.Keccak256Hash([]byte("mint")), common.Hash(h))
	got, err := tx.ParseHash(h.String())
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.False(t, h.IsZero())
	require.True(t, tx.Hash{}.IsZero())
	for _, s := range []string{"", "0x", h.String()[2:], h.String() + "0", h.String()[:65], strings.ToUpper(h.String()), "0x" + strings.ToUpper(h.String()[2:]), "0x" + strings.Repeat("g", 64)} {
		_, err := tx.ParseHash(s)
		require.ErrorIs(t, err, tx.ErrHash, s)
	}
}

func TestCreateAddress(t *testing.T) {
	// go-ethereum's published example (crypto.TestNewContractAddress).
	sender, err := tx.ParseAddress("0x970e8128ab834e8eac17ab8e3812f010678cf791")
	require.NoError(t, err)
	for nonce, want := range []string{
		"0x333c3310824b7c685133f2bedb2ca4b8b4df633d",
		"0x8bda78331c916a08481428e4b07c96d3e916d165",
		"0xc9ddedf451bc62ce88bf9292afb13df35b670699",
	} {
		require.Equal(t, want, strings.ToLower(tx.CreateAddress(sender, uint64(nonce)).String()))
	}
}
