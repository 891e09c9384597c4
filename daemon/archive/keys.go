package archive

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"strconv"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// root is where archives are told of in the store.
const root = "/mw/archive/"

// progress is how far an appliance, or the removal, is.
type progress struct {
	Format int    `json:"format"`
	Blocks uint64 `json:"blocks"` // number of the newest block
	Head   string `json:"head"`   // its digest
}

// Keys, below root and the archive's name:
//
//	block/<20-digit number>  a block; they go once the next one is ordered, and everybody has them
//	have/<appliance>         what an appliance has on its disk
//	done                     what is removed from the store
func (a *Archive) prefix() string           { return root + a.o.Name + "/" }
func (a *Archive) blocks() string           { return a.prefix() + "block/" }
func (a *Archive) blockKey(n uint64) string { return fmt.Sprintf("%s%020d", a.blocks(), n) }
func (a *Archive) haveKey(who string) string {
	return a.prefix() + "have/" + who
}
func (a *Archive) doneKey() string { return a.prefix() + "done" }

// Began reports whether anything of what an archive is named after may have left the store: it is to be opened then. A
// block is ordered before the first thing in it leaves, and the newest one stays.
func Began(ctx context.Context, s *store.Store, name string) (bool, error) {
	n, err := s.Count(ctx, root+name+"/block/")
	return n > 0, err
}

func (a *Archive) progress(ctx context.Context, key string) (p progress, err error) {
	value, _, ok, err := a.store.Get(ctx, key)
	if err != nil || !ok {
		return p, err
	}
	if err := json.Unmarshal(value, &p, json.RejectUnknownMembers(true)); err != nil || p.Format != format {
		return p, fmt.Errorf("archive: %s: %.200q", key, value)
	}
	return p, nil
}

// ordered is the newest block in the store; its number is 0 where there is none.
func (a *Archive) ordered(ctx context.Context) (n uint64, raw []byte, err error) {
	p, err := a.store.List(ctx, a.blocks(), store.ListOptions{Descending: true, Limit: 1})
	if err != nil || len(p.KVs) == 0 {
		return 0, nil, err
	}
	n, err = strconv.ParseUint(strings.TrimPrefix(p.KVs[0].Key, a.blocks()), 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("archive: %s: %w", p.KVs[0].Key, err)
	}
	return n, p.KVs[0].Value, nil
}
