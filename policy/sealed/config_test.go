package sealed

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goodConfig = `appliance = "appliance-1"
charter1 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
state = "seal"
socket = "/run/seal.sock"
callers = [997]
parent_pipe = true

[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "label"
sessions = 16

[pin]
file = "pin"

[store]
endpoints = ["https://etcd-1:2379", "https://etcd-2:2379"]
ca = "ca.crt"
cert = "seal.crt"
key = "seal.key"
server_name = "etcd"

[store.sockets]
"https://etcd-1:2379" = "etcd-1.sock"
`

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.toml")
	require.NoError(t, os.WriteFile(path, []byte(goodConfig), 0o600))
	c, err := LoadConfig(path)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "seal"), c.State, "paths are relative to the file")
	require.Equal(t, "/run/seal.sock", c.Socket)
	require.Equal(t, filepath.Join(dir, "etcd-1.sock"), c.Store.Sockets["https://etcd-1:2379"])
	require.Equal(t, []uint32{997}, c.Callers)
	require.True(t, c.ParentPipe)
}

func TestWhereThePINComesFrom(t *testing.T) {
	for lines, want := range map[string]pinSource{"": pinQuorum, "file = \"pin\"": pinFile,
		"credential = \"/run/pin\"\ncredential_source = \"/etc/pin\"": pinHost} {
		text := goodConfig[:strings.Index(goodConfig, "[pin]")] + "[pin]\n" + lines + "\n" + goodConfig[strings.Index(goodConfig, "[store]"):]
		c, err := parseConfig([]byte(text))
		require.NoError(t, err, lines)
		require.Equal(t, want, c.PIN.source())
	}
}

func TestLogLevels(t *testing.T) {
	for name, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		c, err := parseConfig([]byte(strings.Replace(goodConfig, "[pin]", "[log]\nlevel = \""+name+"\"\n[pin]", 1)))
		require.NoError(t, err)
		require.Equal(t, want, levels[c.Log.Level])
	}
	c, err := parseConfig([]byte(goodConfig))
	require.NoError(t, err)
	require.Equal(t, slog.LevelInfo, levels[c.Log.Level])
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for change, want := range map[string]string{
		"state = \"seal\"=>":                                         "state is missing",
		"callers =>caller ":                                          "caller",
		"appliance = \"appliance-1\"=>appliance = \"\"":              "appliance",
		"sha256:e3b0=>sha256:E3b0":                                   "charter1",
		"sessions = 16=>sessions = 5000":                             "5000",
		"[\"https://etcd-1:2379\", \"https://etcd-2:2379\"]=>[]":     "endpoints is empty",
		"\"https://etcd-1:2379\" = =>\"https://etcd-3:2379\" = ":     "etcd-3",
		"server_name = \"etcd\"=>lease = \"1s\"":                     "store.lease",
		"server_name = \"etcd\"=>lease = \"2500ms\"":                 "store.lease",
		"server_name = \"etcd\"=>lease = \"61s\"":                    "store.lease",
		"[pin]=>[ledger]\nretention = \"24h\"\n[pin]":                "ledger.retention",
		"[pin]=>[ledger]\nsnapshot_every = \"1s\"\n[pin]":            "ledger.snapshot_every",
		"sessions = 16=>call_timeout = \"-1s\"":                      "call_timeout",
		"sessions = 16=>call_timeout = \"1h\"":                       "call_timeout",
		"sessions = 16=>call_timeout = \"soon\"":                     "soon",
		"sessions = 16=>max_stuck = -1":                              "max_stuck",
		"[pin]=>[log]\nlevel = \"loud\"\n[pin]":                      "loud",
		"[pin]=>[log]\nlevel = \"INFO\"\n[pin]":                      "INFO",
		"parent_pipe = true=>parent_pipe = true\nparent_pipe = true": "parent_pipe",
		"[pin]=>[pin]\ncredential = \"c\"":                           "want one of them",
		"[pin]=>[unseal]\nkey = \"c\"\n[pin]":                        "unseal.key",
		"[pin]\nfile = =>[pin]\ncredential = ":                       "go together",
		"[pin]\nfile = =>[pin]\ncredential_source = ":                "go together",
	} {
		old, fresh, _ := strings.Cut(change, "=>")
		text := strings.Replace(goodConfig, old, fresh, 1)
		require.NotEqual(t, goodConfig, text, change)
		_, err := parseConfig([]byte(text))
		require.ErrorContains(t, err, want, change)
	}
	_, err := parseConfig(bytes.Repeat([]byte("#"), maxConfig+1))
	require.ErrorContains(t, err, "65537")
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := parseConfig(text); err == nil && c.check() != nil {
			t.Fatal("took a config that does not hold")
		}
	})
}

func TestPipeMessages(t *testing.T) {
	var pipe bytes.Buffer
	sent := hello{Config: "/etc/seal.toml", UnsealKey: []byte{1, 2}, PIN: pinFile, PINLength: 4}
	require.NoError(t, writeMessage(&pipe, sent))
	pipe.WriteString("1234")
	var got hello
	require.NoError(t, readMessage(&pipe, &got))
	require.Equal(t, sent, got)
	pin, err := readPIN(&pipe, got.PINLength)
	require.NoError(t, err)
	require.Equal(t, "1234", string(pin.Bytes()))
	pin.Destroy()
	_, err = readPIN(&pipe, 1)
	require.Error(t, err)
	_, err = readPIN(&pipe, maxPIN+1)
	require.ErrorContains(t, err, "256")
	require.ErrorIs(t, readMessage(&pipe, &got), io.EOF)
}

func FuzzReadMessage(f *testing.F) {
	var pipe bytes.Buffer
	if err := writeMessage(&pipe, hello{Config: "c"}); err != nil {
		f.Fatal(err)
	}
	f.Add(pipe.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	for _, v := range []any{asking{ID: 1, Word: wordShare, Custodian: "c", Nonce: []byte{1}, Share: []byte{2}}, answer{ID: 1, Progress: &progress{Need: 2}, Open: true}} {
		var more bytes.Buffer
		if err := writeMessage(&more, v); err != nil {
			f.Fatal(err)
		}
		f.Add(more.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h hello
		var q asking
		var a answer
		for _, v := range []any{&h, &q, &a} { // must not panic, nor take more than maxWord
			_ = readMessage(bytes.NewReader(b), v)
		}
	})
}
