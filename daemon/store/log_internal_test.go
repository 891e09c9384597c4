package store

import (
	"bytes"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// A new etcd's first look for a version that is not there yet is no error of anybody's; any other failure is.
func TestANewStoresFirstLookIsNoError(t *testing.T) {
	for says, level := range map[string]string{
		"cannot detect storage schema version: missing term information": "level=DEBUG",
		"cannot detect storage schema version: no such bucket":           "level=ERROR",
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		zapLogger(log, new(atomic.Bool)).Error("failed to update storage version", zap.Error(errors.New(says)))
		require.Contains(t, out.String(), level)
		require.Contains(t, out.String(), says)
	}
}
