package sealed

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// recorder stands between callers and a seal and keeps every byte, both ways.
type recorder struct {
	t    *testing.T
	path string // its own socket
	seal string
	l    net.Listener

	mu   sync.Mutex
	said []byte // what callers sent
	all  []byte // and what they were answered
}

func newRecorder(t *testing.T, sealSocket string) *recorder {
	t.Helper()
	r := &recorder{t: t, path: filepath.Join(filepath.Dir(sealSocket), "rec.sock"), seal: sealSocket}
	l, err := net.Listen("unix", r.path)
	require.NoError(t, err)
	r.l = l
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", r.seal)
			if err != nil {
				_ = in.Close()
				continue
			}
			go r.copy(out, in, &r.said)
			go r.copy(in, out, nil)
		}
	}()
	return r
}

func (r *recorder) copy(to, from net.Conn, said *[]byte) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.all = append(r.all, buf[:n]...)
		if said != nil {
			*said = append(*said, buf[:n]...)
		}
		r.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// bytes are all that passed.
func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.all...)
}

// replay sends the unseal requests of the recording to the seal once more, as
// they were, and gives the answers.
func (r *recorder) replay([]byte) (answers []string) {
	r.t.Helper()
	r.mu.Lock()
	said := append([]byte(nil), r.said...)
	r.mu.Unlock()
	conn, err := net.Dial("unix", r.seal)
	require.NoError(r.t, err)
	defer conn.Close()
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	for len(said) > 4 {
		n := 4 + int(binary.BigEndian.Uint32(said))
		frame := said[:n]
		said = said[n:]
		if !strings.Contains(string(frame), `"op":"unseal"`) {
			continue
		}
		_, err := conn.Write(frame)
		require.NoError(r.t, err)
		head := make([]byte, 4)
		_, err = io.ReadFull(conn, head)
		require.NoError(r.t, err)
		body := make([]byte, binary.BigEndian.Uint32(head))
		_, err = io.ReadFull(conn, body)
		require.NoError(r.t, err)
		answers = append(answers, string(body))
	}
	return answers
}

// rawShare is the scalar in a share's text.
func rawShare(t *testing.T, text []byte) []byte {
	t.Helper()
	plain := strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(string(text), "mwshare1-"), "-", ""))
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(plain)
	require.NoError(t, err)
	return raw[1:33]
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	require.NoError(t, err)
	return raw
}

// base64Inside is the part of a secret's base64 that does not depend on what
// stands around it, where it begins at an offset of shift in a group of three.
func base64Inside(secret []byte, shift int) []byte {
	text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
	whole := (shift + len(secret)) / 3 * 4
	from := (shift*8 + 5) / 6
	return []byte(text[from:whole])
}

// signal seals as an operator does on the machine.
func (p *process) signal() error { return p.cmd.Process.Signal(syscall.SIGUSR1) }

func (p *process) kill(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }

// awaitLedger waits until a sealed seal has read who its custodians are.
func (p *process) awaitLedger(c remote) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		s, err := c.Status(p.t.Context())
		return err == nil && s.Initialized
	}, patience, 10*time.Millisecond)
}

// ready waits until the seal is logged in.
func (p *process) ready(c remote) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		s, err := c.Status(p.t.Context())
		return err == nil && !s.Sealed && s.HSM.Serial != ""
	}, patience, 10*time.Millisecond)
}

// makeToken makes another token where the process's own is.
func (p *process) makeToken(label, pin string) {
	p.t.Helper()
	other, err := softhsm.Create(p.t.Context(), filepath.Join(p.dir, "hsm-"+label), label, []byte("so-pin-1"), []byte(pin))
	require.NoError(p.t, err)
	entries, err := filepath.Glob(filepath.Join(filepath.Dir(other.ConfPath), "tokens", "*"))
	require.NoError(p.t, err)
	require.Len(p.t, entries, 1)
	require.NoError(p.t, syscall.Rename(entries[0], filepath.Join(p.dir, "hsm", "tokens", filepath.Base(entries[0]))))
}
