package guidetest

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// configuration is the page that tells every key.
const configuration = "daemon/config/configuration.md"

// EveryKey holds that the page's table for a file names every key that the file may have, and no other; config is the
// struct that the file is read into, by its toml tags.
func EveryKey(t *testing.T, file string, config any) {
	t.Helper()
	said, taken := keysSaid(t, file), keysTaken(reflect.TypeOf(config), "")
	for _, key := range taken {
		if !slices.Contains(said, key) {
			t.Errorf("%s does not tell of %s in %s", configuration, key, file)
		}
	}
	for _, key := range said {
		if !slices.Contains(taken, key) {
			t.Errorf("%s tells of %s, which %s does not have", configuration, key, file)
		}
	}
}

// keysSaid are the keys in the first column of a file's table: one that begins with a dot stands in the same table of
// the file as the one before it.
func keysSaid(t *testing.T, file string) []string {
	t.Helper()
	keys := Rows(t, configuration, file)
	for i, key := range keys {
		if strings.HasPrefix(key, ".") && i > 0 {
			keys[i] = keys[i-1][:max(0, strings.LastIndex(keys[i-1], "."))] + key
		}
	}
	return keys
}

var textual = reflect.TypeFor[encoding.TextUnmarshaler]()

func keysTaken(of reflect.Type, under string) []string {
	var keys []string
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if name == "" || name == "-" {
			continue
		}
		key, inner := under+name, f.Type
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			key, inner = key+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !reflect.PointerTo(inner).Implements(textual) {
			keys = append(keys, keysTaken(inner, key+".")...)
		} else {
			keys = append(keys, key)
		}
	}
	return keys
}
