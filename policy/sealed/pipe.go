package sealed

import (
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// hello is what the keeper tells a worker before anything else. The PIN's bytes
// follow it, raw, so that they pass no encoder: PINLength of them.
type hello struct {
	Config    string    `json:"config"`    // path of seal.toml
	UnsealKey []byte    `json:"unsealKey"` // public half
	BareKey   bool      `json:"bareKey"`   // its private half stands in the state directory as it is
	PIN       pinSource `json:"pin"`       // where the PIN is from, or would be
	PINLength int       `json:"pinLength"` // 0: sealed
	Why       string    `json:"why"`       // why it is sealed
	Level     string    `json:"level"`     // least level to log, one of levels
}

// word is what worker and keeper say to each other afterwards.
type word string

const (
	wordSeal  word = "seal"  // worker: forget the PIN and what shares there are, stay sealed over restarts
	wordShare word = "share" // worker: a custodian's share, still encrypted, whose signature was verified
	wordRenew word = "renew" // worker: a custodian's part in a renewal, verified, or how far is it?
	wordLook  word = "look"  // worker: how far is the quorum?
	wordReady word = "ready" // worker: callers are answered
	wordBeat  word = "beat"  // worker: it lives
)

// asking is a worker's question to its keeper; every one is answered, with its id.
type asking struct {
	ID        uint64 `json:"id"`
	Word      word   `json:"word"`
	Custodian string `json:"custodian,omitzero"` // with a share
	Instance  string `json:"instance,omitzero"`
	Nonce     []byte `json:"nonce,omitzero"`
	Share     []byte `json:"share,omitzero"` // HPKE ciphertext
	// With wordSeal: the document that asks for it, and until when it counts.
	Document policy.Digest `json:"document,omitzero"`
	Until    time.Time     `json:"until,omitzero"`
	Renew    *renewPart    `json:"renew,omitzero"` // with wordRenew
}

// answer is the keeper's. The one with id 0 answers nothing: it only says a new Level.
type answer struct {
	ID       uint64        `json:"id"`
	Level    string        `json:"level,omitzero"` // least level to log, with id 0 only
	Error    *seal.Error   `json:"error,omitzero"`
	Progress *progress     `json:"progress,omitzero"` // nil where there is no custody
	Open     bool          `json:"open,omitzero"`     // the quorum, or the renewal, is complete: the worker ends
	Renewal  *seal.Renewal `json:"renewal,omitzero"`  // to wordRenew
}

// progress is how far a quorum has come.
type progress struct {
	Instance string   `json:"instance"`
	Nonce    []byte   `json:"nonce"`
	Need     int      `json:"need"`
	Shares   []string `json:"shares"`       // custodians
	Why      string   `json:"why,omitzero"` // why shares are not taken
}

const (
	maxWord = 192 << 10 // bytes of a message on the pipes: a charter's custodians, or the parcels of sixteen
	maxPIN  = 255       // bytes; SoftHSM2's own limit, larger than any token's
)

func writeMessage(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxWord {
		return fmt.Errorf("message of %d bytes", len(body))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func readMessage(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxWord {
		return fmt.Errorf("message of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v, json.RejectUnknownMembers(true))
}

// readPIN reads n bytes into locked memory; n = 0 is no PIN.
func readPIN(r io.Reader, n int) (*memguard.LockedBuffer, error) {
	if n == 0 {
		return nil, nil
	}
	if n < 0 || n > maxPIN {
		return nil, fmt.Errorf("PIN of %d bytes, want at most %d", n, maxPIN)
	}
	b := memguard.NewBuffer(n)
	if _, err := io.ReadFull(r, b.Bytes()); err != nil {
		b.Destroy()
		return nil, errors.Join(errors.New("PIN not received"), err)
	}
	return b, nil
}
