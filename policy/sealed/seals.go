package sealed

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// usedDocuments are the seal documents that counted, in the state directory for as
// long as they could be played again.
type usedDocuments struct{ path string }

// maxUsed bounds the file, in bytes, and with it how many documents of one day are
// remembered: about a thousand.
const maxUsed = 128 << 10

// counted is true of a document that counted before. What cannot be read stops
// nobody from stopping: it is an error beside false.
func (u usedDocuments) counted(document policy.Digest) (bool, error) {
	known, err := u.read()
	_, ok := known[document]
	return ok, err
}

// note remembers a document that counts until a time, and forgets those that are
// over.
func (u usedDocuments) note(document policy.Digest, until, now time.Time) error {
	known, err := u.read()
	if err != nil {
		known = map[policy.Digest]time.Time{}
	}
	for d, end := range known {
		if end.Before(now) {
			delete(known, d)
		}
	}
	known[document] = until
	text, failed := json.Marshal(known, json.Deterministic(true))
	if failed == nil && len(text) > maxUsed {
		failed = fmt.Errorf("more than %d bytes of seal documents in a day", maxUsed)
	}
	if failed != nil {
		return errors.Join(err, failed)
	}
	f, failed := writeDurably(u.path, text)
	if failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, f.Close())
}

func (u usedDocuments) read() (map[policy.Digest]time.Time, error) {
	text, err := os.ReadFile(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[policy.Digest]time.Time{}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseUsed(text)
}

func parseUsed(text []byte) (map[policy.Digest]time.Time, error) {
	if len(text) > maxUsed {
		return nil, fmt.Errorf("%d bytes of seal documents, want at most %d", len(text), maxUsed)
	}
	known := map[policy.Digest]time.Time{}
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, err
	}
	for d := range known {
		if !d.Valid() {
			return nil, fmt.Errorf("%.80q is no document's digest", d)
		}
	}
	return known, nil
}
