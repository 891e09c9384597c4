package sealed

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/awnumar/memguard"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// The key under which the new PIN is kept opens it as well as the PIN itself does: it stays nowhere in the keeper's
// memory once it was used.
func TestAttack_TheKeptPINsKeyInTheKeepersMemory(t *testing.T) {
	if dir := os.Getenv("KEPT_PIN"); dir != "" {
		k := &keeper{log: slog.New(slog.DiscardHandler)}
		at := func(n string) string { return filepath.Join(dir, n) }
		k.cfg = &Config{State: dir, Appliance: testAppliance, PIN: PINConfig{Credential: at("pin"), CredentialSource: at("source"), KeyCredential: at("key"), KeyCredentialSource: at("source")}}
		pin, err := seal.DrawPIN(16)
		require.NoError(t, err)
		require.NoError(t, k.keepPIN(&seal.PINs{User: pin, SO: memguard.NewBuffer(4)}))
		ok, err := k.takeKept()
		require.NoError(t, err)
		require.True(t, ok)
		runtime.GC()
		runtime.GC()
		_, _ = os.Stdout.WriteString("kept\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	dir := t.TempDir()
	material := bytes.Repeat([]byte("k3y."), 8)
	for i := range material {
		material[i] ^= byte(7 * i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), material, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "source"), []byte(base64.StdEncoding.EncodeToString(make([]byte, 64))), 0o600))
	child := exec.Command(os.Args[0], "-test.run=^TestAttack_TheKeptPINsKeyInTheKeepersMemory$")
	child.Env = append(os.Environ(), "KEPT_PIN="+dir)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer func() { _ = in.Close(); _ = child.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "kept\n", line)
	key, err := hkdf.Key(sha256.New, material, nil, keptPINInfo, 32)
	require.NoError(t, err)
	hits := search(t, child.Process.Pid, map[string][]byte{"the kept PIN's key": key, "what it is derived from": material})
	require.Empty(t, unguarded(hits), tell(hits))
}
