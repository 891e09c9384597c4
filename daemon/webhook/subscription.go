package webhook

import (
	"regexp"
	"slices"
	"strings"
)

// MaxEvents bounds the subscriptions of one endpoint.
const MaxEvents = 64

// TestEvent is the event that Test sends, whatever an endpoint subscribed to.
const TestEvent = "webhook.test"

// A subscription is *, one group of events or one event: the shape is that of api/openapi.yaml.
var subscription = regexp.MustCompile(`^(\*|[a-z]+\.(\*|[a-z_]+))$`)

// maxSubscription in bytes; no event has a longer name.
const maxSubscription = 64

// checkEvents holds subscriptions against their shape.
func checkEvents(events []string) error {
	if len(events) == 0 || len(events) > MaxEvents {
		return refuse(InvalidEvents, "events has %d entries; name 1 to %d, such as \"token.*\"", len(events), MaxEvents)
	}
	for i, e := range events {
		if len(e) > maxSubscription || !subscription.MatchString(e) {
			return refuse(InvalidEvents, "events[%d] is %+.80q; write an event's type, a group such as \"token.*\", or \"*\"", i, e)
		}
		if slices.Contains(events[:i], e) {
			return refuse(InvalidEvents, "events[%d] %q stands twice", i, e)
		}
	}
	return nil
}

// wants reports whether one of the subscriptions covers an event's type.
func wants(events []string, event string) bool {
	return slices.ContainsFunc(events, func(s string) bool {
		group, all := strings.CutSuffix(s, "*")
		return s == event || all && strings.HasPrefix(event, group)
	})
}
