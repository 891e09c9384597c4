package sealed

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

const (
	// withheldFile is, in the state directory, what was held back of operations that
	// are not decided yet. There is none where nothing ever was.
	withheldFile   = "withheld.json"
	withheldFormat = 1
	// maxWithheld bounds the file, in bytes: some 600,000 operations that wait for
	// approvals, which the fold would need gigabytes for.
	maxWithheld = 64 << 20
)

// withheldText is the file.
type withheldText struct {
	Format     int                     `json:"format"`
	Operations map[string]lateByNumber `json:"operations"` // by operation id
}

type lateByNumber struct {
	By    int64     `json:"by"` // nanoseconds
	Noted time.Time `json:"noted"`
}

// readWithheld reads what an earlier life noted. A directory without the file, and no
// directory at all, is nothing.
func readWithheld(dir string) (withheld, error) {
	none := withheld{of: map[string]late{}}
	if dir == "" {
		return none, nil
	}
	of, err := readStrictly(filepath.Join(dir, withheldFile), maxWithheld, parseWithheld)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return withheld{of: of}, nil
}

func parseWithheld(text []byte) (map[string]late, error) {
	if len(text) > maxWithheld {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(text), maxWithheld)
	}
	var w withheldText
	if err := json.Unmarshal(text, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	if w.Format != withheldFormat {
		return nil, fmt.Errorf("format %d, want %d", w.Format, withheldFormat)
	}
	of := make(map[string]late, len(w.Operations))
	for id, l := range w.Operations {
		if err := policy.CheckID("op", id); err != nil {
			return nil, err
		}
		if l.By <= 0 || l.Noted.IsZero() {
			return nil, fmt.Errorf("operation %s was held back by %d ns, noted at %s", id, l.By, l.Noted)
		}
		of[id] = late{time.Duration(l.By), l.Noted}
	}
	return of, nil
}

// save makes what was noted since last time outlive this process, before the journal
// says that the batches of it were seen: what stands there nobody measures again. What
// is decided needs no DELAY any more.
func (w *withheld) save(dir string, fold *ledger.Fold) error {
	if !w.changed || dir == "" {
		return nil
	}
	text := withheldText{withheldFormat, map[string]lateByNumber{}}
	for id, l := range w.of {
		op, ok := fold.Operation(id)
		if !ok || op.Authorized != nil || op.Cancelled != nil || op.Rejected {
			delete(w.of, id)
			continue
		}
		text.Operations[id] = lateByNumber{int64(l.by), l.noted.UTC()}
	}
	b, err := json.Marshal(text, json.Deterministic(true))
	if err == nil && len(b) > maxWithheld {
		err = fmt.Errorf("%d bytes, want at most %d", len(b), maxWithheld)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", withheldFile, err)
	}
	f, err := writeDurably(filepath.Join(dir, withheldFile), b)
	if err != nil {
		return err
	}
	w.changed = false
	return f.Close()
}
