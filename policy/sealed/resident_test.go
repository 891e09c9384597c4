package sealed

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyWhatNobodyWroteToIsLetGo(t *testing.T) {
	const smaps = `00402000-00cd6000 r-xp 00001000 00:2b 1234                               /usr/bin/mintwarden-seal
Rss:                9040 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me lo
00cd6000-01876000 r--p 008d5000 00:2b 1234                               /usr/bin/mintwarden-seal
Anonymous:             0 kB
01877000-01963000 rw-p 01475000 00:2b 1234                               /usr/bin/mintwarden-seal
Anonymous:             0 kB
7f8485e20000-7f8485e82000 r--p 003c0000 00:2b 77                         /usr/lib/libcrypto.so.3
Anonymous:           392 kB
19aa1c00000-19aa2400000 rw-p 00000000 00:00 0
Anonymous:          1936 kB
19aa2400000-19aa2500000 r--p 00000000 00:00 0                            [guard]
Anonymous:             0 kB
7f84dc7af000-7f84dc905000 r-xp 00026000 00:2b 78                         /usr/lib/libc.so.6 (deleted)
Anonymous:             0 kB
7ffc1c5f2000-7ffc1c5f4000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Anonymous:             0 kB
`
	got, err := untouchedFiles(strings.NewReader(smaps))
	require.NoError(t, err)
	require.Equal(t, []addresses{{0x402000, 0xcd6000}, {0xcd6000, 0x1876000}, {0x7f84dc7af000, 0x7f84dc905000}}, got)
	_, err = untouchedFiles(strings.NewReader("0z-1 r-xp 0 00:2b 1 /x\n"))
	require.Error(t, err)
}

// memoryOf is a field of a process's status, in KiB (proc_pid_status(5)).
func memoryOf(t *testing.T, pid int, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), field+":")
	require.True(t, ok, field)
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kib
}

// A process that let go of its program has less of it in memory, and goes on.
func TestLettingGoOfTheProgram(t *testing.T) {
	before := memoryOf(t, os.Getpid(), "RssFile")
	require.NoError(t, letGoOfProgram())
	require.Less(t, memoryOf(t, os.Getpid(), "RssFile"), before*3/4, "KiB")
}

// A keeper needs little of what its start did.
func TestTheKeeperIsSmall(t *testing.T) {
	p := newProcess(t)
	_, err := p.start().Status(t.Context())
	require.NoError(t, err)
	keeper := p.cmd.Process.Pid
	require.Less(t, memoryOf(t, keeper, "VmRSS"), memoryOf(t, keeper, "VmHWM")*4/5, "KiB")
}
