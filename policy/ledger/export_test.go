package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ParseGenerally is ParseBatch without the fast reader.
func ParseGenerally(value []byte) (*Batch, error) {
	b, _, r := parseGenerally(value)
	if r != nil {
		return nil, r
	}
	return b, nil
}

// ReadsFast is true of what the fast reader takes.
func ReadsFast(value []byte) bool {
	_, ok := readBatch(value)
	return ok
}

// Remembered is how many decisions the fold's memo holds.
func Remembered(f *Fold) int { return len(f.state.memo.young) + len(f.state.memo.aged) }

// Unremember empties the fold's memo.
func Unremember(f *Fold) { f.state.memo.young, f.state.memo.aged = nil, nil }

// State is all of a fold in words, the same for the same state.
func State(f *Fold) string {
	var b strings.Builder
	describe(&b, reflect.ValueOf(*f.state), "")
	return b.String()
}

func describe(b *strings.Builder, v reflect.Value, indent string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.Type() == reflect.TypeFor[*memory]() {
			describe(b, v.Elem().FieldByName("pending"), indent)
			return
		}
		if v.Type() == reflect.TypeFor[*memo]() {
			b.WriteString("what was verified lately\n")
			return
		}
		if v.IsNil() {
			b.WriteString("none\n")
			return
		}
		describe(b, v.Elem(), indent)
	case reflect.Map:
		lines := []string{}
		for _, k := range v.MapKeys() {
			var line strings.Builder
			describe(&line, k, indent+"  ")
			describe(&line, v.MapIndex(k), indent+"  ")
			lines = append(lines, line.String())
		}
		slices.Sort(lines)
		fmt.Fprintf(b, "%d entries\n%s", len(lines), strings.Join(lines, indent))
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			fmt.Fprintf(b, "%x\n", v)
			return
		}
		fmt.Fprintf(b, "%d items\n", v.Len())
		for i := range v.Len() {
			describe(b, v.Index(i), indent+"  ")
		}
	case reflect.Struct:
		fmt.Fprintf(b, "%s\n", v.Type())
		for i := range v.NumField() {
			fmt.Fprintf(b, "%s%s: ", indent, v.Type().Field(i).Name)
			describe(b, v.Field(i), indent+"  ")
		}
	default:
		fmt.Fprintf(b, "%v\n", v)
	}
}

// Held is how many operations, usage buckets, policy versions and looks the fold holds.
func Held(f *Fold) (operations, buckets, versions, looks int) {
	for _, u := range f.state.counters.own {
		buckets += len(u.buckets)
	}
	for _, u := range f.state.fees.own {
		buckets += len(u.buckets)
	}
	for _, p := range f.state.policies.own {
		versions += len(p.versions)
	}
	return len(f.state.operations.own), buckets, versions, len(f.state.memory.operations)
}

// Interrupted appends batches as far as an archive does before they count: what the disk may hold all
// or part of when the power goes.
func Interrupted(a *Archive, values ...[]byte) error {
	return errors.Join(a.grow(), a.pend(entries(values)), a.Close())
}
