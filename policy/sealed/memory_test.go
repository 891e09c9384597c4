package sealed

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// hit is a place in a process's memory that holds a secret.
type hit struct {
	secret  string
	mapping string // its line of /proc/<pid>/smaps
	guarded bool   // in pages of memguard's: locked, and left out of core dumps
}

// search reads the whole memory of a process and names where secrets are.
func search(t *testing.T, pid int, secrets map[string][]byte) (hits []hit) {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	require.NoError(t, err)
	defer mem.Close()
	read := 0
	for _, m := range mappings(t, pid) {
		const chunk, overlap = 4 << 20, 64
		for at := m.start; at < m.end; at += chunk - overlap {
			buf := make([]byte, min(chunk, m.end-at))
			n, err := mem.ReadAt(buf, int64(at))
			if n == 0 || err != nil && !errors.Is(err, io.EOF) && n == 0 {
				break // not there any more, or nothing that can be read
			}
			read += n
			for name, secret := range secrets {
				if bytes.Contains(buf[:n], secret) {
					hits = append(hits, hit{name, m.line, m.guarded})
				}
			}
			if uint64(n) < chunk {
				break
			}
		}
	}
	require.Greater(t, read, 1<<20, "something was read")
	return hits
}

type mapping struct {
	start, end uint64
	line       string
	guarded    bool
}

// mappings are those with pages in memory.
func mappings(t *testing.T, pid int) (out []mapping) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	require.NoError(t, err)
	defer f.Close()
	var m mapping
	resident := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		name, rest, _ := strings.Cut(line, " ")
		if from, to, ok := strings.Cut(name, "-"); ok && !strings.HasSuffix(name, ":") {
			start, err1 := strconv.ParseUint(from, 16, 64)
			end, err2 := strconv.ParseUint(to, 16, 64)
			require.NoError(t, errors.Join(err1, err2), line)
			m, resident = mapping{start: start, end: end, line: line}, false
			continue
		}
		switch name {
		case "Rss:":
			resident = strings.TrimSpace(rest) != "0 kB"
		case "VmFlags:":
			flags := strings.Fields(rest)
			m.guarded = slices.Contains(flags, "lo") && slices.Contains(flags, "dd")
			// Where coverage is measured the processes are this very test program, whose
			// text holds the test's constants; its data does not.
			constants := strings.HasSuffix(m.line, ".test") && !strings.Contains(m.line, " rw")
			if resident && !constants && !strings.Contains(m.line, "[v") && m.start < 1<<63 {
				out = append(out, m)
			}
		}
	}
	return out
}

// tell is hits as a failed test shows them.
func tell(hits []hit) string {
	var out []string
	for _, h := range hits {
		out = append(out, h.secret+" in "+h.mapping)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n")
}

// unguarded are hits outside of memguard's pages.
func unguarded(hits []hit) (out []hit) {
	for _, h := range hits {
		if !h.guarded {
			out = append(out, h)
		}
	}
	return out
}

// seedOf decrypts a wallet's seed as the seal does, through a session of our own.
func seedOf(t *testing.T, walletID string) *[32]byte {
	t.Helper()
	value, err := house.hsm.Object(t.Context(), "seed:"+walletID)
	require.NoError(t, err)
	var e struct {
		Format                    int
		ID, Scheme, WrappingKey   string
		PublicKey, IV, Ciphertext []byte
	}
	require.NoError(t, json.Unmarshal(value, &e, json.MatchCaseInsensitiveNames(true)))
	sum := sha256.Sum256(e.PublicKey)
	aad := []byte("mintwarden/seed/v1\x00")
	aad = binary.BigEndian.AppendUint32(aad, uint32(e.Format))
	for _, field := range []string{e.ID, e.Scheme} {
		aad = append(binary.BigEndian.AppendUint32(aad, uint32(len(field))), field...)
	}
	aad = append(aad, sum[:]...)

	p := pkcs11.New(house.token.ModulePath)
	require.NotNil(t, p)
	if err := p.Initialize(); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		require.NoError(t, err)
	}
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		require.NoError(t, err)
		if strings.TrimSpace(info.Label) != house.token.Label {
			continue
		}
		s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.CloseSession(s)) }()
		require.NoError(t, p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(e.WrappingKey))}))
		keys, _, err := p.FindObjects(s, 2)
		require.NoError(t, err)
		require.NoError(t, p.FindObjectsFinal(s))
		require.Len(t, keys, 1)
		params := pkcs11.NewGCMParams(e.IV, aad, 128)
		defer params.Free()
		require.NoError(t, p.DecryptInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, keys[0]))
		seed, err := p.Decrypt(s, e.Ciphertext)
		require.NoError(t, err)
		pub, _ := mode3.NewKeyFromSeed((*[32]byte)(seed))
		require.Equal(t, e.PublicKey, pub.Bytes())
		return (*[32]byte)(seed)
	}
	t.Fatalf("no token %s", house.token.Label)
	return nil
}

// vectors are the secret parts of a key as the signing library holds them, each
// polynomial's first 32 bytes, and as they are packed.
func vectors(t *testing.T, seed *[32]byte) map[string][]byte {
	t.Helper()
	_, sk := mode3.NewKeyFromSeed(seed)
	out := map[string][]byte{"seed": seed[:]}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(sk)), unsafe.Sizeof(*sk))
	kind := reflect.TypeOf(*sk)
	var seen []string
	for i := range kind.NumField() {
		f := kind.Field(i)
		if !slices.Contains([]string{"key", "s1", "s2", "t0", "s1h", "s2h", "t0h"}, f.Name) {
			continue
		}
		seen = append(seen, f.Name)
		if f.Name == "key" {
			out["key"] = raw[f.Offset:][:32]
			continue
		}
		polynomial := f.Type.Elem().Size()
		for n := range f.Type.Len() {
			out[fmt.Sprintf("%s[%d]", f.Name, n)] = raw[f.Offset+uintptr(n)*polynomial:][:32]
		}
	}
	require.Len(t, seen, 7, "the library's key has other parts than this test knows: %v", seen)
	// rho, key, tr, then s1, s2 (4 bits a coefficient) and t0 (13 bits).
	packed := sk.Bytes()
	const s1, s2, t0 = 32 + 32 + 32, 96 + 5*128, 96 + 11*128
	for name, at := range map[string]int{"s1, packed": s1, "s2, packed": s2, "t0, packed": t0} {
		out[name] = packed[at:][:32]
	}
	return out
}

// custodySecrets are what shares make together, and the key that opens them.
func custodySecrets(t *testing.T, state string, shares map[string]seal.Share) map[string][]byte {
	t.Helper()
	var parts []secretsharing.Share
	for i, name := range []string{"custodian-1", "custodian-2"} {
		part := secretsharing.Share{ID: group.Ristretto255.NewScalar(), Value: group.Ristretto255.NewScalar()}
		part.ID.SetUint64(uint64(i + 1))
		require.NoError(t, part.Value.UnmarshalBinary(rawShare(t, shares[name].Encode())))
		parts = append(parts, part)
	}
	whole, err := secretsharing.Recover(1, parts)
	require.NoError(t, err)
	raw, err := whole.MarshalBinary()
	require.NoError(t, err)
	key, err := hkdf.Key(sha256.New, raw, nil, "mintwarden/custody/v1", 32)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(state, "unseal.key"))
	require.NoError(t, err)
	return map[string][]byte{"what is split": raw, "the PINs' key": key, "the unseal key": text}
}

// What whoever reads the memory of keeper and worker finds, between signatures
// and after: no seed, no secret vector as the library holds it or packed, and no
// PIN but where spec policy.md says it is (our copies in locked memory). While a
// signature is made they must be there, which is why it is looked between them.
//
// The search is known to find: the same secrets in this test's own memory, the
// wallet's public key in the worker's, the PIN in the keeper's locked pages.
func TestNobodyFindsASecretInTheProcessesMemory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody but root can look into these processes (TestProcessesThatNobodyLooksInto)")
		return
	}
	p := newProcess(t)
	p.token, p.label = house.token, house.token.Label
	p.pin = "-"
	p.configure("")
	state := filepath.Join(p.dir, "state")
	require.NoError(t, os.Mkdir(state, 0o700))
	c := &ceremony{t: t, who: newPeople(t)}
	_, c.shares = split(t, state, c.who, testPIN)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	i.furnish()
	i.deploy()

	seed := seedOf(t, i.wallet.WalletID)
	secrets := vectors(t, seed)
	maps.Copy(secrets, map[string][]byte{"PIN": []byte(testPIN), "SO PIN": []byte("so-pin-1")})
	for name, s := range c.shares {
		text := s.Encode()
		secrets[name+"'s share"] = rawShare(t, text)
		secrets[name+"'s share's text"] = text[len("mwshare1-"):]
	}
	maps.Copy(secrets, custodySecrets(t, state, c.shares))
	keeper := p.cmd.Process.Pid

	ours := search(t, os.Getpid(), secrets)
	for name := range secrets {
		require.True(t, slices.ContainsFunc(ours, func(h hit) bool { return h.secret == name }), "the search does not find %s, which is here", name)
	}
	require.NotEmpty(t, search(t, p.worker, map[string][]byte{"public": i.wallet.PublicKey[:32]}), "the worker's memory can be read")
	require.NotEmpty(t, search(t, keeper, map[string][]byte{"PIN": []byte(testPIN)}), "the keeper's memory can be read")

	in := i.mint("3")
	i.approve(in, 0, 1)
	// The keeper has none at any moment, also while signatures are made.
	signing := make(chan error, 1)
	go func() {
		var err error
		for range 40 {
			_, failed := door.Authorize(t.Context(), i.request(in))
			err = errors.Join(err, failed)
		}
		signing <- err
	}()
	for range 2 {
		require.Empty(t, tell(unguarded(search(t, keeper, secrets))), "in the keeper, while the worker signs")
	}
	require.NoError(t, soon(t, signing, "forty signatures"))
	for range 3 {
		for range 5 {
			out, err := door.Authorize(t.Context(), i.request(in))
			require.NoError(t, err)
			i.verified(out)
		}
		require.Empty(t, tell(unguarded(search(t, keeper, secrets))), "in the keeper")
		require.Empty(t, tell(unguarded(search(t, p.worker, secrets))), "in the worker")
	}
}
