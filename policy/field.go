package policy

import (
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

const (
	maxTokenName = qrc20.MaxNameSize   // bytes
	maxSymbol    = qrc20.MaxSymbolSize // bytes
	maxLabel     = 512                 // bytes: the API's 128 characters of four bytes each
	// maxTokenDecimals keeps one unit of a token below 2^256 base units (10^77 is the greatest
	// power of ten in it), so that amounts can be shown.
	maxTokenDecimals = 77
)

// document is anything with a strict JSON form.
type document interface{ Check() error }

// encodeDocument checks d and gives its JSON, at most MaxDocument bytes.
func encodeDocument(d document) ([]byte, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	b, err := encode(d)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrDocument, len(b), MaxDocument)
	}
	return b, nil
}

// parse reads one document of the type strictly.
func parse[T any, P interface {
	*T
	document
}](name string, b []byte) (*T, error) {
	var d T
	if err := decodeStrict(b, MaxDocument, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := P(&d).Check(); err != nil {
		return nil, err
	}
	return &d, nil
}

// refused names the document in err and makes it wrap ErrDocument.
func refused(document string, err error) error {
	if errors.Is(err, ErrDocument) {
		return fmt.Errorf("%s: %w", document, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrDocument, document, err)
}

// first is the first error that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkDigest(name string, d Digest) error {
	if !d.Valid() {
		return fmt.Errorf("%s: %w: %.80q", name, ErrDigest, d)
	}
	return nil
}

// checkInteger keeps n within I-JSON's integers, or a reader elsewhere would round it.
func checkInteger(name string, n uint64) error {
	if n > maxInteger {
		return fmt.Errorf("%s %d: at most 2^53-1", name, n)
	}
	return nil
}

func checkVersion(n uint64) error {
	if n == 0 {
		return errors.New("version 0: the first is 1")
	}
	return checkInteger("version", n)
}

// checkReplaces holds a version to its predecessor: the first has none, every other names one.
func checkReplaces(version uint64, replaces *Digest) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	if (version == 1) != (replaces == nil) {
		return fmt.Errorf("version %d: version 1 replaces null, every later one a digest", version)
	}
	if replaces != nil {
		return checkDigest("replaces", *replaces)
	}
	return nil
}

func checkTemplate(id string) error {
	if !isTemplate(id) {
		return fmt.Errorf("%w template id %.64q", ErrShape, id)
	}
	return nil
}

func checkSymbol(s string) error {
	if s == "" {
		return fmt.Errorf("%w symbol: empty", ErrShape)
	}
	return CheckText(s, maxSymbol)
}

func checkDecimals(n uint8) error {
	if n > maxTokenDecimals {
		return fmt.Errorf("%d decimals: at most %d", n, maxTokenDecimals)
	}
	return nil
}

func notZero(name string, a tx.Address) error {
	if a.IsZero() {
		return fmt.Errorf("%s is the zero address", name)
	}
	return nil
}
