package seal_test

import (
	"bytes"
	"crypto/hpke"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	userPIN = "the user's PIN, 29 characters"
	soPIN   = "and the SO's"
)

var ceremony = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

// custodians are n custodians with a key each.
func custodians(t testing.TB, threshold, n int) policy.Custodians {
	t.Helper()
	c := policy.Custodians{Threshold: uint32(threshold)}
	for i := range n {
		_, text, err := policy.GenerateKeyPEM(policy.Ed25519)
		require.NoError(t, err)
		key, err := policy.ParsePublicKeyPEM(text)
		require.NoError(t, err)
		c.Members = append(c.Members, policy.Custodian{Name: fmt.Sprintf("custodian-%d", i+1), Keys: []policy.PublicKey{key}})
	}
	return c
}

func newCustody(t testing.TB, threshold, n int) (*seal.Custody, map[string]seal.Share) {
	t.Helper()
	c, shares, err := seal.NewCustody("test", "appliance-1", custodians(t, threshold, n), []byte(userPIN), []byte(soPIN), ceremony)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, s := range shares {
			s.Destroy()
		}
	})
	return c, shares
}

// some are the shares of the custodians whose bit is set.
func some(c *seal.Custody, shares map[string]seal.Share, mask uint) map[string]seal.Share {
	out := map[string]seal.Share{}
	for i, m := range c.Members {
		if mask&(1<<i) != 0 {
			out[m.Name] = shares[m.Name]
		}
	}
	return out
}

// Every set of custodians is tried: as many as the threshold open, fewer do not.
func TestEveryQuorumOpensAndNoSmallerSetDoes(t *testing.T) {
	for _, of := range [][2]int{{1, 1}, {1, 3}, {2, 2}, {2, 3}, {3, 5}, {5, 5}} {
		t.Run(fmt.Sprintf("%d of %d", of[0], of[1]), func(t *testing.T) {
			c, shares := newCustody(t, of[0], of[1])
			for mask := range uint(1) << of[1] {
				user, so, err := c.Open(some(c, shares, mask))
				if bits.OnesCount(mask) < of[0] {
					require.ErrorIs(t, err, seal.ErrShare)
					require.ErrorContains(t, err, fmt.Sprintf("want %d", of[0]))
					require.Nil(t, user)
					continue
				}
				require.NoError(t, err, "custodians %b", mask)
				require.Equal(t, userPIN, string(user.Bytes()))
				require.Equal(t, soPIN, string(so.Bytes()))
				user.Destroy()
				so.Destroy()
			}
		})
	}
}

// A file that says a lower threshold than the shares were made for gives the key
// to nobody: what fewer shares make is another key.
func TestALoweredThresholdOpensNothing(t *testing.T) {
	c, shares := newCustody(t, 3, 5)
	c.Threshold = 2
	_, _, err := c.Open(some(c, shares, 0b00011))
	require.ErrorIs(t, err, seal.ErrCustody)
	require.ErrorContains(t, err, "altered")
}

// Nothing in the file can be changed by whoever has the disk: neither who the
// custodians are nor what they hold.
func TestAnAlteredCustodyOpensNothing(t *testing.T) {
	other := custodians(t, 1, 1).Members[0].Keys
	for name, change := range map[string]func(*seal.Custody){
		"instance":  func(c *seal.Custody) { c.Instance = "other" },
		"appliance": func(c *seal.Custody) { c.ApplianceID = "appliance-2" },
		"a key":     func(c *seal.Custody) { c.Members[0].Keys = other },
		"one more": func(c *seal.Custody) {
			c.Members = append(c.Members, seal.CustodyMember{Name: "eve", Keys: other, ShareDigest: policy.NoDigest})
		},
		"one fewer":   func(c *seal.Custody) { c.Members = c.Members[:2] },
		"time":        func(c *seal.Custody) { c.CreatedAt = c.CreatedAt.Add(time.Second) },
		"ciphertext":  func(c *seal.Custody) { c.Sealed[40] ^= 1 },
		"its nonce":   func(c *seal.Custody) { c.Sealed[0] ^= 1 },
		"its tag":     func(c *seal.Custody) { c.Sealed[len(c.Sealed)-1] ^= 1 },
		"not its own": func(c *seal.Custody) { o, _ := newCustody(t, 2, 3); c.Sealed = o.Sealed },
	} {
		c, shares := newCustody(t, 2, 3)
		change(c)
		_, _, err := c.Open(some(c, shares, 0b011))
		require.ErrorIs(t, err, seal.ErrCustody, name)
	}
}

// Each share that is not its custodian's own is named, with what is wrong of it.
func TestSharesThatDoNotFitAreNamed(t *testing.T) {
	c, shares := newCustody(t, 2, 3)
	_, foreign := newCustody(t, 2, 3)
	one, two := shares["custodian-1"], shares["custodian-2"]
	tampered, err := seal.ParseShare(retyped(t, one, 0))
	require.NoError(t, err, "with a checksum that holds")
	for name, x := range map[string]struct {
		by    string
		share seal.Share
		want  string
	}{
		"tampered":         {"custodian-1", tampered, "custodian custodian-1: the share is foreign: it was altered"},
		"repeated":         {"custodian-3", two, "custodian custodian-3: the share is custodian-2's"},
		"another ceremony": {"custodian-1", foreign["custodian-1"], "foreign"},
		"empty":            {"custodian-1", seal.Share{}, "custodian custodian-1: the share is empty"},
		"of a stranger":    {"eve", one, "custodian eve: holds no share"},
	} {
		t.Run(name, func(t *testing.T) {
			var named *seal.ShareError
			require.ErrorAs(t, c.CheckShare(x.by, x.share), &named)
			require.Equal(t, x.by, named.Custodian)
			require.ErrorContains(t, named, x.want)
			_, _, err := c.Open(map[string]seal.Share{"custodian-2": two, x.by: x.share})
			require.ErrorAs(t, err, &named)
			require.ErrorIs(t, err, seal.ErrShare)
			require.ErrorContains(t, err, x.want)
		})
	}
	for name, s := range shares {
		require.NoError(t, c.CheckShare(name, s))
	}
}

// retyped is a share's text with another value and the checksum that goes with it.
func retyped(t *testing.T, s seal.Share, flip int) []byte {
	t.Helper()
	return seal.ShareText(t, s, func(raw []byte) { raw[1+flip] ^= 1 })
}

// A share is one line that survives being written down, and a slip of the pen is
// found before anybody is asked for more.
func TestTheTextOfAShare(t *testing.T) {
	_, shares := newCustody(t, 2, 3)
	s := shares["custodian-2"]
	text := s.Encode()
	require.Regexp(t, `^mwshare1-([a-z2-7]{6}-){9}[a-z2-7]{6}$`, string(text))
	again, err := seal.ParseShare([]byte(" " + string(text) + "\r\n"))
	require.NoError(t, err)
	require.Equal(t, text, again.Encode())
	require.Equal(t, s.Digest(), again.Digest())
	require.NotContains(t, fmt.Sprintf("%v %s", again, again), string(text[9:15]))

	for i := range text {
		for _, b := range []byte{text[i] ^ 1, 'x', '-', 'A', '1', ' '} {
			if b == text[i] {
				continue
			}
			wrong := bytes.Clone(text)
			wrong[i] = b
			_, err := seal.ParseShare(wrong)
			require.ErrorIs(t, err, seal.ErrShare, "character %d", i)
			require.NotContains(t, err.Error(), string(text[9:15]))
		}
	}
	for _, wrong := range [][]byte{nil, text[:len(text)-1], append(bytes.Clone(text), 'a'), text[9:], []byte(strings.ToUpper(string(text))),
		seal.ShareText(t, s, func(raw []byte) { raw[0] = 0 }), seal.ShareText(t, s, func(raw []byte) { raw[0] = 17 }),
		seal.ShareText(t, s, func(raw []byte) { copy(raw[1:], bytes.Repeat([]byte{0xff}, 32)) })} {
		_, err := seal.ParseShare(wrong)
		require.ErrorIs(t, err, seal.ErrShare, "%s", wrong)
	}
	again.Destroy()
	require.True(t, again.IsZero())
	again.Destroy()
	seal.Share{}.Destroy()
}

// A share on its way is of use to one seal, from one custodian, in one
// collection; every bit of it counts.
func TestAShareOnItsWayIsBoundToWhereItGoes(t *testing.T) {
	_, shares := newCustody(t, 2, 3)
	key, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	other, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	b := seal.Binding{Instance: "test", ApplianceID: "appliance-1", Custodian: "custodian-1", Nonce: []byte("0123456789abcdef")}
	s := shares["custodian-1"]
	sealed, err := seal.SealShare(key.PublicKey().Bytes(), b, s)
	require.NoError(t, err)
	require.LessOrEqual(t, len(sealed), 4096, "an unseal document takes it")
	again, err := seal.SealShare(key.PublicKey().Bytes(), b, s)
	require.NoError(t, err)
	require.NotEqual(t, sealed, again)
	got, err := seal.OpenShare(key, b, sealed)
	require.NoError(t, err)
	require.Equal(t, s.Digest(), got.Digest())
	got.Destroy()

	_, err = seal.OpenShare(other, b, sealed)
	require.ErrorIs(t, err, seal.ErrShare)
	for _, wrong := range []seal.Binding{
		{Instance: "other", ApplianceID: b.ApplianceID, Custodian: b.Custodian, Nonce: b.Nonce},
		{Instance: b.Instance, ApplianceID: "appliance-2", Custodian: b.Custodian, Nonce: b.Nonce},
		{Instance: b.Instance, ApplianceID: b.ApplianceID, Custodian: "custodian-2", Nonce: b.Nonce},
		{Instance: b.Instance, ApplianceID: b.ApplianceID, Custodian: b.Custodian, Nonce: []byte("0123456789abcdeg")},
		{Instance: b.Instance + b.ApplianceID, Custodian: b.Custodian, Nonce: b.Nonce},
		{Instance: b.Instance, ApplianceID: b.ApplianceID, Custodian: b.Custodian, Nonce: b.Nonce, Purpose: seal.ForRenewal},
		{Instance: b.Instance, ApplianceID: b.ApplianceID, Custodian: b.Custodian, Nonce: b.Nonce, Purpose: seal.ForCustodian},
	} {
		_, err := seal.OpenShare(key, wrong, sealed)
		require.ErrorIs(t, err, seal.ErrShare, "%v", wrong)
	}
	for i := 0; i < len(sealed); i += 7 {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 0x10
		_, err := seal.OpenShare(key, b, flipped)
		require.ErrorIs(t, err, seal.ErrShare, "byte %d", i)
	}
	for _, wrong := range [][]byte{nil, sealed[1:], append(bytes.Clone(sealed), 0)} {
		_, err := seal.OpenShare(key, b, wrong)
		require.ErrorContains(t, err, "want 1169")
	}
	_, err = seal.SealShare([]byte("no key"), b, s)
	require.ErrorIs(t, err, seal.ErrShare)
	_, err = seal.SealShare(key.PublicKey().Bytes(), b, seal.Share{})
	require.ErrorIs(t, err, seal.ErrShare)
}

func TestTheCustodysFile(t *testing.T) {
	dir := t.TempDir()
	_, err := seal.ReadCustody(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	c, shares := newCustody(t, 2, 3)
	require.NoError(t, seal.WriteCustody(dir, c))
	path := filepath.Join(dir, seal.CustodyFile)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	got, err := seal.ReadCustody(dir)
	require.NoError(t, err)
	require.Equal(t, c, got)
	user, so, err := got.Open(shares)
	require.NoError(t, err)
	user.Destroy()
	so.Destroy()

	other, _ := newCustody(t, 1, 1)
	require.ErrorIs(t, seal.WriteCustody(dir, other), fs.ErrExist)
	got, err = seal.ReadCustody(dir)
	require.NoError(t, err)
	require.Equal(t, c, got, "what was there is there")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "and nothing else")

	text, err := c.Encode()
	require.NoError(t, err)
	for _, pin := range []string{userPIN, soPIN} {
		require.NotContains(t, string(text), pin)
	}
	require.NoError(t, os.WriteFile(path, text[:len(text)-10], 0o600))
	_, err = seal.ReadCustody(dir)
	require.ErrorIs(t, err, seal.ErrCustody)
	require.ErrorContains(t, err, path)
	require.Error(t, seal.WriteCustody(filepath.Join(dir, "none"), c))
	require.ErrorIs(t, seal.WriteCustody(dir, &seal.Custody{}), seal.ErrCustody)
}

// What Encode writes is the only spelling.
func TestCustodyIsReadStrictly(t *testing.T) {
	c, _ := newCustody(t, 2, 3)
	good, err := c.Encode()
	require.NoError(t, err)
	for name, x := range map[string][2]string{
		"unknown member": {`{"format":1,`, `{"format":1,"extra":0,`},
		"twice":          {`{"format":1,`, `{"format":1,"format":1,`},
		"another format": {`"format":1`, `"format":2`},
		"white space":    {`{"format":1,`, `{ "format":1,`},
		"no threshold":   {`"threshold":2,`, ``},
		"threshold 0":    {`"threshold":2`, `"threshold":0`},
		"threshold 4":    {`"threshold":2`, `"threshold":4`},
		"a name twice":   {`"custodian-2"`, `"custodian-1"`},
		"a bad name":     {`"custodian-2"`, `"custodian 2\n"`},
		"no digest":      {`"sha256:`, `"sha1:`},
		"short":          {`"sealed":"`, `"sealed":"AAAA`},
		"a fraction":     {`30:00Z`, `30:00.5Z`},
		"no instance":    {`"instance":"test"`, `"instance":""`},
		"trailing":       {"\n", "\n{}"},
	} {
		text := strings.Replace(string(good), x[0], x[1], 1)
		require.NotEqual(t, string(good), text, name)
		_, err := seal.ParseCustody([]byte(text))
		require.ErrorIs(t, err, seal.ErrCustody, name)
	}
	_, err = seal.ParseCustody(bytes.Repeat([]byte(" "), 1<<20))
	require.ErrorContains(t, err, "at most")
	for name, change := range map[string]func(*seal.Custody){
		"no members":                  func(c *seal.Custody) { c.Members = nil },
		"no keys":                     func(c *seal.Custody) { c.Members[0].Keys = nil },
		"a zero key":                  func(c *seal.Custody) { c.Members[0].Keys = []policy.PublicKey{{}} },
		"shared keys":                 func(c *seal.Custody) { c.Members[0].Keys = c.Members[1].Keys },
		"PINs of before that are cut": func(c *seal.Custody) { c.Before = c.Sealed[1:] },
		"PINs that are cut":           func(c *seal.Custody) { c.Sealed = c.Sealed[1:] },
		"more members than may sign": func(c *seal.Custody) {
			for n := range policy.MaxSignatures {
				m := c.Members[0]
				m.Name = fmt.Sprint("more-", n)
				c.Members = append(c.Members, m)
			}
		},
	} {
		c, _ := newCustody(t, 2, 3)
		change(c)
		_, err := c.Encode()
		require.ErrorIs(t, err, seal.ErrCustody, name)
	}
}

func TestCustodyThatCannotBeMade(t *testing.T) {
	who := custodians(t, 2, 3)
	pin := []byte("1234")
	for name, make := range map[string]func() error{
		"threshold 0":    func() error { w := who; w.Threshold = 0; return newErr("test", w, pin, pin) },
		"threshold 4":    func() error { w := who; w.Threshold = 4; return newErr("test", w, pin, pin) },
		"nobody":         func() error { return newErr("test", policy.Custodians{Threshold: 1}, pin, pin) },
		"no user PIN":    func() error { return newErr("test", who, nil, pin) },
		"a long SO PIN":  func() error { return newErr("test", who, pin, bytes.Repeat([]byte{'7'}, 256)) },
		"a bad instance": func() error { return newErr("", who, pin, pin) },
	} {
		err := make()
		require.ErrorIs(t, err, seal.ErrCustody, name)
		require.NotContains(t, err.Error(), "777")
	}
}

func newErr(instance string, c policy.Custodians, user, so []byte) error {
	_, _, err := seal.NewCustody(instance, "appliance-1", c, user, so, ceremony)
	return err
}

func TestMembersAreFoundByNameAndKey(t *testing.T) {
	c, _ := newCustody(t, 2, 3)
	m, ok := c.Member("custodian-2")
	require.True(t, ok)
	same, key, ok := c.MemberByKey(m.Keys[0].KeyID())
	require.True(t, ok)
	require.Equal(t, m, same)
	require.Equal(t, m.Keys[0], key)
	_, ok = c.Member("eve")
	require.False(t, ok)
	_, _, ok = c.MemberByKey("sha256:0")
	require.False(t, ok)
}

func TestDrawnPINs(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		pin, err := seal.DrawPIN(24)
		require.NoError(t, err)
		require.Regexp(t, `^[a-kmnp-z2-9]{24}$`, string(pin.Bytes()))
		require.False(t, seen[string(pin.Bytes())])
		seen[string(pin.Bytes())] = true
		pin.Destroy()
	}
	for _, n := range []int{3, 256} {
		_, err := seal.DrawPIN(n)
		require.ErrorIs(t, err, seal.ErrCustody)
	}
}

func FuzzParseShare(f *testing.F) {
	_, shares := newCustody(f, 1, 2)
	for _, s := range shares {
		f.Add(s.Encode())
		f.Add(s.Encode()[9:])
	}
	f.Add([]byte("mwshare1-"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := seal.ParseShare(text)
		if err != nil {
			require.ErrorIs(t, err, seal.ErrShare)
			return
		}
		defer s.Destroy()
		require.Equal(t, bytes.TrimSpace(text), s.Encode())
	})
}

func FuzzParseCustody(f *testing.F) {
	for n := range 3 {
		c, _ := newCustody(f, 1, n+1)
		text, err := c.Encode()
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"format":1,"members":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := seal.ParseCustody(text)
		if err != nil {
			require.ErrorIs(t, err, seal.ErrCustody)
			return
		}
		again, err := c.Encode()
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}
