// Package killpoint is built only into the programs of TestKillPoints: it lets
// the test arm a gofail point of one running process, and kills that process
// there, as kill -9 would, at the moment it gets to the point.
package killpoint

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"go.etcd.io/gofail/runtime"
)

// dir holds one socket for each process, named after its pid. The linker sets
// it: not every process is given the environment of its parent.
var dir string

var (
	mu      sync.Mutex
	callers []net.Conn
)

func init() {
	l, err := net.Listen("unix", filepath.Join(dir, strconv.Itoa(os.Getpid())))
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}

// serve takes one line, “<point> <gofail terms>”, and answers “armed” or why
// not. The connection stays, for Here.
func serve(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	point, terms, _ := strings.Cut(strings.TrimSpace(line), " ")
	mu.Lock()
	defer mu.Unlock()
	if err := runtime.Enable(point, terms); err != nil {
		fmt.Fprintln(c, err)
		return
	}
	callers = append(callers, c)
	fmt.Fprintln(c, "armed")
}

// Here says which point was met and does not return.
func Here(point string) {
	mu.Lock() // never given back: one point is enough
	for _, c := range callers {
		fmt.Fprintln(c, "killed at "+point)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
