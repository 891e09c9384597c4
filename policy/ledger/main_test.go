package ledger_test

import (
	"testing"

	"github.com/mintwarden/mintwarden/policy/policytest"
)

func TestMain(m *testing.M) { policytest.Main(m) }
