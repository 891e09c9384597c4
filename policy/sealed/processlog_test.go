package sealed

import (
	"errors"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// line is one of the log of keeper and worker.
type line struct {
	Message string   `json:"msg"`
	Process string   `json:"process"`
	PID     int      `json:"pid"`
	Reason  string   `json:"reason"`
	Said    string   `json:"said"`
	At      []string `json:"at"`
	Error   string   `json:"error"`
	Was     string   `json:"was"`
	Now     string   `json:"now"`
}

// await reads the log up to a message.
func (p *process) await(message string) line {
	p.t.Helper()
	return p.awaitAny(message)
}

// awaitAny reads the log up to the first of some messages.
func (p *process) awaitAny(messages ...string) line {
	p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the seal ended before it said one of %q", messages)
			}
			if l.Message == "worker started" {
				p.worker = l.PID
			}
			if slices.Contains(messages, l.Message) {
				return l
			}
		case <-limit:
			p.t.Fatalf("the seal did not say any of %q", messages)
		}
	}
}

// back waits until the next worker answers on a connection of its own.
func (p *process) back(c remote) {
	p.t.Helper()
	p.await("seal answers")
	require.Eventually(p.t, func() bool {
		_, err := c.Status(p.t.Context())
		return err == nil || !errors.Is(err, seal.ErrUnreachable)
	}, patience, time.Millisecond)
	_, err := c.Status(p.t.Context())
	require.NoError(p.t, err)
}

// gone waits until both processes ended: then nobody holds the log open.
func (p *process) gone() {
	p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case _, ok := <-p.lines:
			if !ok {
				return
			}
		case <-limit:
			p.t.Fatal("keeper or worker still run")
		}
	}
}
