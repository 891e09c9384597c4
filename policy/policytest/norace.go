//go:build !race

package policytest

const underRace = false
