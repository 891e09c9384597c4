package sealed

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const goCrash = `SIGABRT: abort
PC=0x7f4a m=5 sigcode=18446744073709551610
signal arrived during cgo execution

goroutine 0 gp=0xc000 m=5 mp=0xc000 [idle]:
stack: frame={sp:0x7f4a, fp:0x0} stack=[0x7f49,0x7f4a]
0x00007f4a: 0x6b65792d73656564 0x7365637265742121

goroutine 21 gp=0xc0001 m=5 mp=0xc0002 [syscall]:
runtime.cgocall(0x4b1e20, 0xc00009dd50)
	/usr/lib/go/src/runtime/cgocall.go:167 +0x4b fp=0xc00009dd28 sp=0xc00009dcf0 pc=0x41f0cb
github.com/mintwarden/mintwarden/hsm.(*Token).sign(0x6b65792d736565, {0x73, 0x65})
	github.com/mintwarden/mintwarden/hsm/sign.go:52 +0x1d
created by main.main
	/src/main.go:9 +0x2

rax    0x6b65792d736565
`

// Of a crash the keeper keeps how and where it was, and no word that was in a register or on a stack.
func TestACrashTellsNoSecret(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		want    crash
		dropped int
	}{
		"nothing":             {"", crash{}, 0},
		"a talkative library": {"C_Login pin=1234\nC_Login pin=1234\n", crash{}, 1},
		"a crash":             {goCrash, crash{"SIGABRT: abort", []string{"runtime/cgocall.go:167", "hsm/sign.go:52", "src/main.go:9"}}, 0},
		"behind talk":         {"pin=1234\n" + goCrash, crash{"SIGABRT: abort", []string{"runtime/cgocall.go:167", "hsm/sign.go:52", "src/main.go:9"}}, 1},
		"a panic":             {"panic: no such thing\n\ngoroutine 1 [running]:\nmain.main()\n\t/a/b/c.go:7 +0x1\n", crash{"panic: no such thing", []string{"b/c.go:7"}}, 0},
		"a panic without end": {"panic: " + strings.Repeat("é", maxLine), crash{"panic: " + strings.Repeat("é", 96), nil}, 0},
		"a line without end":  {strings.Repeat("x", 3*maxLine) + "\npanic: x\n", crash{"panic: x", nil}, 1},
		"a crash in a line":   {"said panic: x\n", crash{}, 1},
		"a place before it":   {"\t/a/b/c.go:7 +0x1\n", crash{}, 1},
		"more than is looked at": {"fatal error: x\n" + strings.Repeat("\t/a/b/c.go:7 +0x1\n", 2*maxPlaces),
			crash{"fatal error: x", strings.Split(strings.Repeat(" b/c.go:7", maxPlaces)[1:], " ")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dropped := 0
			require.Equal(t, c.want, readCrash(strings.NewReader(c.text), func() { dropped++ }))
			require.Equal(t, c.dropped, dropped)
		})
	}
}

func FuzzCrash(f *testing.F) {
	f.Add(goCrash)
	f.Add("panic: x\n\t/a.go:1")
	f.Fuzz(func(t *testing.T, text string) {
		c := readCrash(strings.NewReader(text), func() {})
		require.LessOrEqual(t, len(c.said), maxSaid)
		require.True(t, utf8.ValidString(c.said))
		require.LessOrEqual(t, len(c.at), maxPlaces)
		for _, place := range c.at {
			require.Regexp(t, `^[\w@%+./-]+:[0-9]+$`, place)
		}
	})
}
