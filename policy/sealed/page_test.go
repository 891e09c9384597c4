package sealed

import (
	"testing"

	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
)

func TestEveryKeyHasItsRow(t *testing.T) {
	guidetest.EveryKey(t, "seal.toml", Config{})
}
