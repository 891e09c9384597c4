package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy"
)

// terminal is a real one (pty(7)) with a person at it, who answers what is asked.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	mu     sync.Mutex
	screen bytes.Buffer
	read   int // of screen, what was answered already
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	k := &terminal{t: t, master: master, slave: slave}
	go k.watch()
	t.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
	})
	return k
}

func (k *terminal) watch() {
	b := make([]byte, 4096)
	for {
		n, err := k.master.Read(b)
		k.mu.Lock()
		k.screen.Write(b[:n])
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// seen is what stands on the screen since the last answer.
func (k *terminal) seen() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return string(k.screen.Bytes()[k.read:])
}

// all is everything that ever stood on the screen.
func (k *terminal) all() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.screen.String()
}

// await waits until the screen ends with the prompt and gives what stood before it.
func (k *terminal) await(prompt string) string {
	k.t.Helper()
	var before string
	require.Eventually(k.t, func() bool {
		text := k.seen()
		at := strings.LastIndex(text, prompt)
		if at < 0 {
			return false
		}
		before = text[:at]
		return true
	}, sealPatience, time.Millisecond, "%s was not asked", prompt)
	return before
}

// answer types one line when the prompt has come, and gives what stood before it.
func (k *terminal) answer(prompt, line string) string {
	k.t.Helper()
	before := k.await(prompt)
	k.mu.Lock()
	k.read = k.screen.Len()
	k.mu.Unlock()
	_, err := k.master.WriteString(line + "\n")
	require.NoError(k.t, err)
	return before
}

// code is what a command at the terminal ended with.
func (k *terminal) code(ended <-chan int) int {
	k.t.Helper()
	select {
	case code := <-ended:
		return code
	case <-time.After(2 * sealPatience):
		require.FailNow(k.t, "the command does not end", "%s", k.seen())
		return -1
	}
}

// TestInitAtTheTerminal: nothing but questions and answers. Each custodian sees one
// share, types it back, and the next one does not find it on the screen.
func TestInitAtTheTerminal(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Remove(s.path("ceremony.toml"))) // what is answered makes it
	s.start()
	t.Chdir(s.dir)
	k := newTerminal(t)
	c := &cli{in: k.slave, out: &printer{w: k.slave}, err: &printer{w: k.slave}}
	ended := make(chan int, 1)
	go func() { ended <- c.run(t.Context(), []string{"init", "--token-backed-up", "--keys", s.path("keys")}) }()

	k.answer("Name of the instance", "acme 1")
	k.answer("Name of the instance", "acme-1")
	for _, qa := range [][2]string{
		{"Name of the organization", "acme"}, {"Environment", ""},
		{"Name of a network", "quantum-chain"}, {"its chain id", "4242"}, {"scheme of its wallets", ""}, {"symbol of its currency", ""},
		{"one operation may cost", ""}, {"one wallet may spend", ""}, {"Name of a network", ""},
		{"Name of a custodian", "carol"}, {"their public keys", "carol.pub"}, {"where they sign here", "carol.key"},
		{"Name of a custodian", "dave"}, {"their public keys", "dave.pub"}, {"where they sign here", "dave.key"},
		{"Name of a custodian", "erin"}, {"their public keys", "erin.pub"}, {"where they sign here", "erin.key"},
		{"Name of a custodian", ""}, {"How many of these 3", "2"},
		{"Name of a person", "ann"}, {"their public keys", "ann.pub"}, {"Name of a person", "bob"}, {"their public keys", "bob.pub"}, {"Name of a person", ""},
		{"Name of a group", "approvers"}, {"who is of it", ""}, {"Name of a group", ""},
		{"The seal's configuration", "seal.toml"}, {"serve's configuration", "mintwarden.toml"}, {"Where the first users go", "bootstrap.json"},
		{"Name of the admin", "root"}, {"Where certificates go", "tls"}, {"Names and addresses of the API", "127.0.0.1"}, {"Is the token software", "yes"},
	} {
		k.answer(qa[0], qa[1])
	}
	k.answer("Look at it. Type yes to begin", "yes")

	shares := map[string]string{}
	pattern := regexp.MustCompile(`mwshare1-[a-z2-7-]+`)
	for n, name := range planCustodians {
		k.answer(name+" comes to the terminal", "")
		before := k.await("Type it back from what you keep (not shown):")
		shares[name] = pattern.FindString(before)
		require.NotEmpty(t, shares[name])
		if n == 0 {
			k.answer("(not shown):", strings.Replace(shares[name], "-", "_", 1))
			require.Contains(t, k.answer("Type it back", shares[name]), "share refused")
		} else {
			k.answer("(not shown):", shares[name])
		}
	}
	k.answer("The share of carol (not shown):", shares["carol"])
	k.answer("The share of dave (not shown):", shares["dave"])
	for _, name := range planCustodians {
		k.answer("Does "+name+" sign this?", "yes")
	}
	require.Equal(t, exitDone, k.code(ended), k.seen()+s.read("seal.log"))
	s.begun()
	all := k.all()
	for name, share := range shares {
		require.Equal(t, 1, strings.Count(all, share), "%s's share is shown once and not echoed", name)
	}
	require.Equal(t, len(planCustodians), strings.Count(all, clearScreen))
	_, err := policy.ParseDigest(strings.TrimSpace(s.read("ceremony/charter1.sha256")))
	require.NoError(t, err)
}
