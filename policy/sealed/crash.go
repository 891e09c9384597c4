package sealed

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"time"
)

// crash is what the keeper keeps of a child's standard error: how it crashed, and where in the source. The rest of
// what Go writes then, arguments, registers and whole stacks, may be words of a seed or of the PIN, and what the
// token's library writes may be anything.
type crash struct {
	said string   // Go's first line, its first maxSaid bytes; empty: it did not crash
	at   []string // file:line, the innermost first, maxPlaces at most
}

const (
	maxSaid   = 200
	maxPlaces = 8
	maxLine   = 4 << 10 // bytes of a line that are looked at
)

var (
	crashLine = regexp.MustCompile(`^(panic|fatal error|SIG[A-Z]+): `)
	placeLine = regexp.MustCompile(`^\t([\w@%+./-]+\.(?:go|s):[0-9]+)(?: \+0x[0-9a-f]+(?: fp=.*)?)?$`)
)

// readCrash reads a child's standard error to its end. It calls dropped once, if there is a line before a crash.
func readCrash(r io.Reader, dropped func()) (c crash) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, cut, err := in.ReadLine()
		if err != nil {
			return c
		}
		text := string(line)
		for cut && err == nil {
			_, cut, err = in.ReadLine()
		}
		switch {
		case c.said != "":
			if place := placeLine.FindStringSubmatch(text); place != nil && len(c.at) < maxPlaces {
				dir, file := path.Split(place[1])
				c.at = append(c.at, path.Join(path.Base(dir), file))
			}
		case crashLine.MatchString(text):
			c.said = strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
		case dropped != nil:
			dropped()
			dropped = nil
		}
	}
}

// pipeLimit is how long what a child left running may hold its standard error open.
const pipeLimit = time.Second

// start starts a child that loads the token's library. Its log, standard output, goes where ours does; of its
// standard error nothing is passed on as it is. report is called once it was waited for: it logs a crash.
func (k *keeper) start(cmd *exec.Cmd) (report func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = os.Stderr, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	child := cmd.Args[1]
	read := make(chan crash, 1)
	go func() {
		read <- readCrash(r, func() {
			k.log.Info("what the token's library writes to standard error is not kept: it may hold secrets", "child", child)
		})
	}()
	return func() {
		_ = r.SetReadDeadline(time.Now().Add(pipeLimit))
		c := <-read
		_ = r.Close()
		if c.said != "" {
			k.log.Error(child+" crashed", "said", c.said, "at", c.at)
		}
	}, nil
}
