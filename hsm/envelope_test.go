package hsm

import (
	"bytes"
	"encoding/json/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() *envelope {
	return &envelope{Format: 1, ID: "wlt_1", Scheme: Dilithium3, WrappingKey: "aes",
		PublicKey: bytes.Repeat([]byte{7}, publicKeySize), IV: make([]byte, gcmIVSize), Ciphertext: make([]byte, seedSize+gcmTagSize)}
}

func TestAssociatedDataTellsEveryFieldApart(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*envelope){
		"same":   func(*envelope) {},
		"id":     func(e *envelope) { e.ID = "wlt_2" },
		"scheme": func(e *envelope) { e.Scheme = MLDSA65 },
		"public": func(e *envelope) { e.PublicKey[0] = 8 },
		"format": func(e *envelope) { e.Format = 2 },
		"shift":  func(e *envelope) { e.ID, e.Scheme = "wlt_1d", "ilithium3" },
	} {
		e := sample()
		change(e)
		key := string(e.associated())
		require.Empty(t, seen[key], "%s and %s", name, seen[key])
		seen[key] = name
	}
}

func TestParseEnvelopeIsStrict(t *testing.T) {
	good, err := sample().encode()
	require.NoError(t, err)
	_, err = parseEnvelope(good)
	require.NoError(t, err)
	for name, bad := range map[string][]byte{
		"trailing":  append(bytes.Clone(good), '1'),
		"unknown":   bytes.Replace(good, []byte(`"format"`), []byte(`"x":1,"format"`), 1),
		"duplicate": bytes.Replace(good, []byte(`"format":1`), []byte(`"format":1,"format":1`), 1),
		"format":    bytes.Replace(good, []byte(`"format":1`), []byte(`"format":2`), 1),
		"scheme":    bytes.Replace(good, []byte(`dilithium3`), []byte(`dilithium5`), 1),
		"empty":     nil,
		"huge":      bytes.Repeat([]byte(" "), maxObjectSize+1),
	} {
		_, err := parseEnvelope(bad)
		require.Error(t, err, name)
	}
	for name, change := range map[string]func(*envelope){
		"no id":                   func(e *envelope) { e.ID = "" },
		"no wrapping key":         func(e *envelope) { e.WrappingKey = "" },
		"a short public key":      func(e *envelope) { e.PublicKey = e.PublicKey[1:] },
		"another scheme's key":    func(e *envelope) { e.Scheme = MLDSA44 },
		"a short IV":              func(e *envelope) { e.IV = e.IV[1:] },
		"a long ciphertext":       func(e *envelope) { e.Ciphertext = append(e.Ciphertext, 0) },
		"a ciphertext of no seed": func(e *envelope) { e.Ciphertext = e.Ciphertext[:gcmTagSize] },
	} {
		e := sample()
		change(e)
		text, err := json.Marshal(e)
		require.NoError(t, err)
		_, err = parseEnvelope(text)
		require.Error(t, err, name)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	good, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnvelope(b)
		if err != nil {
			return
		}
		again, err := e.encode()
		require.NoError(t, err)
		back, err := parseEnvelope(again)
		require.NoError(t, err)
		require.Equal(t, e, back)
	})
}
