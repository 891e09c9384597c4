package chain

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
)

// What nodes of several makes say to a range that is too large for them, and what is something else.
func TestTooManyLogs(t *testing.T) {
	for message, want := range map[string]bool{
		"query returned more than 10000 results":                                              true,
		"exceed maximum block range: 5000":                                                    true,
		"Log response size exceeded. You can make eth_getLogs requests with up to a 2K block": true,
		"eth_getLogs is limited to a 10,000 range":                                            true,
		"query timeout exceeded":                                                              true,
		"block range is too wide":                                                             true,
		"logs: more than 10000 entries":                                                       true,
		"missing trie node":                                                                   false,
		"invalid argument 0: json: cannot unmarshal":                                          false,
	} {
		if got := tooMany(&RPCError{Method: "eth_getLogs", Code: -32000, Message: message}); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
	if !tooMany(&RPCError{Code: -32005, Message: "?"}) || !tooMany(fmt.Errorf("x: %w", &http.MaxBytesError{Limit: 1})) || tooMany(errors.New("reset")) || tooMany(nil) {
		t.Error("codes, sizes and other errors")
	}
}
