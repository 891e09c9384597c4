package callback

import (
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// published is the published example of a payload, which has no transaction in it.
const published = `{"transactionId":"tx-uuid","signingHash":"0x4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
"status":"SIGNING_REQUESTED","sourceAddress":"0xYourWalletAddress","destinationAddress":"0x742d35Cc6634C0532925a3b844Bc9e7595f2bD68",
"amount":"1000000000000000000","assetId":"asset-uuid"}`

func TestThePublishedPayloadIsBlind(t *testing.T) {
	p, err := parsePayload([]byte(published))
	require.NoError(t, err)
	require.True(t, p.Status.signable())
	require.Empty(t, p.unsigned)
}

// What Qustody shows is taken in each spelling of the same thing, and in no other.
func TestShown(t *testing.T) {
	sender, to, contract := tx.Address{1}, tx.Address{0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba}, tx.Address{3}
	swapped := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'f':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'F':
			return c - 'A' + 'a'
		}
		return c
	}, to.String())
	data, err := qrc20.Call{Method: qrc20.Transfer, Amount: big.NewInt(1000), To: qrc20.Address(to)}.Pack()
	require.NoError(t, err)
	u := &tx.Unsigned{Kind: tx.KindEVM, ChainID: 5, Tip: big.NewInt(1), MaxFee: big.NewInt(1), Gas: 1, To: &contract, Value: new(big.Int), Data: data}
	raw, err := u.EncodeUnsigned()
	require.NoError(t, err)
	read, err := policy.ReadForeign(tx.KindEVM, sender, raw)
	require.NoError(t, err)
	hash := tx.HashOf(raw).String()
	honest := payload{TransactionID: "t", SigningHash: hash, SourceAddress: sender.String(), unsigned: raw}
	for name, c := range map[string]struct {
		change func(*payload)
		why    string
	}{
		"as little as can be":      {func(*payload) {}, ""},
		"an upper-case hash":       {func(p *payload) { p.SigningHash = "0x" + strings.ToUpper(hash[2:]) }, ""},
		"a lower-case sender":      {func(p *payload) { p.SourceAddress = strings.ToLower(sender.String()) }, ""},
		"the recipient":            {func(p *payload) { p.DestinationAddress, p.Amount = to.String(), "1000" }, ""},
		"the contract":             {func(p *payload) { p.DestinationAddress = strings.ToLower(contract.String()) }, ""},
		"a wrong checksum":         {func(p *payload) { p.DestinationAddress = swapped }, "destinationAddress"},
		"an amount of whole coins": {func(p *payload) { p.Amount = "1000.0" }, "amount is something else"},
		"no amount":                {func(p *payload) { p.Amount = "0" }, "amount is 0"},
		"no hash":                  {func(p *payload) { p.SigningHash = "" }, "signingHash is missing"},
		"somebody's name":          {func(p *payload) { p.SourceAddress = "treasury" }, "something else"},
	} {
		p := honest
		c.change(&p)
		why := p.shown("t", sender, read)
		if c.why == "" {
			require.Empty(t, why, name)
		}
		require.Contains(t, why, c.why, name)
	}
}

func TestStagesExcludeEachOther(t *testing.T) {
	for _, s := range []stage{"", "SUBMITTED", "QUEUED", "PENDING_AUTHORIZATION", "PENDING_AML_SCREENING", "APPROVED", "PENDING_SIGNATURE", "SIGNING_REQUESTED",
		"SIGNED", "BROADCASTING", "CONFIRMING", "COMPLETED", "FAILED", "REJECTED", "CANCELLED", "BLOCKED", "SIGN_FAILED", "pending_signature"} {
		n := 0
		for _, is := range []bool{s.signable(), s.taken(), s.givenUp()} {
			if is {
				n++
			}
		}
		require.LessOrEqual(t, n, 1, s)
	}
	require.False(t, stage("").signable() || stage("").taken() || stage("").givenUp())
}

// A Qustody that takes its time has so many steps wait for it, and no more.
func TestQuestionsAreBounded(t *testing.T) {
	s := &Service{slots: make(chan struct{}, maxQuestions)}
	var leave func()
	for range maxQuestions {
		var err error
		leave, err = s.enter()
		require.NoError(t, err)
	}
	_, err := s.enter()
	require.ErrorIs(t, err, errCrowded)
	leave()
	_, err = s.enter()
	require.NoError(t, err)
}

func TestClientRefusesWhatIsNotQustodys(t *testing.T) {
	for _, url := range []string{"http://qustody.example.com", "https://", "https://me:secret@qustody.example.com", "https://qustody.example.com?key=secret", ":", ""} {
		_, err := newClient(url, "key", nil)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "secret")
	}
	for _, key := range []string{"", " \n", "a\nsecret", "sécret", strings.Repeat("k", maxKey+1)} {
		_, err := newClient("https://qustody.example.com/v1", key, nil)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestRefusalsAreForgottenInTheirOrder(t *testing.T) {
	r := newRefusals()
	var at = func(n int) string { return hex.EncodeToString(big.NewInt(int64(n)).Bytes()) + "x" }
	for n := range maxRemembered + 10 {
		require.True(t, r.put(at(n), "why", farAway))
		require.False(t, r.put(at(n), "why", farAway), "said once")
		require.True(t, r.put(at(n), "another why", farAway))
	}
	require.Len(t, r.of, maxRemembered)
	require.Len(t, r.order, maxRemembered)
	_, known := r.lately(at(0), farAway.Add(-1))
	require.False(t, known)
	why, known := r.lately(at(maxRemembered), farAway.Add(-1))
	require.True(t, known)
	require.Equal(t, "another why", why)
	_, known = r.lately(at(maxRemembered), farAway)
	require.False(t, known)
}

var farAway = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// FuzzParsePayload: what is taken holds at most a transaction, and what it says of itself can be said.
func FuzzParsePayload(f *testing.F) {
	f.Add([]byte(published))
	f.Add([]byte(`{"transactionId":"a","unsignedTransaction":"0x02c0"}`))
	f.Add([]byte(`{"unsignedTransaction":"0xzz"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePayload(b)
		if err != nil {
			return
		}
		if len(p.unsigned) > tx.MaxSize || (len(p.unsigned) == 0) != (p.UnsignedTransaction == "") {
			t.Fatalf("%d bytes from %q", len(p.unsigned), p.UnsignedTransaction)
		}
		read, err := policy.ReadForeign(tx.KindQuantum, tx.Address{1}, p.unsigned)
		if err == nil {
			_ = p.shown("a", tx.Address{1}, read)
		}
	})
}

// FuzzParseList: every id that is taken can stand in a key and in a path.
func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":"3c90c3cc-0d44-4b50-8888-8dd25736052a","status":"PENDING_SIGNATURE"}],"pagination":{"total":1}}`))
	f.Add([]byte(`{"data":[{"id":"../x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseList(b)
		if err != nil {
			return
		}
		for _, x := range list {
			if !operation.ValidRef(x.ID) || strings.ContainsAny(x.ID, "/.%?# ") {
				t.Fatalf("took %q", x.ID)
			}
		}
	})
}
