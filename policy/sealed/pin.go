package sealed

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// pinSource is where a PIN comes from; the zero value is nowhere.
type pinSource string

const (
	pinQuorum     pinSource = "quorum"        // of custodians only
	pinFile       pinSource = "file"          // dev charters
	pinTPM        pinSource = "tpm"           // a systemd credential that a TPM sealed
	pinHost       pinSource = "host"          // a systemd credential under the host's key, or one of a kind not known here
	maxCredential           = 1<<20 + 128<<10 // bytes; systemd's own limit of an encrypted one
)

// systemd begins an encrypted credential with 16 bytes that say what its key is
// of (its src/shared/creds-util.h, CRED_AES256_GCM_BY_…). These are the kinds in
// which a TPM takes part; what is not among them counts as the host's key alone.
var tpmCredentials = map[string]bool{
	"0c7cc07b117645919c4b0bea08bc20fe": true, // TPM2_HMAC
	"faf7eb9341e3412ca1a436f95a29362f": true, // TPM2_HMAC_WITH_PK
	"93a894094874449090caf2fc93cab553": true, // HOST_AND_TPM2_HMAC
	"ef4ac13679a9480ea7db68897f9f165d": true, // HOST_AND_TPM2_HMAC_SCOPED
	"af4950a849134eb1a73846304ff30c05": true, // HOST_AND_TPM2_HMAC_WITH_PK
	"adbc4ca3efb64201ba881b6f2e4095ea": true, // HOST_AND_TPM2_HMAC_WITH_PK_SCOPED
}

// credentialKind reads of an encrypted credential what sealed it, and gives the
// id of these very bytes.
func credentialKind(path string) (pinSource, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", fmt.Errorf("encrypted credential: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*maxCredential/3))
	if err != nil {
		return "", "", fmt.Errorf("encrypted credential: %w", err)
	}
	kind, err := credentialKindOf(text)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(text)
	return kind, "credential " + hex.EncodeToString(sum[:]), nil
}

// credentialKindOf reads the file's text, base64 with white space anywhere.
func credentialKindOf(text []byte) (pinSource, error) {
	plain := make([]byte, 0, len(text))
	for _, b := range text {
		if !unicode.IsSpace(rune(b)) {
			plain = append(plain, b)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(string(plain))
	if err != nil || len(raw) < 16 {
		return "", errors.New("this is no encrypted systemd credential")
	}
	if tpmCredentials[hex.EncodeToString(raw[:16])] {
		return pinTPM, nil
	}
	return pinHost, nil
}

// loadPIN takes the PIN from its file or credential into locked memory, unless
// this appliance was sealed, or the token refused this very PIN before.
func (k *keeper) loadPIN() error {
	k.source = k.cfg.PIN.source()
	if k.source == pinHost {
		var err error
		if k.source, k.pinID, err = credentialKind(k.cfg.PIN.CredentialSource); err != nil {
			return err
		}
	}
	switch _, err := os.Stat(k.marker(sealedMarker)); {
	case err == nil:
		k.why = "sealed on request"
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// Which PIN the token takes is not known then; nothing is tried that may be stale.
	if custody, err := seal.ReadCustody(k.cfg.State); err == nil && len(custody.Before) > 0 {
		k.why = "a renewal of the shares is not finished: custodians unseal by their new ones, which finishes it"
		return nil
	}
	switch k.source {
	case pinQuorum:
		k.why = whyQuorum
		return nil
	case pinFile:
		return k.readPIN("PIN file", k.cfg.PIN.File)
	}
	if k.refused(k.pinID) {
		kept, err := k.takeKept()
		if kept {
			return nil
		}
		if err != nil {
			k.log.Error("the PIN that the last renewal left cannot be taken", "error", err)
		}
	}
	return k.readPIN("PIN credential", k.cfg.PIN.Credential)
}

const whyQuorum = "a quorum of custodians has to unseal"

func (k *keeper) readPIN(what, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	// systemd gives a credential to the service's user by an ACL, whose mask looks
	// like the group's rights.
	others := os.FileMode(0o007)
	if k.source == pinFile {
		others = 0o077
	}
	if info.Mode().Perm()&others != 0 {
		return fmt.Errorf("%s %s must be readable by its owner only", what, path)
	}
	if k.source == pinFile {
		k.pinID = fileIDOf(info)
	}
	if k.refused(k.pinID) {
		k.why = "the token refused the PIN of this file before; it is not tried again until the file changes"
		k.log.Error("sealed", "reason", k.why)
		return nil
	}
	all := memguard.NewBuffer(maxPIN + 2)
	defer all.Destroy()
	n, err := io.ReadFull(f, all.Bytes())
	if err == nil {
		return fmt.Errorf("%s %s is longer than %d bytes", what, path, maxPIN)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", what, err)
	}
	for n > 0 && (all.Bytes()[n-1] == '\n' || all.Bytes()[n-1] == '\r') {
		n--
	}
	if n == 0 || n > maxPIN {
		return fmt.Errorf("%s %s holds %d bytes, want 1 to %d", what, path, n, maxPIN)
	}
	k.pin = memguard.NewBuffer(n)
	k.pin.Copy(all.Bytes()[:n])
	return nil
}

// fileID tells one state of the PIN file from the next, without its content.
type fileID struct {
	Inode uint64
	Size  int64
	MTime int64 // nanoseconds
}

func (f fileID) String() string { return fmt.Sprintf("%d %d %d", f.Inode, f.Size, f.MTime) }

func fileIDOf(info os.FileInfo) string {
	return fileID{info.Sys().(*syscall.Stat_t).Ino, info.Size(), info.ModTime().UnixNano()}.String()
}

// sourceID is the id of what the configured file or credential holds now; empty where
// there is neither.
func (k *keeper) sourceID() (string, error) {
	switch k.cfg.PIN.source() {
	case pinFile:
		info, err := os.Stat(k.cfg.PIN.File)
		if err != nil {
			return "", err
		}
		return fileIDOf(info), nil
	case pinHost:
		_, id, err := credentialKind(k.cfg.PIN.CredentialSource)
		return id, err
	}
	return "", nil
}

// maxRefused bounds how many PINs are remembered as refused: of a source, and of a
// custody, a few each.
const maxRefused = 16

// refusedPINs are the ids of PINs that the token refused, or will: each is tried once.
func (k *keeper) refusedPINs() []string {
	text, err := os.ReadFile(k.marker("pin-refused"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// refused is true of the PIN that the token refused: it is tried once.
func (k *keeper) refused(id string) bool { return slices.Contains(k.refusedPINs(), id) }

// noteRefused makes it last that the token refused the PIN, or that it is stale.
func (k *keeper) noteRefused(id string) error {
	ids := append(slices.DeleteFunc(k.refusedPINs(), func(had string) bool { return had == id }), id)
	ids = ids[max(0, len(ids)-maxRefused):]
	f, err := writeDurably(k.marker("pin-refused"), []byte(strings.Join(ids, "\n")))
	if err != nil {
		return fmt.Errorf("cannot note that the PIN was refused: %w", err)
	}
	return f.Close()
}
