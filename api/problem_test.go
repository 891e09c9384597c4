package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestProblems(t *testing.T) {
	down := errors.New("no chain node answers")
	s := &Server{nodeDown: func(err error) bool { return errors.Is(err, down) }}
	marked := func(kind, mark string) error {
		return &registry.Refusal{Type: kind, Message: "m", Details: map[string]any{mark: true, "address": "0x"}}
	}
	for _, c := range []struct {
		err          error
		status, code int
		retry        bool
	}{
		{registry.Refuse(registry.RoleRequired, "the performer lacks ADMIN"), 403, 1708, false},
		{marked(registry.RoleRequired, "subject"), 409, 1708, false},
		{registry.Refuse(registry.InvalidTokenAmount, "amount is 0"), 400, 1713, false},
		{marked(registry.InvalidTokenAmount, "balance"), 422, 1713, false},
		{registry.Refuse(registry.MintNotAllowed, "m"), 403, 1706, false},
		{registry.Refuse(registry.BurnNotAllowed, "m"), 403, 1707, false},
		{registry.Refuse(registry.SupplyExceeded, "m"), 422, 1705, false},
		{registry.Refuse(registry.DeploymentFailed, "m"), 422, 1709, false},
		{registry.Refuse(registry.ComplianceFailed, "m"), 422, 1714, false},
		{registry.Refuse(registry.TxInsufficientFunds, "m"), 422, 1304, false},
		{registry.Refuse(registry.PolicyDenied, "m"), 422, 1200, false},
		{registry.Refuse(registry.RateLimited, "m"), 429, 1604, true},
		{fmt.Errorf("submitting: %w", registry.Refuse(registry.NotDeployed, "m")), 409, 1703, false},
		{registry.Refuse("NO_SUCH_TYPE", "m"), 500, 1600, false},
		{fmt.Errorf("reading: %w", down), 503, 1500, true},
		{fmt.Errorf("x: %w", store.ErrUnavailable), 503, 1606, true},
		{&store.ConflictError{Key: "/mw/token/x"}, 409, 1301, true},
		{context.DeadlineExceeded, 503, 1606, true},
		{seal.ErrUnreachable, 503, 1605, true},
		{seal.Errorf(seal.KindSealed, "m"), 503, 1603, false},
		{seal.Errorf(seal.KindHSM, "m"), 503, 1605, true},
		{seal.Errorf(seal.KindClock, "m"), 503, 1605, true},
		{seal.Errorf(seal.KindStore, "m"), 503, 1606, true},
		{seal.Errorf(seal.KindNotAuthor, "m"), 503, 1606, true},
		{seal.Errorf(seal.KindBusy, "m"), 429, 1604, true},
		{seal.Errorf(seal.KindInvalid, "m"), 400, 1100, false},
		{seal.Errorf(seal.KindDenied, "m"), 422, 1200, false},
		{seal.Errorf(seal.KindWait, "m"), 409, 1201, false},
		{seal.Errorf(seal.KindConflict, "m"), 409, 1301, false},
		{seal.Errorf(seal.KindQueued, "m"), 409, 1301, false},
		{seal.Errorf(seal.KindDuplicate, "m"), 409, 1203, false},
		{errors.New("a secret of ours"), 500, 1600, false},
	} {
		p := s.problemOf(c.err)
		require.Equal(t, c.status, p.status, "%v", c.err)
		require.Equal(t, c.code, p.number, "%v", c.err)
		require.Equal(t, c.retry, p.retryAfter >= time.Second, "%v", c.err)
		require.NotContains(t, p.message, "a secret of ours")
		require.NotContains(t, p.details, "subject")
		require.NotContains(t, p.details, "balance")
	}
	require.Equal(t, maxMessage, len([]rune(clip(strings.Repeat("ü", 5000)))))
}
