package sealed

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Any one custodian seals, with a document that names this appliance and is not
// old; nobody else does, whatever they sign.
func TestSealingByACustodiansDocument(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	who := newPeople(t)
	document := func(instance, appliance string, age time.Duration, by ...*policy.Signer) *policy.Envelope {
		d := policy.Seal{Format: 1, Instance: instance, ApplianceID: appliance, Reason: "drill", CreatedAt: policy.Seconds(time.Now().Add(-age))}
		payload, err := d.Encode()
		return sign(t, policy.DocSeal, payload, err, by...)
	}
	_, err := c.Seal(t.Context(), document("test", testAppliance, 0, who.custodians[0]))
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "no charter")

	i := found(t, p, c)
	one := i.people.custodians[1]
	for name, e := range map[string]*policy.Envelope{
		"an approver":        document("test", testAppliance, 0, i.people.approvers[0]),
		"a stranger":         document("test", testAppliance, 0, who.custodians[0]),
		"another appliance":  document("test", "appliance-2", 0, one),
		"another instance":   document("other", testAppliance, 0, one),
		"of the day before":  document("test", testAppliance, 25*time.Hour, one),
		"of the day to come": document("test", testAppliance, -25*time.Hour, one),
		"another document":   i.first,
	} {
		_, err := c.Seal(t.Context(), e)
		requireKind(t, seal.KindInvalid, err)
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		require.False(t, status.Sealed, name)
	}
	status, err := c.Seal(t.Context(), document("test", testAppliance, 0, one))
	require.NoError(t, err)
	require.True(t, status.Sealed)
	require.Equal(t, "sealed on request", p.await("sealed").Reason)
	p.back(c)
	_, err = c.Init(t.Context())
	requireKind(t, seal.KindSealed, err)
	for { // the new worker reads the ledger first, and says so
		again, err := c.Seal(t.Context(), document("test", testAppliance, 0, one))
		if err == nil {
			require.True(t, again.Sealed, "sealed already")
			return
		}
		requireKind(t, seal.KindStore, err)
	}
}

// A signal to the keeper seals, whatever the worker is doing, and sealing lasts.
func TestSealingBySignal(t *testing.T) {
	for name, hang := range map[string]bool{"a worker that ends": false, "a worker that does not": true} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			c := p.start()
			found(t, p, c)
			worker := p.worker
			require.NoError(t, syscall.Kill(worker, syscall.SIGUSR1), "to the worker it says nothing")
			if hang {
				require.NoError(t, syscall.Kill(worker, syscall.SIGSTOP))
			}
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR1))
			require.Equal(t, "sealed by a signal", p.await("sealed").Reason)
			require.False(t, runs(worker))
			sealed := func() {
				t.Helper()
				p.back(c)
				status, err := c.Status(t.Context())
				require.NoError(t, err)
				require.True(t, status.Sealed)
				_, err = c.Init(t.Context())
				requireKind(t, seal.KindSealed, err)
			}
			sealed()
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR1))
			p.await("sealed") // again is no harm
			sealed()
			p.stop()
			p.launch()
			sealed()
		})
	}
}

// Sealing that cannot be made to last is in doubt, and says so; the login ends all
// the same, and so does what a worker was doing that does not end.
func TestSealingThatCannotLastEndsTheLogin(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	found(t, p, c)
	worker := p.worker
	require.NoError(t, os.Mkdir(filepath.Join(p.dir, "state", "sealed.new"), 0o700)) // where the marker is written first
	_, err := c.Seal(t.Context(), nil)
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "in doubt")
	p.back(c)
	require.False(t, runs(worker))
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.True(t, status.Sealed)
	_, err = c.Init(t.Context())
	requireKind(t, seal.KindSealed, err)
}

// A worker whose token's library hangs when it shall end is not waited for.
func TestSealingEndsAWorkerThatHangs(t *testing.T) {
	p := newProcess(t)
	p.throughShim(`call_timeout = "5m"`)
	c := p.start()
	found(t, p, c)
	worker := p.worker
	p.tell("C_Decrypt hang")
	stuck := make(chan error, 1)
	go func() {
		_, err := c.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"),
			Network: testNetwork, Scheme: tx.Dilithium3, Label: "stuck"})
		stuck <- err
	}()
	for range 20 { // requests of a connection begin in their order
		_, err := c.Status(t.Context())
		require.NoError(t, err)
	}
	status, err := c.Seal(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, status.Sealed)
	require.Error(t, soon(t, stuck, "the answer of who is sealed"))
	p.await("worker started")
	p.back(c)
	require.False(t, runs(worker))
}

// A signal that comes while no worker runs is not lost: here none can, and the
// pauses between attempts grow.
func TestSealingBySignalBetweenWorkers(t *testing.T) {
	p := newProcess(t)
	path := filepath.Join(p.dir, "seal.sock")
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	p.launch()
	for range 4 {
		p.await("worker ended; starting another")
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR1))
	require.Equal(t, "sealed by a signal", p.await("sealed").Reason)
	require.FileExists(t, filepath.Join(p.dir, "state", "sealed"))
}

// Without the ledger nobody knows who the custodians are; that is no fault of the
// document.
func TestSealingBeforeTheLedgerIsRead(t *testing.T) {
	i, _, stop := inProcess(t, roomOptions{}, nil)
	require.NoError(t, stop())
	r := newTestRoom(t, i.digest, roomOptions{}) // not run
	t.Cleanup(func() { _ = r.journal.close() })
	d := policy.Seal{Format: 1, Instance: "test", ApplianceID: testAppliance, Reason: "drill", CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	_, err = r.Seal(t.Context(), seal.SealRequest{Envelope: sign(t, policy.DocSeal, payload, err, i.people.custodians[0])})
	requireKind(t, seal.KindStore, err)
}

// Without a document it is for root and the seal's own user, and who that is
// only a connection says.
func TestSealingWithoutADocument(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, nil)
	_, err := r.Seal(t.Context(), seal.SealRequest{})
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "root")
}

// A document of another kind is refused, and what was wanted is named.
func TestAnotherDocumentIsRefusedByName(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	ask := map[string]func() error{
		"join":    func() error { _, err := r.Join(t.Context(), i.first); return err },
		"recover": func() error { _, err := r.Recover(t.Context(), i.first); return err },
	}
	for name, f := range ask {
		err := f()
		requireKind(t, seal.KindInvalid, err)
		require.ErrorContains(t, err, name)
	}
}
