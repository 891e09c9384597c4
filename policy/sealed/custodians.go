package sealed

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// custodians are those of the newest charter that this appliance saw in a ledger
// that it took, kept in its own state directory: where the store shows an older
// one, a custodian who was removed since does not unseal.
type custodians struct {
	Format     int               `json:"format"`
	Version    uint64            `json:"version"` // of the charter
	Custodians policy.Custodians `json:"custodians"`
}

const (
	custodiansFile   = "custodians.json"
	custodiansFormat = 1
	maxCustodians    = 512 << 10 // bytes; 16 custodians with 8 keys of 2 KiB each in base64
	rememberEvery    = time.Second
)

// readCustodians reads the memory of a state directory, nil where there is none.
func readCustodians(state string) (*custodians, error) {
	c, err := readStrictly(filepath.Join(state, custodiansFile), maxCustodians, parseCustodians)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return c, err
}

func parseCustodians(text []byte) (*custodians, error) {
	if len(text) > maxCustodians {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(text), maxCustodians)
	}
	var c custodians
	if err := json.Unmarshal(text, &c, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	if c.Format != custodiansFormat || c.Version == 0 || len(c.Custodians.Members) == 0 {
		return nil, fmt.Errorf("format %d, charter %d, %d custodians: not as it was written", c.Format, c.Version, len(c.Custodians.Members))
	}
	return &c, nil
}

// keepCustodians keeps the memory up with the charter in force until ctx ends.
func (r *room) keepCustodians(ctx context.Context) {
	var last policy.Digest
	tick := time.NewTicker(rememberEvery)
	defer tick.Stop()
	for {
		if known := r.known(); known.ready && headOf(known.fold) > 0 {
			if c, digest := known.fold.Charter(); digest != last {
				if err := writeCustodians(r.custody.state, c); err != nil {
					r.log.Error("who the custodians are is not remembered", "error", err)
				} else {
					last = digest
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func writeCustodians(state string, c *policy.Charter) error {
	text, err := json.Marshal(&custodians{custodiansFormat, c.Version, c.Custodians}, json.Deterministic(true))
	if err != nil {
		return err
	}
	f, err := writeDurably(filepath.Join(state, custodiansFile), text)
	if err != nil {
		return err
	}
	return f.Close()
}
