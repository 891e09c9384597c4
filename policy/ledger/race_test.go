//go:build race

package ledger_test

// underRace: the race detector makes everything some ten times slower.
const underRace = true
