package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Serve reads the config at path and runs the appliance until ctx is done,
// logging as JSON to w, at the level that the file says then and at each SIGHUP.
func Serve(ctx context.Context, path, version string, w io.Writer) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	level, err := cfg.Log.Slog()
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	var now slog.LevelVar
	now.Set(level)
	log := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &now}))
	defer followLevel(ctx, path, &now, log)()
	defer notify(ctx, log)()
	return Run(ctx, cfg, Options{Version: version, Log: log,
		Ready: func(net.Addr, net.Addr) { tell(log, systemd.SdNotifyReady) }})
}

// PrintEtcdSetup writes the commands that make users and roles in an etcd
// cluster as the embedded one has them.
func PrintEtcdSetup(w io.Writer) error {
	for _, line := range store.SetupCommands() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
