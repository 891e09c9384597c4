package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mintwarden/mintwarden/policy"
)

// MadeHereFile is the name, in a seal's state directory, of the list of people's keys that were made
// on this appliance, one key id a line. Whoever was on it then may have copies: under a production
// charter the seal takes none of them for a person or a custodian.
const MadeHereFile = "made-here"

// maxMadeHere bounds the list in bytes.
const maxMadeHere = 1 << 20

// NoteMadeHere adds keys to the list, durably, before they are of use to anybody. It is for whoever
// makes keys for others on the appliance, init and dev; no other writes it at the same time.
func NoteMadeHere(dir string, keys ...policy.PublicKey) (err error) {
	had, err := MadeHere(dir)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, k := range keys {
		if !had[k.KeyID()] {
			fmt.Fprintln(&lines, k.KeyID())
		}
	}
	home, err := os.Stat(dir)
	if err != nil {
		return err
	}
	// The directory is the seal's user's: root follows no link that stands there.
	f, err := os.OpenFile(filepath.Join(dir, MadeHereFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if owner, ok := home.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if _, err := f.WriteString(lines.String()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// MadeHere is the list, by key id; empty where there is none. A line that is no key id is an error:
// nothing is taken for allowed because it could not be read.
func MadeHere(dir string) (map[string]bool, error) {
	f, err := os.Open(filepath.Join(dir, MadeHereFile))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMadeHere+1))
	if err != nil {
		return nil, err
	}
	return parseMadeHere(text)
}

func parseMadeHere(text []byte) (map[string]bool, error) {
	if len(text) > maxMadeHere {
		return nil, fmt.Errorf("%s: more than %d bytes", MadeHereFile, maxMadeHere)
	}
	out := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if !policy.Digest(lines.Text()).Valid() {
			return nil, fmt.Errorf("%s: line %d is no key id: %.80q", MadeHereFile, len(out)+1, lines.Text())
		}
		out[lines.Text()] = true
	}
	return out, nil
}
