package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/config"
)

// Operations stay in the store for as long as is said, if there is somewhere to go then.
func TestOperationRetention(t *testing.T) {
	const audit = "[audit]\ndir = \"audit\"\n"
	for _, c := range []struct {
		name, text string
		want       time.Duration
		fault      string
	}{
		{"unset", audit, 720 * time.Hour, ""},
		{"nowhere to go, and unset", "", 0, ""},
		{"for ever", audit + "[operation]\nretention = \"0s\"\n", 0, ""},
		{"nowhere to go, for ever", "[operation]\nretention = \"0s\"\n", 0, ""},
		{"on", audit + "[operation]\nretention = \"720h\"\n", 720 * time.Hour, ""},
		{"nowhere to go, and set", "[operation]\nretention = \"720h\"\n", 0, "audit.dir"},
		{"while intents live", audit + "[operation]\nretention = \"1ms\"\n", time.Millisecond, ""},
		{"negative", audit + "[operation]\nretention = \"-1h\"\n", 0, "operation.retention"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Parse([]byte(whole+c.text), "/srv")
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("error %v, want one that names %s", err, c.fault)
				}
				return
			}
			if err != nil || got.Operation.Retention != c.want {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}
