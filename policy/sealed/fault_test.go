package sealed

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// shim is the module that misbehaves as told (hsm/testdata/shim.c).
var shim = sync.OnceValues(func() (string, error) {
	path := filepath.Join(house.dir, "shim.so")
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", path, "../../hsm/testdata/shim.c", "-ldl", "-lpthread").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// throughShim puts the shim between the seal and its token.
func (p *process) throughShim(hsm string) {
	p.t.Helper()
	path, err := shim()
	require.NoError(p.t, err)
	p.module, p.hsm = path, hsm
	p.env = []string{"SHIM_MODULE=" + p.token.ModulePath, "SHIM_CONTROL=" + p.control(), "SHIM_LOGINS=" + filepath.Join(p.dir, "logins")}
	p.configure("")
}

func (p *process) control() string { return filepath.Join(p.dir, "control") }

func (p *process) tell(what string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(p.control()+".new", []byte(what+"\n"), 0o600))
	require.NoError(p.t, os.Rename(p.control()+".new", p.control()))
}

// insist repeats an authorization until the seal gives it, and returns it with
// how often it was refused. Refusals must be those after which one repeats.
func insist(t *testing.T, c remote, q seal.AuthorizeRequest, refused func()) (*seal.AuthorizeResult, int) {
	t.Helper()
	limit := time.Now().Add(patience)
	for n := 0; ; n++ {
		out, err := c.Authorize(t.Context(), q)
		if err == nil {
			return out, n
		}
		if kind, ok := seal.KindOf(err); ok {
			require.Contains(t, []seal.Kind{seal.KindHSM, seal.KindStore, seal.KindBusy}, kind, "%v", err)
		} else {
			require.ErrorIs(t, err, seal.ErrUnreachable)
		}
		require.True(t, time.Now().Before(limit), "the seal does not recover: %v", err)
		refused()
	}
}

// authorized is how many records of the log authorize the operation.
func authorized(t *testing.T, operation string) int {
	t.Helper()
	n := 0
	require.NoError(t, openLog(t, house.store).after(t.Context(), 0, func(value []byte) error {
		b, err := ledger.ParseBatch(value)
		if err != nil {
			return err
		}
		for _, r := range b.Records {
			if r.Authorize != nil && r.Authorize.OperationID == operation {
				n++
			}
		}
		return nil
	}))
	return n
}

// Whatever the token does, in the middle of an authorization, before and after
// it is in the ledger: nobody has to help, asking again gives the one
// authorization with the one nonce, and only the wallet's own key ever signs.
func TestTheTokenMisbehaves(t *testing.T) {
	type fault struct {
		tell    string
		restart bool // it takes another worker
		doubted bool // a session was lost just before, so handles are read back again
	}
	crashes := map[string]string{"C_Sign abort": "SIGABRT: abort", "C_Decrypt segv": "SIGSEGV: segmentation violation"}
	for name, c := range map[string]struct {
		hsm    string
		faults []fault
	}{
		"and goes on": {"", []fault{
			{"C_Sign 0xB3", false, false}, {"C_Decrypt 0xB0", false, false}, {"C_GetAttributeValue 0x82", false, true}, {"C_SignInit 0x60", false, false},
			{"C_DecryptInit 0x60", false, false}, {"C_Sign 0x05", false, false}, {"C_Decrypt 0x05", false, false}, {"C_Decrypt 0x06", false, false}, {"C_Sign 0x90", false, false},
			{"C_Decrypt 0x90", false, false}, {"C_Sign 0x21", false, false}, {"C_Decrypt 0x40", false, false}, {"C_SignInit shuffle 1", false, false},
			{"C_SignInit shuffle 2", false, false}, {"C_SignInit shuffle 3", false, false}, {"C_DecryptInit shuffle 1", false, false}, {"C_DecryptInit shuffle 2", false, false},
			{"C_GetAttributeValue shuffle 1", false, true}, {"C_GetAttributeValue shuffle 2", false, true},
		}},
		"and is lost": {"", []fault{
			{"C_Sign 0x101", true, false}, {"C_Decrypt 0x101", true, false}, {"C_DecryptInit logout", true, false}, {"C_SignInit closeall", true, false},
			{"C_Decrypt 0x30", true, false}, {"* gone", true, false},
		}},
		"and breaks": {"", []fault{
			{"C_Sign abort", true, false}, {"C_Decrypt segv", true, false}, {"C_Sign 0x190", true, false}, {"C_Decrypt 0x32", true, false}, {"C_Sign 0x06 keep", true, false},
			{"C_Decrypt 0x05 keep", true, false},
		}},
		"and hangs": {"call_timeout = \"1s\"\nmax_stuck = 2", []fault{{"C_Sign hang", true, false}, {"C_Decrypt hang", true, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			p.throughShim(c.hsm)
			conn := p.start()
			i := found(t, p, conn)
			i.furnish()
			i.deploy()
			for n, f := range c.faults {
				in := i.mint("1")
				if f.doubted {
					p.tell("C_Sign 0xB3")
				}
				i.approve(in, 0, 1)
				q := i.request(in)
				worker := p.worker
				p.tell(f.tell)
				out, refusals := insist(t, conn, q, func() {
					if f.restart && runs(worker) {
						return // a fault that lasts, lasts until the worker gave up
					}
					_ = os.Remove(p.control())
				})
				require.NoFileExists(t, p.control(), "%s took place", f.tell)
				if f.restart {
					require.NotZero(t, refusals, f.tell)
					if said := crashes[f.tell]; said != "" {
						crashed := p.await("worker crashed")
						require.Equal(t, said, crashed.Said)
						require.Contains(t, strings.Join(crashed.At, " "), "hsm/", "it says where")
					}
					p.await("worker ended; starting another")
					p.await("seal answers")
					require.NotEqual(t, worker, p.worker)
				}
				signed := i.verified(out)
				require.Equal(t, uint64(n+1), signed.Nonce, f.tell)
				require.Equal(t, i.wallet.PublicKey, signed.PublicKey, f.tell)
				again, err := conn.Authorize(t.Context(), q)
				require.NoError(t, err)
				require.Equal(t, out.Authorization, again.Authorization)
				require.Equal(t, out.Sequence, again.Sequence)
				require.Equal(t, signed.Nonce, i.verified(again).Nonce)
				require.Equal(t, 1, authorized(t, in.OperationID), f.tell)
				require.Equal(t, worker == p.worker, runs(worker), f.tell)
			}
			status, err := conn.Status(t.Context())
			require.NoError(t, err)
			require.False(t, status.Sealed)
			require.NoError(t, p.cmd.Process.Signal(syscall.Signal(0)), "the keeper lives")
		})
	}
}

// The write of an anchor hangs for good. All that is decided afterwards waits for it, and it is one stuck call of the
// few that a token is allowed: another worker, with a login of its own, goes on, and nobody has to help.
func TestAnAnchorWhoseWriteHangs(t *testing.T) {
	p := newProcess(t)
	p.throughShim("call_timeout = \"3s\"")
	conn := p.start()
	i := found(t, p, conn)
	i.furnish()
	worker := p.worker
	p.tell("C_CreateObject hang")
	next := i.nextPolicy()
	_, err := conn.PolicyApply(t.Context(), next) // it changes what holds, and so the anchor
	requireKind(t, seal.KindHSM, err)
	left, leave := context.WithCancel(t.Context())
	defer leave()
	go func() { _, _ = conn.Cancel(left, seal.CancelRequest{OperationID: newID("op"), Reason: "behind it"}) }()
	p.await("worker ended; starting another")
	require.False(t, runs(worker))
	require.NoError(t, os.Remove(p.control()))
	p.back(conn)
	got, err := conn.PolicyApply(t.Context(), next)
	require.NoError(t, err)
	s, err := conn.Status(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, got.Sequence, s.Sequence)
}

// A seal whose token is gone, or is another one, says so: it is not sealed, it
// has no token, and it takes the token up again when it is there.
func TestTheTokenIsGoneAtTheStart(t *testing.T) {
	t.Run("another serial", func(t *testing.T) {
		p := newProcess(t)
		p.hsm = `serial = "0000"`
		p.configure("")
		c := p.start()
		gone(t, c, `serial "0000"`)
		p.await("trying the token again")
		p.back(c)
		status, err := c.Seal(t.Context(), nil)
		require.NoError(t, err, "it can be sealed all the same")
		require.True(t, status.Sealed)
		p.await("sealed")
	})
	t.Run("no answer", func(t *testing.T) {
		p := newProcess(t)
		p.throughShim(`call_timeout = "100ms"`)
		p.tell("C_Login hang")
		gone(t, p.start(), "does not answer")
	})
	t.Run("gone and back", func(t *testing.T) {
		p := newProcess(t)
		p.throughShim("")
		p.tell("* gone")
		c := p.start()
		gone(t, c, "in 0 slots")
		require.NoError(t, os.Remove(p.control()))
		there(t, c)
		found(t, p, c)
	})
	t.Run("canary fails", func(t *testing.T) {
		p := newProcess(t)
		p.throughShim("")
		c := p.start()
		found(t, p, c)
		p.stop()
		p.tell("C_Sign 0x21 keep")
		p.launch()
		p.await("seal answers")
		gone(t, c, "canary")
		require.NoError(t, os.Remove(p.control()))
		there(t, c)
	})
}

// answered asks again while one worker, which ends soon without its token, makes way for the next.
func answered[T any](t *testing.T, ask func() (T, error)) (got T, err error) {
	t.Helper()
	for limit := time.Now().Add(patience); ; {
		if got, err = ask(); !errors.Is(err, seal.ErrUnreachable) || time.Now().After(limit) {
			return got, err
		}
	}
}

// gone asserts what a seal without its token says.
func gone(t *testing.T, c remote, why string) {
	t.Helper()
	status, err := answered(t, func() (*seal.Status, error) { return c.Status(t.Context()) })
	require.NoError(t, err)
	require.False(t, status.Sealed, "no custodian can help")
	require.Equal(t, seal.HSM{Label: "process"}, status.HSM)
	_, err = answered(t, func() (*seal.InitResult, error) { return c.Init(t.Context()) })
	requireKind(t, seal.KindHSM, err)
	require.ErrorContains(t, err, why)
	_, err = answered(t, func() (*seal.Recorded, error) {
		return c.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
	})
	requireKind(t, seal.KindHSM, err)
	_, err = answered(t, func() (*seal.WalletResult, error) {
		return c.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet")})
	})
	requireKind(t, seal.KindHSM, err)
	m, err := answered(t, func() (*seal.Metrics, error) { return c.Metrics(t.Context()) })
	require.NoError(t, err)
	require.Contains(t, m.Text, "mintwarden_seal_token 0")
}

// there waits until the seal has its token.
func there(t *testing.T, c remote) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := c.Status(t.Context())
		return err == nil && s.HSM.Serial != "" && !s.Sealed
	}, patience, 10*time.Millisecond)
}

// A token in a process of its own is killed and comes back: the seal loses it,
// says so, and has it again. (Keys cannot be made there: the protocol of p11-kit
// 0.24 carries neither Ed25519 nor GCM.)
func TestARemoteTokenIsKilledAndComesBack(t *testing.T) {
	p := newProcess(t)
	socket := filepath.Join(p.dir, "p11")
	for _, m := range []string{"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib64/pkcs11/p11-kit-client.so"} {
		if _, err := os.Stat(m); err == nil {
			p.module = m
		}
	}
	require.NotEmpty(t, p.module, "no p11-kit-client.so (apt install p11-kit p11-kit-modules)")
	p.env = []string{"P11_KIT_SERVER_ADDRESS=unix:path=" + socket}
	p.configure("")
	kill := serveToken(t, p, socket)
	c := p.start()
	there(t, c)
	for range 2 {
		kill()
		_, err := c.Init(t.Context())
		requireKind(t, seal.KindHSM, err)
		p.await("worker ended; starting another")
		p.back(c)
		require.Eventually(t, func() bool {
			s, err := c.Status(t.Context())
			return err == nil && s.HSM.Serial == "" && !s.Sealed
		}, patience, time.Millisecond)
		kill = serveToken(t, p, socket)
		there(t, c)
		p.await("trying the token again")
	}
}

func serveToken(t *testing.T, p *process, socket string) (kill func()) {
	t.Helper()
	cmd := exec.Command("p11-kit", "server", "--foreground", "--name", socket, "--provider", p.token.ModulePath, "pkcs11:token="+p.token.Label)
	cmd.Env = append(os.Environ(), p.token.Env())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	kill = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.Remove(socket)
	})
	t.Cleanup(kill)
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	return kill
}

// What is logged is what [log] level asks for, in keeper and worker.
func TestLogLevel(t *testing.T) {
	p := newProcess(t)
	text, err := os.ReadFile(filepath.Join(p.dir, "seal.toml"))
	require.NoError(t, err)
	p.configure(policy.Digest(""))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "seal.toml"), append(text, "[log]\nlevel = \"error\"\n"...), 0o600))
	p.launch()
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", filepath.Join(p.dir, "seal.sock"))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.ended())
	for l := range p.lines {
		require.False(t, strings.HasPrefix(l.Message, "worker started") || l.Message == "seal answers", l.Message)
	}
}
