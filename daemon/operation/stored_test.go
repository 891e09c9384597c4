package operation

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/packed"
)

// What a mint's keys held as earlier versions wrote them, and as this one does.
var storedOnce = []struct {
	name   string
	kind   *packed.Kind
	plain  string
	packed string // in base64
	most   int    // bytes that it may take now
}{
	{"intent", storedIntent, `{"format":1,"domain":"mintwarden/intent","instance":"inst_01M81EQZZ99X3AF4PQHTFMT353","epoch":1,"charter":"sha256:626aa1b362574d97179c0970fa22bb6716bf848f86d24283f28f885107cbb647","operationId":"op_01M81ES4WBP0QJC682E3YTWRQ1","operationType":"MINT","network":"quantum-chain-devnet","chainId":2080377,"scheme":"dilithium3","token":{"id":"token_01M81ERTXAF7TXR9M62FK4TNN8","contractAddress":"0x76D96E0e0E41B1Dd8208c7dAf1b33F081C3833e4","templateId":"tpl_qrc20_v1","symbol":"EIT","decimals":18},"performer":{"walletId":"wallet_01M81ER0T1C9W5CWGY7HFCS6BG","address":"0xb2ea92c68d902EA74fce17b3ae33b2f0A3D949A6"},"params":{"amount":"10","recipient":"0xb2ea92c68d902EA74fce17b3ae33b2f0A3D949A6"},"feeCap":"197113191747936","policies":[{"id":"pol_01M81ER0V7RPYFDF7ESF1SP2HB","version":1,"digest":"sha256:9ccb30abb4c4237d08f3ae3f502c1a12c0932e014a84a95369f75d311241cb21"}],"requester":"operator","notBefore":"2026-11-22T11:03:08Z","expiresAt":"2026-11-23T11:03:08Z"}`,
		"AaTTS24TQRDG8buwj1Sv6arybmx3x4AS2eMWfuy6e6aPwI67I4VNCCTE5AIllb7f/0NcDOPhenU/85hkf9jl9JB54LcVBQqlYOVAg8rsiuoNXKEXolqDYqjdxLqFmYSMO1k3GxC01RpEn3N7WuhX+YbxKKf1Hg5fNsEo8iWfpgM+N/s+nPPy/YVNAgNWvVGoYZzyeUyaz5M/BEpfJT8+2itwNWw9RFggCq5xOxuBNZ3HjpU5geGGjXmR9wKPn/P/GDeME2Tc+GnYnO4vukubY1jfv6BfaSlOLdjsQHFU6W1BrVwW5kodRt66+BheTeSPOm65+FtFyOioos7hrZie/vqm0/6StknjMeFxT7v1Pxrz1ipDqVWaEOsM1rks3AeghgWpgTMtgFJMig8cvOswMyIJtkp4W6N4R5QRV8ArsL8Hi3fEGXEFvAK7fvrxcwA=", 400},
	{"state", storedState, `{"id":"op_01M81ES4WBP0QJC682E3YTWRQ1","type":"MINT","status":"COMPLETED","tokenId":"token_01M81ERTXAF7TXR9M62FK4TNN8","network":"quantum-chain-devnet","walletId":"wallet_01M81ER0T1C9W5CWGY7HFCS6BG","performer":"0xb2ea92c68d902EA74fce17b3ae33b2f0A3D949A6","vaultId":"vault_01M81ER0S3JYPFXX4PY4YWR9QW","amount":"10","recipient":"0xb2ea92c68d902EA74fce17b3ae33b2f0A3D949A6","requestedBy":"operator","credentialId":"cred_01M81EQY8H4H406HKDMMB5Z4SX","feeStrategy":"MEDIUM","feeCap":"197113191747936","policyId":"pol_01M81ER0V7RPYFDF7ESF1SP2HB","policyVersion":1,"approvalPolicyId":"pol_01M81ER0V7RPYFDF7ESF1SP2HB","requiredApprovals":2,"approvalGroup":"approvers","intentDigest":"sha256:f63bbb37b8a9b30b3aa0c565502008323e705bcdaf808fac3fbf881bfe3fb425","approvals":[{"approver":"approver-1","decision":"APPROVE"},{"approver":"approver-2","decision":"APPROVE"}],"authorized":true,"nonce":2,"transactionHash":"0xdbc9b9cf8faec329a0ae7099136d94d299984bceadd0b0cfe740816437b758ef","blockNumber":80,"endBlock":80,"endHash":"0x766e7a2310dfd81808aa0139a7de259d4e8dc85aa21ff2ae624d86dcb9a1f3b3","singleNode":true,"confirmations":2,"settled":true,"ledgerSeq":17,"ledgerIndex":1,"createdAt":"2026-11-22T11:03:08.43Z","updatedAt":"2026-11-22T11:03:09.383Z","expiresAt":"2026-11-23T11:03:08Z","history":[{"status":"SUBMITTED","at":"2026-11-22T11:03:08.43Z"},{"status":"PENDING_AUTHORIZATION","at":"2026-11-22T11:03:08.43Z"},{"status":"APPROVED","at":"2026-11-22T11:03:08.46Z"},{"status":"PENDING_SIGNATURE","at":"2026-11-22T11:03:08.46Z"},{"status":"SIGNED","at":"2026-11-22T11:03:08.476Z"},{"status":"BROADCASTING","at":"2026-11-22T11:03:08.476Z"},{"status":"CONFIRMING","at":"2026-11-22T11:03:08.942Z"},{"status":"COMPLETED","at":"2026-11-22T11:03:09.372Z"}]}`,
		"AcTVy27bOhCA4XfJPgFnhiJnsvNFipHAgS0JkRXgLHh9gLPoLu9ewG5d2ZZsuC3QpQAOR9x8/4kxDGWju/lGbV8XhrGkvu3qLfw2PQxl3e5mlW13tawNVm+6fX/nKyLF9O0KSAxlrVpYSFcsupferqpFY+YvF055TE4wGI6isJxZnUMC68klIo9ZzWgpWmZm3LP9loZe+0212+lNr/uulm13ytyFcHfsvFdChnLb80qvtDKrt+V6PS8+dbM7SDjo0jiQQCBgtRUyRxaH+O2f+2HrTV8tK1s2FTQbXM2Prn6k/w9OXSV0+pa/JWs25L0n69mJJ+XJORUKUxQKlWJCSlYVPkSXWXF2gbLPzOBzouw1Fg+/OP+nMuO4zNEH8RIyZ5cCoTjlklUiQCaKjigirH1ILkblVcjJasVgNFlvC075XHZWQ9p/fB07YI1J1iGBijkysGLnFJA4GxMWEnXiGLhwDiFndMmgjmxi8OIgk6c/b4P9mYprcYBHxBbgWdGz4idN47EYnpIn4v2xy3rAI9LxsntTMtxx+JN703LjhvHUnA2ZibUT6bkxPZaisxF7vnG6Tbcmp2J1Oicaz944Ua/hmDyRxc+Hr/++vg8A", 600},
	{"decisions", storedDecisions, `[{"approver":"approver-1","decision":"APPROVE","reason":"test","decidedAt":"2026-11-22T11:03:08Z","recordedAt":"2026-11-22T11:03:08Z","sequence":14,"document":"sha256:336cfe85652f28df7169fdca1e0aeafa40b61d312215036c823e9739b175575c"}]`,
		"AZzOMRLCQAgF0LvYO8OHwO7mHLYWhIULmNa72zrj2qR/xbtcOfN1Lju4Mz+AnWSn/uf2Y76i22oqYlHZ1ZSL+6wGGzXDkeTp5RsdhilghpJYdJYcTcaBpto0bu/nZwA=", 120},
}

func TestWhatWasStoredEarlierIsRead(t *testing.T) {
	for _, c := range storedOnce {
		now := c.kind.Pack([]byte(c.plain))
		t.Log(c.name, len(c.plain), "bytes take", len(now))
		value, err := base64.StdEncoding.DecodeString(c.packed)
		require.NoError(t, err)
		for _, v := range [][]byte{value, []byte(c.plain), c.kind.Pack([]byte(c.plain))} {
			text, err := unpack(c.kind, v)
			require.NoError(t, err, c.name)
			require.Equal(t, c.plain, string(text), c.name)
		}
		require.LessOrEqual(t, len(now), c.most, c.name)
	}
	closed, err := decode([]byte(storedOnce[1].plain))
	require.NoError(t, err)
	require.True(t, closed.closed())
	require.True(t, storedState.Packed(closed.stored()))
	again, err := decode(closed.stored())
	require.NoError(t, err)
	require.Equal(t, closed, again)
	open := *closed
	open.Status = Confirming
	require.Equal(t, byte('{'), open.stored()[0]) // it is read again at once, by many
	_, err = decode(storedState.Pack(make([]byte, storedText+1)))
	require.ErrorIs(t, err, packed.ErrPacked)
	ds, err := decodeDecisions([]byte(storedOnce[2].plain))
	require.NoError(t, err)
	b, err := encodeDecisions(ds)
	require.NoError(t, err)
	got, err := decodeDecisions(b)
	require.NoError(t, err)
	require.Equal(t, ds, got)
	for rest, c := range map[string]int{"intent": 0, "state": 1, "decision/approver-1": 2} {
		text, err := unpacked(rest, storedOnce[c].kind.Pack([]byte(storedOnce[c].plain)))
		require.NoError(t, err)
		require.Equal(t, storedOnce[c].plain, string(text), "the archive packs a block as a whole")
	}
}

func FuzzStoredState(f *testing.F) {
	f.Add([]byte(storedOnce[1].plain))
	f.Add(storedState.Pack([]byte(storedOnce[1].plain)))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(o.stored())
		require.NoError(t, err)
		require.Equal(t, string(o.encode()), string(again.encode()))
	})
}
