package dev

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSocketPath in bytes: sockaddr_un holds 108, and the seal's socket needs
// the rest of the room for its name.
const maxSocketPath = 90

// directory is DIR of `mintwardend dev --dir DIR`. What formats.md names lies
// at its top; the appliance's own belongings lie in folders beside them.
type directory struct {
	root string
	lock *os.File
}

// ErrBusy says that another process has the directory open.
var ErrBusy = errors.New("another mintwardend dev runs on this directory; stop it first or name another --dir")

// openDirectory makes or reopens root and holds its exclusive lock until close.
func openDirectory(root string) (*directory, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	if strings.ContainsAny(root, "'\n") {
		return nil, fmt.Errorf("dev: directory %q: a quote or a line break cannot stand in its env file; choose another name", root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("dev: %s: %w", root, ErrBusy)
		}
		return nil, fmt.Errorf("dev: lock %s: %w", root, err)
	}
	d := &directory{root: root, lock: lock}
	for _, sub := range []string{"tls/pq", "keys", "approvers", "custodians", "config", "pki", "hsm", "seal", "etcd", "chain"} {
		if err := os.MkdirAll(d.path(sub), 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("dev: %w", err), d.close())
		}
	}
	if err := d.makeRun(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// close takes the sockets' directory away and drops the lock.
func (d *directory) close() error {
	run := d.path("run")
	if private, err := os.Readlink(run); err == nil {
		_ = os.RemoveAll(private)
	}
	_ = os.RemoveAll(run) // holds sockets only; made again at each start
	return d.lock.Close()
}

func (d *directory) path(elements ...string) string {
	return filepath.Join(append([]string{d.root}, elements...)...)
}

// makeRun makes run/, or a link to a private directory under the system's
// temporary one where a socket's path would be too long for the kernel.
func (d *directory) makeRun() error {
	run := d.path("run")
	if len(filepath.Join(run, "seal.sock")) <= maxSocketPath {
		if err := os.MkdirAll(run, 0o700); err != nil {
			return fmt.Errorf("dev: %w", err)
		}
		return nil
	}
	sum := sha256.Sum256([]byte(d.root))
	private := filepath.Join(os.TempDir(), fmt.Sprintf("mintwarden-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6])))
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("dev: %w", err)
	}
	// The name is guessable: somebody else's directory or link there is refused, not used.
	info, err := os.Lstat(private)
	if err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(private, &st); err != nil {
		return fmt.Errorf("dev: %s: %w", private, err)
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("dev: %s is not a private directory of ours; remove it and start again", private)
	}
	if target, err := os.Readlink(run); err == nil && target == private {
		return nil
	}
	_ = os.Remove(run)
	if err := os.Symlink(private, run); err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	return nil
}

// socket is the path of a Unix socket in run/, short enough to bind.
func (d *directory) socket(name string) (string, error) {
	run, err := filepath.EvalSymlinks(d.path("run"))
	if err != nil {
		return "", fmt.Errorf("dev: %w", err)
	}
	return filepath.Join(run, name), nil
}

// exists says whether a file of the directory is there.
func (d *directory) exists(elements ...string) bool {
	_, err := os.Stat(d.path(elements...))
	return err == nil
}

// write puts a file in place whole or not at all: a crash leaves the old one
// or the new one, on disk. Mode 0600, since most files here are secret.
func (d *directory) write(content []byte, elements ...string) error {
	path := d.path(elements...)
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already after the rename
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("dev: %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// writeEnv writes the shell file that a person sources: no secret, only paths.
func (d *directory) writeEnv(url string) error {
	var b strings.Builder
	b.WriteString("# Source this file, then use the mintwarden CLI or curl.\n")
	for _, v := range [][2]string{
		{"MINTWARDEN_URL", url},
		{"MINTWARDEN_CA", d.path("tls", "ca.crt")},
		{"MINTWARDEN_CERT", d.path("tls", "client.crt")},
		{"MINTWARDEN_KEY", d.path("tls", "client.key")},
		{"MINTWARDEN_API_KEY_FILE", d.path("keys", "operator.apikey")},
		{"MINTWARDEN_DIR", d.root},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], v[1])
	}
	return d.write([]byte(b.String()), "env")
}
