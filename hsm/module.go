package hsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/awnumar/memguard"
	"github.com/miekg/pkcs11"
)

// module is a started PKCS#11 module that signers, and what is done before a login, of a
// process share: a process may start each module once. A Token has its own.
type module struct {
	path  string
	p     *pkcs11.Ctx
	raw   *raw
	users int
}

var modules = struct {
	sync.Mutex
	by map[string]*module
}{by: map[string]*module{}}

// useModule starts the module, or shares it with those that started it.
func useModule(path string) (*module, error) {
	modules.Lock()
	defer modules.Unlock()
	if m := modules.by[path]; m != nil {
		m.users++
		return m, nil
	}
	p := pkcs11.New(path)
	if p == nil {
		return nil, fmt.Errorf("hsm: cannot load module %q", path)
	}
	r, err := rawOf(p)
	if err != nil {
		return nil, err
	}
	if err := p.Initialize(); err != nil {
		return nil, wrap("C_Initialize", err)
	}
	m := &module{path: path, p: p, raw: r, users: 1}
	modules.by[path] = m
	return m, nil
}

// leave ends the module when its last user leaves.
func (m *module) leave() error {
	modules.Lock()
	defer modules.Unlock()
	if m.users--; m.users > 0 {
		return nil
	}
	delete(modules.by, m.path)
	return wrap("C_Finalize", m.p.Finalize())
}

// ErrPINFile: a pin-source's file cannot be taken.
var ErrPINFile = errors.New("hsm: PIN file")

const maxPIN = 255 // bytes

// withPINFile gives f the PIN that stands in the file, without the line's end, in
// locked memory. Others than its owner must not be able to read the file.
func withPINFile(path string, f func(pin []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w %s: mode %v, want a regular file that nobody but its owner reads", ErrPINFile, path, info.Mode())
	}
	buffer := memguard.NewBuffer(maxPIN + 2)
	defer buffer.Destroy()
	n, err := io.ReadFull(file, buffer.Bytes())
	if err == nil {
		return fmt.Errorf("%w %s: longer than %d bytes", ErrPINFile, path, maxPIN)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrPINFile, err)
	}
	pin := buffer.Bytes()[:n]
	if n > 0 && pin[n-1] == '\n' {
		pin = pin[:n-1]
	}
	if len(pin) == 0 || len(pin) > maxPIN {
		return fmt.Errorf("%w %s: %d bytes, want 1 to %d", ErrPINFile, path, len(pin), maxPIN)
	}
	return f(pin)
}
