package dev_test

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/mintwarden/mintwarden/chain/devnet/geth"
)

// rpcQuietly asks the devnet itself, past every fault; it may be down.
func (h *soakHouse) rpcQuietly(method, params string) error {
	_, err := h.node(method, params)
	return err
}

func (h *soakHouse) node(method, params string) (result []byte, err error) {
	r, err := http.Post("http://"+h.rpc, "application/json", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	return io.ReadAll(r.Body)
}

// devnetConfirmations are the network's. A transaction in the newest block has one, so
// that a reorg of as many blocks takes away one that was final.
const devnetConfirmations = 2

func (h *soakHouse) reorg(depth uint64) {
	if depth >= devnetConfirmations {
		h.deep.Store(true)
	}
	_ = h.rpcQuietly("devnet_reorg", fmt.Sprintf(`["0x%x", false]`, depth)) // it may be down
}

// into asks the devnet and decodes its answer.
func (h *soakHouse) into(v any, method, params string) {
	h.t.Helper()
	text, err := h.node(method, params)
	if err != nil {
		h.t.Fatal(err)
	}
	answer := struct {
		Result any `json:"result"`
	}{v}
	if err := json.Unmarshal(text, &answer); err != nil {
		h.t.Fatalf("%s %s: %v\n%.500s", method, params, err, text)
	}
}

// mined is a transaction as the chain has it.
type mined struct {
	Hash  string         `json:"hash"`
	From  string         `json:"from"`
	Nonce hexutil.Uint64 `json:"nonce"`
}

// event is what a token's contract wrote.
type event struct {
	TransactionHash string        `json:"transactionHash"`
	Address         string        `json:"address"`
	Topics          []string      `json:"topics"`
	Data            hexutil.Bytes `json:"data"`
}

func (e event) amount() *big.Int { return new(big.Int).SetBytes(e.Data) }

// what names the event as the operation that has it.
func (e event) what() string {
	zero := "0x" + strings.Repeat("0", 64)
	switch e.Topics[0] {
	case topic("Transfer(address,address,uint256)"):
		switch zero {
		case e.Topics[1]:
			return "MINT"
		case e.Topics[2]:
			return "BURN"
		}
		return "TRANSFER"
	case topic("RoleGranted(bytes32,address,address)"):
		return "GRANT_ROLE"
	case topic("RoleRevoked(bytes32,address,address)"):
		return "REVOKE_ROLE"
	}
	return e.Topics[0]
}

func topic(signature string) string { return hexutil.Encode(crypto.Keccak256([]byte(signature))) }

// onChain is every transaction of our wallets and every event of our tokens.
func (h *soakHouse) onChain() (transactions map[string]mined, failed map[string]bool, events []event) {
	h.t.Helper()
	ours := map[string]bool{}
	for _, w := range append(h.wallets[:len(h.wallets):len(h.wallets)], h.qustody.wallet) {
		ours[strings.ToLower(w.Address)] = true
	}
	faucet := strings.ToLower(geth.Faucet().String()) // a devnet of the other kind gives coins without a transaction
	transactions, failed = map[string]mined{}, map[string]bool{}
	var head hexutil.Uint64
	h.into(&head, "eth_blockNumber", "[]")
	for n := range head + 1 {
		var b struct {
			Transactions []mined `json:"transactions"`
		}
		h.into(&b, "eth_getBlockByNumber", fmt.Sprintf(`["0x%x", true]`, uint64(n)))
		for _, m := range b.Transactions {
			if strings.ToLower(m.From) == faucet {
				continue
			}
			if !ours[strings.ToLower(m.From)] {
				h.t.Errorf("transaction %s is of %s, who is none of ours", m.Hash, m.From)
			}
			transactions[m.Hash] = m
			var r struct {
				Status string `json:"status"`
			}
			h.into(&r, "eth_getTransactionReceipt", fmt.Sprintf("[%q]", m.Hash))
			failed[m.Hash] = r.Status != "0x1"
		}
	}
	for _, t := range h.tokens {
		var of []event
		h.into(&of, "eth_getLogs", fmt.Sprintf(`[{"fromBlock":"0x0","toBlock":"latest","address":%q}]`, t.contract))
		events = append(events, of...)
	}
	return transactions, failed, events
}
