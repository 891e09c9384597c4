package dev_test

import "testing"

// archivePoints are met by an operation that is over: its block is ordered, written to the disk, told of, and removed
// from the store.
var archivePoints = []string{"archiveBeforeOrder", "archiveBeforeWrite", "archiveBeforeTelling", "archiveBeforeRemove"}

// revivePoint is met by one that a deep reorg brings back from there.
const revivePoint = "reviveBeforeCommit"

// Every process dies at each of those points, of an appliance whose operations leave etcd as soon as they are over.
// Whatever the moment: the same requests and decisions again give the same answers, lists are whole, both logs verify,
// and everything leaves in the end. The same for old deliveries, whose archive is another one.
func TestKillPointsOfTheArchive(t *testing.T) {
	h := newHouseToKill(t, "--retention", "1ms")
	mint := killJobs[1]
	for n, name := range archivePoints {
		job := mint
		if n == 0 {
			job = killJobs[0] // a deployment, the largest of them
		}
		if !t.Run(name, func(t *testing.T) {
			h.kill(t, killPoint{name: name}, job)
			h.a.archived()
			h.check()
		}) {
			return // what follows would start from what is broken
		}
	}
	if !t.Run(revivePoint, func(t *testing.T) {
		h.killReopen(t, revivePoint)
		h.a.archived()
		h.check()
	}) {
		return
	}
	t.Run("deliveries", h.killDeliveries)
}
