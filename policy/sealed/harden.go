package sealed

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// mclOnFault locks pages when they are first touched, not the address space
// that Go reserves (mlockall(2), Linux 4.4).
const mclOnFault = 4

// harden makes this process one that others cannot look into: no core dumps,
// not dumpable (which also closes /proc/<pid>/mem and ptrace to the same
// user), and its memory not swapped where the system allows that.
func harden(log *slog.Logger) error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	if !mayLockAll() {
		log.Warn("memory is not locked as a whole: RLIMIT_MEMLOCK is limited and CAP_IPC_LOCK missing; PIN and seeds are in locked pages of their own")
		return nil
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | mclOnFault); err != nil {
		log.Warn("memory is not locked as a whole", "error", err)
	}
	return nil
}

// mayLockAll is false where locking what comes later would make Go's own
// allocations fail: a process under a limit dies of MCL_FUTURE.
func mayLockAll() bool {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err == nil && limit.Cur == unix.RLIM_INFINITY {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}
