package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// sealDir is where sealProgram is, once it was built.
var sealDir string

// sealProgram is a real mintwarden-seal, built once.
var sealProgram = sync.OnceValues(func() (path string, err error) {
	if sealDir, err = os.MkdirTemp("", "mintwarden-test"); err != nil {
		return "", err
	}
	path = filepath.Join(sealDir, "mintwarden-seal")
	out, err := exec.Command("go", "build", "-o", path, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// site is an appliance before its first ceremony: a real seal process with no PIN, a
// SoftHSM2 without a token, a real etcd, people with keys.
type site struct {
	t     *testing.T
	dir   string
	store store.Config // of the seal
	cmd   *exec.Cmd

	etcdServer *storetest.Server
}

// people of the plan, by what they are.
var (
	planCustodians = []string{"carol", "dave", "erin"}
	planPersons    = []string{"ann", "bob"}
)

func newSite(t *testing.T) *site {
	dir, err := os.MkdirTemp("", "mw") // short: a socket's path is limited
	require.NoError(t, err)
	s := &site{t: t, dir: dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	module, err := softhsm.Module()
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(s.path("hsm/tokens"), 0o700))
	s.write("hsm/softhsm2.conf", fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", s.path("hsm/tokens")))
	t.Setenv(softhsm.EnvConf, s.path("hsm/softhsm2.conf"))
	s.etcdServer = storetest.Start(t)
	etcd := s.etcdServer.ClientConfig(store.UserSeal)
	s.store = etcd
	s.write("seal.toml", fmt.Sprintf(`# the seal of this appliance
appliance = "appliance-1"
state = "state"
socket = "seal.sock"
parent_pipe = true
[hsm]
module = %q
token = "mint"
sessions = 4
[store]
endpoints = [%q]
ca = %q
cert = %q
key = %q
server_name = %q
`, module, etcd.Endpoints[0], etcd.CAFile, etcd.CertFile, etcd.KeyFile, etcd.ServerName))
	s.write("mintwarden.toml", "appliance = \"appliance-1\"\n[api]\nlisten = \"127.0.0.1:8443\"\n")
	for n, name := range append(append([]string{}, planCustodians...), planPersons...) {
		private, public, err := policy.GenerateKeyPEM([]policy.Algorithm{policy.ECDSAP256, policy.Ed25519, policy.MLDSA65}[n%3])
		require.NoError(t, err)
		s.write(name+".key", string(private))
		s.write(name+".pub", string(public))
	}
	s.write("ceremony.toml", strings.ReplaceAll(plan, `public_keys = ["erin.pub", "pkcs11:token=erin;object=sign"]`, `public_keys = ["erin.pub"]`+"\nkey = \"erin.key\""))
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(text), 0o600))
}

func (s *site) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return string(text)
}

// change edits a file.
func (s *site) change(name, old, new string) {
	s.t.Helper()
	text := s.read(name)
	require.Contains(s.t, text, old)
	s.write(name, strings.ReplaceAll(text, old, new))
}

// start runs the seal until the test ends or stop.
func (s *site) start() {
	s.t.Helper()
	exe, err := sealProgram()
	require.NoError(s.t, err)
	cmd := exec.Command(exe, "--config", s.path("seal.toml"))
	stdin, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	log, err := os.OpenFile(s.path("seal.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	defer log.Close()
	cmd.Stderr = log // a file of ours: waiting for the keeper waits for nobody else
	require.NoError(s.t, cmd.Start())
	s.cmd = cmd
	s.t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.await(func(*seal.Status) bool { return true })
}

// stop is a power cut, for the seal alone.
func (s *site) stop() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Kill())
	require.Error(s.t, s.cmd.Wait())
	require.Eventually(s.t, func() bool { // the keeper's worker ends when it sees that the keeper did
		door, err := net.Dial("unix", s.path("seal.sock"))
		if err == nil {
			_ = door.Close()
		}
		return err != nil
	}, time.Minute, 10*time.Millisecond)
}

// await asks the seal until its state is the one that is waited for.
func (s *site) await(ready func(*seal.Status) bool) *seal.Status {
	s.t.Helper()
	door, err := seal.Dial(s.t.Context(), s.path("seal.sock"))
	require.NoError(s.t, err)
	defer door.Close()
	status, err := awaitSeal(s.t.Context(), door, s.path("seal.sock"), "as the test wants it", ready)
	require.NoError(s.t, err)
	return status
}

// init runs the ceremony; point may end it where a crash could.
func (s *site) init(point func(string) error, args ...string) result {
	var out, err bytes.Buffer
	c := &cli{in: strings.NewReader(""), out: &printer{w: &out}, err: &printer{w: &err}, point: point}
	args = append([]string{"init", "--config", s.path("ceremony.toml"), "--token-backed-up", "--patience", "0s"}, args...)
	code := c.run(s.t.Context(), args)
	return result{code, out.String(), err.String()}
}

// filed are the flags of a ceremony without a terminal.
func (s *site) filed() []string {
	return []string{"--yes", "--shares", s.path("shares"), "--keys", s.path("keys")}
}

// begun checks that an instance began: one charter in the ledger, verified from its
// digest, everything where it belongs.
func (s *site) begun() policy.Digest {
	t := s.t
	t.Helper()
	digest, err := policy.ParseDigest(strings.TrimSpace(s.read("ceremony/charter1.sha256")))
	require.NoError(t, err)
	for _, file := range []string{"seal.toml", "mintwarden.toml"} {
		require.Contains(t, s.read(file), fmt.Sprintf("charter1 = %q", digest))
	}
	status := s.await(func(*seal.Status) bool { return true })
	require.False(t, status.Sealed)
	require.True(t, status.Initialized)
	require.Equal(t, "acme-1", status.Instance)
	require.Equal(t, "mint", status.HSM.Label)
	e, err := policy.ParseEnvelope([]byte(s.read("ceremony/charter1.signed")))
	require.NoError(t, err)
	require.Equal(t, digest, e.PayloadDigest())
	charter, err := policy.CheckFirstCharter(e)
	require.NoError(t, err)
	require.Equal(t, policy.Production, charter.Environment)
	first, err := registry.ParseFirstUsers([]byte(s.read("bootstrap.json")))
	require.NoError(t, err)
	require.Len(t, first.Users, 6)
	ann, ok := charter.Person("ann")
	require.True(t, ok)
	for _, u := range first.Users {
		if u.Name == "ann" {
			require.Equal(t, []string{u.ID}, ann.Users)
		}
	}
	return digest
}

// TestInit is a whole first ceremony: production charter, software token accepted,
// two of three custodians.
func TestInit(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	digest := s.begun()
	require.Contains(t, got.out, string(digest))

	// What is kept where: shares and keys for their owners alone, and nothing secret said.
	for _, name := range planCustodians {
		info, err := os.Stat(s.path("shares/" + name + ".share"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		share := strings.TrimSpace(s.read("shares/" + name + ".share"))
		require.NotContains(t, got.out+got.err+s.read("seal.log"), share)
		require.FileExists(t, s.path("keys/"+name+".apikey"))
	}
	require.True(t, strings.HasPrefix(s.read("keys/root.apikey"), "qcs_live_"))
	require.Contains(t, s.read("keys/root.crt"), "BEGIN CERTIFICATE")
	require.NotContains(t, got.out, "qcs_live_")

	// A second time nothing is done, and what is there is named.
	before := s.read("bootstrap.json") + s.read("seal.toml") + s.read("state/custody.json")
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	for _, named := range []string{"a ledger of instance acme-1 at batch 1", "charter 1 " + string(digest), "bootstrap.json"} {
		require.Contains(t, got.err, named)
	}
	require.Equal(t, before, s.read("bootstrap.json")+s.read("seal.toml")+s.read("state/custody.json"))

	// It starts sealed from now on, and two custodians unseal it.
	s.stop()
	s.start()
	require.True(t, s.await(func(st *seal.Status) bool { return st.Unsealing != nil }).Sealed)
	s.unsealBy(digest, "erin", "carol")

	// Local root seals.
	sealed := mintwarden(t, "seal", "--socket", s.path("seal.sock"))
	require.Equal(t, exitDone, sealed.code, sealed.err)
	require.True(t, s.await(func(st *seal.Status) bool { return st.Sealed && st.Unsealing != nil }).Sealed)
}

// unsealBy has custodians give their shares at the socket.
func (s *site) unsealBy(_ policy.Digest, custodians ...string) {
	s.t.Helper()
	for _, name := range custodians {
		s.unsealOffline(name)
	}
	s.await(func(st *seal.Status) bool { return !st.Sealed })
}

// unsealOffline is a custodian who answers a request on a machine of his own; the
// envelope is then brought to the seal.
func (s *site) unsealOffline(custodian string) {
	s.t.Helper()
	status := s.await(func(st *seal.Status) bool { return st.Unsealing != nil })
	q, err := unsealingOf("acme-1", status)
	require.NoError(s.t, err)
	require.NoError(s.t, replace(s.dir, "request.json", q))
	out := s.path(custodian + ".unseal")
	got := mintwarden(s.t, "unseal", "--request", s.path("request.json"), "--name", custodian, "--key", s.path(custodian+".key"),
		"--share", s.path("shares/"+custodian+".share"), "--out", out, "--yes", "--expect-digest", string(q.digest()))
	require.Equal(s.t, exitDone, got.code, got.err)
	require.Contains(s.t, got.out, string(q.digest()))
	e, err := readEnvelope(out)
	require.NoError(s.t, err)
	door, err := seal.Dial(s.t.Context(), s.path("seal.sock"))
	require.NoError(s.t, err)
	defer door.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err = door.Unseal(s.t.Context(), e)
		refused, ok := errors.AsType[*seal.Error](err)
		if reading := ok && refused.Kind == seal.KindStore; !reading || time.Now().After(deadline) {
			break // a seal that has just started says so until it has read who the custodians are
		}
	}
	require.NoError(s.t, err)
}

// errKilled is how a run ends that a crash would end there.
var errKilled = errors.New("killed")

// TestInitGoesOnAfterACrash ends the ceremony at every point once, in one ceremony
// after the other run, each time by a new process of which nothing is left but what
// is on the disk, in the token and in the seal.
func TestInitGoesOnAfterACrash(t *testing.T) {
	s := newSite(t)
	s.start()
	reached := map[string]bool{}
	var order []string
	for {
		died := false
		got := s.init(func(point string) error {
			if !reached[point] && point != "first users" { // then it is over
				reached[point], died = true, true
				order = append(order, point)
				return errKilled
			}
			return nil
		}, s.filed()...)
		if !died {
			require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
			break
		}
		require.Contains(t, got.err, "killed")
	}
	require.Equal(t, []string{"shares handed out", "shares", "token", "unsealed", "credential", "keys", "users", "charter 1 written", "charter 1 signed",
		"charter 1 named in seal.toml", "charter 1 named in mintwarden.toml", "charter 1 named", "charter 1 in force",
		"first keys given out", "bootstrap.json written"}, order)
	s.begun()
	s.holdsOneBatch()
}

// holdsOneBatch: charter 1 went in once.
func (s *site) holdsOneBatch() {
	s.t.Helper()
	status := s.await(func(*seal.Status) bool { return true })
	require.Equal(s.t, ledger.FirstSequence, status.Sequence)
}

// TestInitGoesOnWhenTheSealRestarts: the machine went down between the steps, so the
// seal is sealed again; the shares bring it back.
func TestInitGoesOnWhenTheSealRestarts(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(func(point string) error {
		if point == "charter 1 named" {
			return errKilled
		}
		return nil
	}, s.filed()...)
	require.Contains(t, got.err, "killed")
	s.stop()
	s.start()
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	s.begun()
}

// TestInitWithCustodiansElsewhere: erin's key never comes near the appliance; nor do
// carol's and dave's. Each run says what is missing and goes on with what was brought.
func TestInitWithCustodiansElsewhere(t *testing.T) {
	s := newSite(t)
	for _, name := range planCustodians {
		s.change("ceremony.toml", fmt.Sprintf("key = %q\n", name+".key"), "")
	}
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "2 shares of carol, dave and erin still needed")
	shown := regexp.MustCompile(`the unseal key there must be (sha256:[0-9a-f]{64})`).FindStringSubmatch(got.err)
	require.NotNil(t, shown, got.err)
	for _, name := range []string{"dave", "erin"} {
		bring := mintwarden(t, "unseal", "--request", s.path("ceremony/unseal.json"), "--name", name, "--key", s.path(name+".key"),
			"--share", s.path("shares/"+name+".share"), "--out", s.path("ceremony/unseal/"+name+".json"),
			"--yes", "--expect-digest", shown[1])
		require.Equal(t, exitDone, bring.code, bring.err)
	}
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "charter 1 waits for the signature of carol, dave and erin")
	digest := policy.DigestOf([]byte(s.read("ceremony/charter1.json")))
	require.Contains(t, got.err, string(digest))
	for _, name := range planCustodians {
		sign := mintwarden(t, "charter", "sign", "--first", s.path("ceremony/charter1.json"), "--key", s.path(name+".key"),
			"--out", s.path("ceremony/signatures/"+name+".json"), "--yes", "--expect-digest", string(digest))
		require.Equal(t, exitDone, sign.code, sign.err)
		require.Contains(t, sign.out, "2 of 3 sign a change")
	}
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	s.begun()
}

// TestInitLeavesACredential for an unattended start: what the custodians split is what
// systemd decrypts. The run that leaves it is a later one, which needs their shares.
func TestInitLeavesACredential(t *testing.T) {
	s := newSite(t)
	s.change("ceremony.toml", "software_token_accepted = true", "software_token_accepted = true\nhost_key_accepted = true")
	s.start()
	got := s.init(func(point string) error {
		if point == "unsealed" {
			return errKilled
		}
		return nil
	}, s.filed()...)
	require.Contains(t, got.err, "killed")
	got = s.init(nil, append(s.filed(), "--credential", s.path("pin"), "--credential-name", "seal_pin")...)
	require.Equal(t, exitDone, got.code, got.err)
	s.begun()
	pin, err := exec.Command("systemd-creds", "decrypt", "--name=seal_pin", s.path("pin"), "-").Output()
	require.NoError(t, err)
	custody, err := seal.ReadCustody(s.path("state"))
	require.NoError(t, err)
	shares := map[string]seal.Share{}
	for _, name := range planCustodians[:2] {
		shares[name], err = readShare(s.path("shares/" + name + ".share"))
		require.NoError(t, err)
	}
	user, _, err := custody.Open(shares)
	require.NoError(t, err)
	require.Equal(t, string(user.Bytes()), string(pin))
	require.NotContains(t, got.out+got.err+s.read("seal.log"), string(pin))
}

// TestTheTokenBelongsToTheSeal: root begins the instance, and what the token's library
// writes is the seal's own user's.
func TestTheTokenBelongsToTheSeal(t *testing.T) {
	s := newSite(t)
	const nobody = 65534
	if os.Geteuid() != 0 { // then there is no other user to become: it stays ours
		attr, err := asOwnerOf(s.dir)
		require.NoError(t, err)
		require.Nil(t, attr)
		_, err = asOwnerOf("/")
		require.ErrorContains(t, err, "run this as that user or as root")
		return
	}
	require.NoError(t, os.Mkdir(s.path("state"), 0o700))
	for _, dir := range []string{".", "state", "hsm", "hsm/tokens"} {
		require.NoError(t, os.Chown(s.path(dir), nobody, nobody))
	}
	require.NoError(t, os.Chown(s.path("hsm/softhsm2.conf"), nobody, nobody))
	config, err := loadSealConfig(s.path("seal.toml"))
	require.NoError(t, err)
	pins, err := drawPINs(8)
	require.NoError(t, err)
	f := &founding{c: &cli{out: &printer{w: io.Discard}, err: &printer{w: io.Discard}}, seal: config, pins: pins}
	require.NoError(t, f.makeToken(t.Context()))
	found, err := f.findToken(t.Context())
	require.NoError(t, err)
	require.True(t, found.UserPIN)
	entries, err := os.ReadDir(s.path("hsm/tokens"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	info, err := entries[0].Info()
	require.NoError(t, err)
	require.Equal(t, nobody, ownerOf(info).uid)
}
