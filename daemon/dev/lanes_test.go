package dev_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// TestLanesUnderKills: many operations over several wallets at once, while every process is killed at moments
// that nobody chose. Each request has one effect in the end, and no wallet's nonces have a gap. The long run has
// 200 operations over 8 wallets.
func TestLanesUnderKills(t *testing.T) {
	wallets, operations, kills := 3, 36, 2
	if os.Getenv("MINTWARDEN_LONG") != "" {
		wallets, operations, kills = 8, 200, 6
	}
	l := newTraffic(t, wallets, operations)
	for range kills {
		l.drive(time.Duration(500+rand.IntN(3500)) * time.Millisecond)
		l.a.kill()
		l.a = l.a.again()
	}
	for begin := time.Now(); !l.drive(20 * time.Second); {
		if time.Since(begin) > 5*patience {
			t.Fatal("not everything is COMPLETED")
		}
	}
	l.check()
}

// traffic is what is asked of an appliance: minting one unit, so many times.
type traffic struct {
	t       *testing.T
	a       *appliance
	token   string
	wallets []client.Wallet

	mu   sync.Mutex
	ids  []string // by request; empty while no answer came
	done []bool   // COMPLETED
}

func newTraffic(t *testing.T, wallets, operations int) *traffic {
	l := &traffic{t: t, a: startAppliance(t, filepath.Join(t.TempDir(), "dev")), ids: make([]string, operations), done: make([]bool, operations)}
	vault, first, _ := l.a.treasury()
	l.wallets = []client.Wallet{first}
	c := l.a.as("operator")
	for n := 1; n < wallets; n++ {
		w, err := c.CreateWallet(l.a.context(), vault.ID, client.WalletCreate{Network: first.Network}, client.WithIdempotencyKey(fmt.Sprint("lane-wallet-", n)))
		if err != nil {
			t.Fatal(err)
		}
		l.wallets = append(l.wallets, *w)
	}
	l.token = l.a.deployed().ID
	var grants []string
	for _, w := range l.wallets[1:] {
		op, err := c.GrantTokenRole(l.a.context(), l.token, client.RoleChangeRequest{Role: "MINTER", Subject: client.Party{Type: client.PartyTypeWalletID, WalletID: &w.ID}})
		if err != nil {
			t.Fatal(err)
		}
		l.a.approve(op.OperationID, "approver-1", "approver-2")
		grants = append(grants, op.OperationID)
	}
	for _, id := range grants {
		l.a.completed(id)
	}
	return l
}

// drive asks for everything that is not done, as a caller would who does not know what became of it, for a
// while; it reports whether everything is.
func (l *traffic) drive(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	defer cancel()
	for _, name := range []string{"operator", "approver-1", "approver-2"} {
		l.a.as(name) // before anybody shares it
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for n := range next {
				// What goes wrong here goes wrong in the end, if it matters.
				_ = l.one(ctx, n)
			}
		})
	}
	all := true
asking:
	for n := range l.ids {
		l.mu.Lock()
		done := l.done[n]
		l.mu.Unlock()
		if done {
			continue
		}
		all = false
		select {
		case next <- n:
		case <-ctx.Done():
			break asking
		}
	}
	close(next)
	workers.Wait()
	return all
}

// one asks for one operation, approves it, and waits for its end.
func (l *traffic) one(ctx context.Context, n int) error {
	c := l.a.as("operator")
	w := l.wallets[n%len(l.wallets)]
	op, err := c.MintToken(ctx, l.token, client.MintRequest{Amount: "1", Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &w.ID},
		PerformedBy: &client.Performer{Type: client.PerformerTypeWalletID, WalletID: &w.ID}}, client.WithIdempotencyKey(fmt.Sprint("lane-", n)))
	if err != nil {
		return err
	}
	l.mu.Lock()
	known := l.ids[n]
	l.ids[n] = op.OperationID
	l.mu.Unlock()
	if known != "" && known != op.OperationID {
		l.t.Errorf("request %d is operation %s, and was %s", n, op.OperationID, known)
	}
	for _, name := range []string{"approver-1", "approver-2"} {
		if _, err := l.a.decide(name, policy.Approve, op.OperationID); err != nil {
			var refused *client.Error
			if !errors.As(err, &refused) {
				return err
			}
		}
	}
	end, err := c.WaitOperation(ctx, op.OperationID, client.Done, nil)
	if err != nil {
		return err
	}
	if end.Status != client.OperationStatusCOMPLETED {
		l.t.Errorf("%s is %s", end.OperationID, end.Status)
	}
	l.mu.Lock()
	l.done[n] = true
	l.mu.Unlock()
	return nil
}

// check holds the chain against what was asked for.
func (l *traffic) check() {
	h := &houseToKill{t: l.t, a: l.a}
	want := map[string]int64{l.wallets[0].ID: int64(len(l.wallets))} // the deployment and the grants
	for n := range l.ids {
		want[l.wallets[n%len(l.wallets)].ID]++
	}
	for _, w := range l.wallets {
		if got := h.number("eth_getTransactionCount", fmt.Sprintf(`[%q, "latest"]`, w.Address)); got.Int64() != want[w.ID] {
			l.t.Errorf("wallet %s sent %s transactions, %d operations were numbered", w.ID, got, want[w.ID])
		}
	}
	if s := l.a.supply(l.token); s != fmt.Sprint(len(l.ids)) {
		l.t.Errorf("supply %s after %d mints of 1", s, len(l.ids))
	}
	l.a.intact()
}
