package config_test

import (
	"testing"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
)

func TestEveryKeyHasItsRow(t *testing.T) {
	guidetest.EveryKey(t, "mintwarden.toml", config.Config{})
}
