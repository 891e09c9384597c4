package chaintest

import (
	"encoding/json"
	"errors"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// hashOf is the hash of the raw transaction that is the only parameter, as a node that takes it answers.
func hashOf(params json.RawMessage) (json.RawMessage, error) {
	var raw []hexutil.Bytes
	if err := json.Unmarshal(params, &raw); err != nil {
		return nil, err
	}
	if len(raw) != 1 {
		return nil, errors.New("chaintest: eth_sendRawTransaction has one parameter")
	}
	return json.Marshal(crypto.Keccak256Hash(raw[0]))
}
