package hsm_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

func TestParseURI(t *testing.T) {
	for text, want := range map[string]hsm.URI{
		"pkcs11:token=ops;object=alice?module-path=/usr/lib/x.so": {Token: "ops", Object: "alice", ModulePath: "/usr/lib/x.so"},
		"pkcs11:serial=0a1b;id=%01%fF;type=private?pin-source=file:/run/pin&module-path=/m.so": {
			Serial: "0a1b", ID: []byte{1, 255}, ModulePath: "/m.so", PINSource: "/run/pin"},
		"pkcs11:id=%00;manufacturer=piv_II;model=PKCS%2315%20emulated;token=A%20token?module-path=/m%20n.so&pin-source=file:///run/pin": {
			Token: "A token", Manufacturer: "piv_II", Model: "PKCS#15 emulated", ID: []byte{0}, ModulePath: "/m n.so", PINSource: "/run/pin"},
		"pkcs11:token=a&b:[]@!$'()*+,=c;object=%C3%A9?module-path=/m.so": {Token: "a&b:[]@!$'()*+,=c", Object: "é", ModulePath: "/m.so"},
	} {
		u, err := hsm.ParseURI(text)
		require.NoError(t, err, text)
		require.Equal(t, want, *u)
		again, err := hsm.ParseURI(u.String())
		require.NoError(t, err, u.String())
		require.Equal(t, u, again)
	}
}

func TestParseURIRefuses(t *testing.T) {
	const good = "pkcs11:token=ops;object=alice?module-path=/m.so"
	for name, c := range map[string]struct{ text, want string }{
		"a file":              {"alice.key", "begin"},
		"case of the scheme":  {"PKCS11:token=ops;object=alice?module-path=/m.so", "begin"},
		"a PIN":               {good + "&pin-value=1234-secret", "PIN does not belong"},
		"a PIN in the path":   {"pkcs11:pin-value=1234-secret;token=ops;object=alice?module-path=/m.so", "PIN does not belong"},
		"no token":            {"pkcs11:object=alice?module-path=/m.so", "neither token nor serial"},
		"no key":              {"pkcs11:token=ops?module-path=/m.so", "neither object nor id"},
		"no module":           {"pkcs11:token=ops;object=alice", "no module-path"},
		"relative module":     {"pkcs11:token=ops;object=alice?module-path=m.so", "clean absolute"},
		"module's path":       {"pkcs11:token=ops;object=alice?module-path=/lib/../m.so", "clean absolute"},
		"NUL in a path":       {"pkcs11:token=ops;object=alice?module-path=/m%00.so", "clean absolute"},
		"unknown attribute":   {"pkcs11:token=ops;object=alice;slot-id=1?module-path=/m.so", "slot-id"},
		"unknown query":       {good + "&module-name=softhsm2", "module-name"},
		"twice":               {"pkcs11:token=ops;token=ops;object=alice?module-path=/m.so", "twice"},
		"twice in the query":  {good + "&module-path=/m.so", "twice"},
		"empty value":         {"pkcs11:token=;object=alice?module-path=/m.so", "token is empty"},
		"empty attribute":     {"pkcs11:token=ops;;object=alice?module-path=/m.so", "without ="},
		"empty path":          {"pkcs11:?module-path=/m.so", "without ="},
		"empty query":         {"pkcs11:token=ops;object=alice?", "without ="},
		"half an escape":      {"pkcs11:token=ops%2;object=alice?module-path=/m.so", "token"},
		"no escape":           {"pkcs11:token=ops%zz;object=alice?module-path=/m.so", "token"},
		"a space":             {"pkcs11:token=my ops;object=alice?module-path=/m.so", "token"},
		"a slash in the path": {"pkcs11:token=a/b;object=alice?module-path=/m.so", "token"},
		"a newline":           {good + "\n", "module-path"},
		"a public key":        {"pkcs11:type=public;token=ops;object=alice?module-path=/m.so", "type"},
		"a program":           {good + "&pin-source=%7C/bin/sh", "pin-source"},
		"a remote file":       {good + "&pin-source=file://host/pin", "pin-source"},
		"another scheme":      {good + "&pin-source=https:/pin", "pin-source"},
		"a relative file":     {good + "&pin-source=file:pin", "pin-source"},
		"huge":                {good + strings.Repeat("x", 4096), "4143 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hsm.ParseURI(c.text)
			require.ErrorIs(t, err, hsm.ErrURI)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "1234-secret")
		})
	}
}

func FuzzParseURI(f *testing.F) {
	for _, text := range []string{"pkcs11:token=ops;object=alice?module-path=/m.so",
		"pkcs11:serial=0a1b;id=%01%fF;type=private?pin-source=file:///run/pin&module-path=/m.so",
		"pkcs11:manufacturer=a;model=b;token=A%20token;id=%00?module-path=/m%20n.so", "pkcs11:pin-value=1?"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := hsm.ParseURI(text)
		if err != nil {
			require.ErrorIs(t, err, hsm.ErrURI)
			return
		}
		again, err := hsm.ParseURI(u.String())
		if len(u.String()) > 4096 { // what was written shorter than String writes it
			return
		}
		require.NoError(t, err)
		require.Equal(t, u, again)
	})
}
