package webhook

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Keys. Endpoints and what wakes the dispatcher stand under one prefix, so that one watch sees both.
//
//	ctl/endpoint/<wh>               the endpoint
//	ctl/nudge/<wh>                  written to have the endpoint's lane look again
//	ctl/guard                       changed by who makes an endpoint, so that their number is bounded and the
//	                                router misses none
//	delivery/<wh>/<inverted del>    a delivery; the newest comes first
//	pending/<wh>/<inverted del>     there while it is to be delivered
//	dead/<wh>/<inverted del>        there while it is a dead letter
//	again/<wh>/<inverted del>       there once it was replayed: it may be in the archive as well
//	chain/<wh>/<order>              deliveries of one order, the next one first; absent when there are none
//	tested/<wh>                     when it was last tested, milliseconds
//	due/<wh>/<milliseconds>/<order> the first delivery of a chain, by when it is to be tried
const (
	root        = "/mw/webhook/"
	control     = root + "ctl/"
	endpoints   = control + "endpoint/"
	nudges      = control + "nudge/"
	guardKey    = control + "guard"
	dispatching = "webhook-dispatcher" // the fence's name
)

func endpointKey(wh string) string     { return endpoints + wh }
func nudgeKey(wh string) string        { return nudges + wh }
func deliveries(wh string) string      { return root + "delivery/" + wh + "/" }
func deliveryKey(wh, d string) string  { return deliveries(wh) + inverted(d) }
func pendings(wh string) string        { return root + "pending/" + wh + "/" }
func pendingKey(wh, d string) string   { return pendings(wh) + inverted(d) }
func deads(wh string) string           { return root + "dead/" + wh + "/" }
func deadKey(wh, d string) string      { return deads(wh) + inverted(d) }
func replays(wh string) string         { return root + "again/" + wh + "/" }
func replayKey(wh, d string) string    { return replays(wh) + inverted(d) }
func chains(wh string) string          { return root + "chain/" + wh + "/" }
func chainKey(wh, order string) string { return chains(wh) + order }
func testedKey(wh string) string       { return root + "tested/" + wh }
func dues(wh string) string            { return root + "due/" + wh + "/" }

// inverted is how a delivery's id stands in keys: lists come newest first, and etcd reads everything to list
// backwards.
func inverted(d string) string { return store.InvertULID(strings.TrimPrefix(d, deliveryPrefix)) }

// dueKey sorts by time: milliseconds since 1970 have 13 digits until the year 2286.
func dueKey(wh string, at time.Time, order string) string {
	return fmt.Sprintf("%s%013d/%s", dues(wh), at.UnixMilli(), order)
}

// parseDue is the time and the order in a key below dues(wh).
func parseDue(wh, key string) (at time.Time, order string, err error) {
	digits, order, ok := strings.Cut(strings.TrimPrefix(key, dues(wh)), "/")
	ms, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || order == "" {
		return time.Time{}, "", fmt.Errorf("webhook: %s is not the key of a due delivery", key)
	}
	return time.UnixMilli(ms).UTC(), order, nil
}
