package sealed

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// letGo is letGoOfProgram where it is no matter whether it can be done.
func letGo(log *slog.Logger) {
	if err := letGoOfProgram(); err != nil {
		log.Debug("the program's pages stay in memory", "error", err)
	}
}

// letGoOfProgram has the kernel take back what is in memory of this process's program and
// libraries and was never written to: the files have it. What the start of a process reads of
// them is most of them, and what is needed afterwards, by a keeper above all, is less; that
// comes back as it is touched. Locking the memory (mlockall) keeps what is secret off a
// disk, which these pages were read from; they stay locked where they come back. A kernel
// before Linux 5.18 knows no such call, and keeps them.
func letGoOfProgram() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	ranges, err := untouchedFiles(f)
	_ = f.Close()
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED_LOCKED); errno != 0 {
			return errno
		}
	}
	return nil
}

// addresses are those of a mapping.
type addresses struct{ start, end uintptr }

// untouchedFiles reads smaps (proc_pid_smaps(5)): the mappings of files that may not be
// written to and of which no page was, either, not even by the linker that relocated it. Of
// those alone every page is what the file has.
func untouchedFiles(smaps io.Reader) (out []addresses, err error) {
	var now addresses
	file := false
	for lines := bufio.NewScanner(smaps); ; {
		if !lines.Scan() {
			return out, lines.Err()
		}
		f := strings.Fields(lines.Text())
		if len(f) >= 5 && !strings.HasSuffix(f[0], ":") {
			from, to, _ := strings.Cut(f[0], "-")
			start, err := strconv.ParseUint(from, 16, 64)
			if err != nil {
				return nil, err
			}
			end, err := strconv.ParseUint(to, 16, 64)
			if err != nil {
				return nil, err
			}
			now = addresses{uintptr(start), uintptr(end)}
			file = f[1][1] == '-' && f[4] != "0" && len(f) > 5 && strings.HasPrefix(f[5], "/")
			continue
		}
		if len(f) == 3 && f[0] == "Anonymous:" && file && f[1] == "0" {
			out = append(out, now)
		}
	}
}
