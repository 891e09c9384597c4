package main

import (
	"testing"

	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
)

func TestEveryKeyOfTheCeremonyHasItsRow(t *testing.T) {
	guidetest.EveryKey(t, "ceremony.toml", ceremony{})
}

// TestEveryCommandOfThePagesIsOurs: the pages name no command or flag that this program does not have.
func TestEveryCommandOfThePagesIsOurs(t *testing.T) {
	for _, typed := range guidetest.Typed(t, "mintwarden") {
		guidetest.Known(t, (&cli{}).command(), typed)
	}
}
