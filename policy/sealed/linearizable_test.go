package sealed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	bookOperations = 40
	bookLimit      = 1000
)

// book is what two seals together must be to those who ask them: one book, in which each line is written once.
type book struct {
	charged int
	next    uint64                 // nonce
	nonces  [bookOperations]uint64 // of what is authorized; 0: it is not
	ended   [bookOperations]bool   // cancelled
}

// asked is one line of it: an authorization, or the cancellation, of an operation.
type asked struct {
	operation int
	units     int
	cancel    bool
}

// told is what came of it.
type told struct {
	nonce uint64
	kind  seal.Kind // of the refusal; empty: done
}

// write tells whether a book may answer so, and what it is then.
func (b book) write(q asked, a told) (bool, book) {
	nonce, ended := b.nonces[q.operation], b.ended[q.operation]
	switch {
	case q.cancel && nonce != 0, !q.cancel && ended:
		return a.kind == seal.KindConflict, b
	case q.cancel:
		b.ended[q.operation] = true
		return a.kind == "", b
	case nonce != 0:
		return a.kind == "" && a.nonce == nonce, b
	case b.charged+q.units > bookLimit:
		return a.kind == seal.KindDenied, b
	}
	b.charged += q.units
	b.nonces[q.operation] = b.next
	b.next++
	return a.kind == "" && a.nonce == b.nonces[q.operation], b
}

// Many ask two seals for what a limit has no room for, and cancel some of it, while each seal in turn is killed and comes
// back. Who is refused by one seal, or hears nothing, asks the other until somebody answers. All that was answered is what
// one book would have answered, line after line, in an order that contradicts nobody's clock.
func TestTwoSealsThatDieAreOneBook(t *testing.T) {
	rounds := 1
	if long() {
		rounds = 10
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { oneBook(t, rand.New(rand.NewPCG(seed, seed))) })
	}
}

func oneBook(t *testing.T, draw *rand.Rand) {
	const clients = 8
	i, first, second, doors := twoProcesses(t, "2s")
	e := i.nextPolicy(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr(strconv.Itoa(bookLimit)), Operations: []policy.OperationType{policy.OpMint}})
	_, err := i.door.PolicyApply(t.Context(), e)
	require.NoError(t, err)
	i.policy = policy.PolicyRef{ID: i.policy.ID, Version: 2, Digest: e.PayloadDigest()}
	intents, lines := make([]*policy.Intent, bookOperations), []asked(nil)
	for n := range intents {
		units := 20 + draw.IntN(100)
		intents[n] = i.mint(strconv.Itoa(units))
		lines = append(lines, asked{n, units, false}, asked{n, units, false})
		if n%3 == 0 {
			lines = append(lines, asked{n, units, true})
		}
	}
	i.approveAll(intents)
	draw.Shuffle(len(lines), func(a, b int) { lines[a], lines[b] = lines[b], lines[a] })

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	begun := time.Now()
	work, answered := make(chan asked), make(chan struct{}, len(lines))
	var mu sync.Mutex
	var history []porcupine.Operation
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for q := range work {
				called := time.Since(begun)
				a, err := i.writes(ctx, doors, client, q, intents[q.operation])
				if err != nil {
					t.Errorf("nobody answers %+v: %v", q, err)
					cancel()
					return
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: q, Call: int64(called), Output: a, Return: int64(time.Since(begun))})
				mu.Unlock()
				answered <- struct{}{}
			}
		})
	}
	go func() {
		defer close(work)
		for _, q := range lines {
			select {
			case work <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	await := func(n int) {
		for range n {
			select {
			case <-answered:
			case <-ctx.Done():
				require.NoError(t, ctx.Err(), "the seals answer no more")
			}
		}
	}
	part := len(lines) / 5
	for _, p := range []*process{first, second} {
		await(part)
		require.NoError(t, p.cmd.Process.Kill())
		require.NoError(t, ignoreKilled(p.cmd.Wait()))
		p.gone()
		await(part) // of the other
		p.start()
	}
	await(len(lines) - 4*part)
	all.Wait()

	model := porcupine.Model{
		Init: func() any { return book{next: 1} }, // the deployment has nonce 0
		Step: func(state, input, output any) (bool, any) { return state.(book).write(input.(asked), output.(told)) },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v: %+v", input, output)
		},
	}
	result, info := porcupine.CheckOperationsVerbose(model, history, patience)
	if result != porcupine.Ok {
		path := filepath.Join(os.TempDir(), "book-"+filepath.Base(t.Name())+".html")
		require.NoError(t, porcupine.VisualizePath(model, info, path))
		t.Fatalf("%s: no order explains what the seals answered; see %s", result, path)
	}
	authorized, denied := 0, 0
	for _, o := range history {
		switch a := o.Output.(told); {
		case a.nonce != 0:
			authorized++
		case a.kind == seal.KindDenied:
			denied++
		}
	}
	require.NotZero(t, authorized)
	require.NotZero(t, denied, "the limit was never reached: the test looks at too little")
}

// writes asks one seal after the other until one answers.
func (i *instance) writes(ctx context.Context, doors [2]remote, first int, q asked, in *policy.Intent) (told, error) {
	request := i.request(in)
	for n := first; ; n++ {
		var a told
		var err error
		door := doors[n%len(doors)]
		if q.cancel {
			_, err = door.Cancel(ctx, seal.CancelRequest{OperationID: in.OperationID, Reason: "one of the lines"})
		} else {
			var out *seal.AuthorizeResult
			if out, err = door.Authorize(ctx, request); err == nil {
				a.nonce = i.verified(out).Nonce
			}
		}
		if err == nil {
			return a, nil
		}
		switch kind, _ := seal.KindOf(err); kind {
		case seal.KindConflict, seal.KindDenied:
			return told{kind: kind}, nil
		case seal.KindNotAuthor, seal.KindStore, seal.KindHSM, seal.KindBusy, seal.KindSealed, "": // ask again, or another
		default:
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}
