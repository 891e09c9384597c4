package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// maxTyped bounds what a person types at one prompt, in bytes.
const maxTyped = 4096

// errNoTerminal says that nobody can be asked.
var errNoTerminal = errors.New("standard input is no terminal, so nobody can be asked")

// terminal is true where a person can be asked.
func (c *cli) terminal() bool {
	f, ok := c.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// typed shows the prompt and reads one line, without its end. Spaces around it
// are no part of an answer.
func (c *cli) typed(ctx context.Context, prompt string) (string, error) {
	c.people().printf("%s ", printable(prompt))
	if err := c.people().err; err != nil {
		return "", fmt.Errorf("what is asked could not be shown: %w", err)
	}
	if c.lines == nil {
		c.lines = bufio.NewReaderSize(c.in, maxTyped)
	}
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := c.lines.ReadSlice('\n')
		got <- answer{bytes.Clone(line), err}
	}()
	select {
	case a := <-got:
		if a.err != nil && !(errors.Is(a.err, io.EOF) && len(a.line) > 0) {
			return "", fmt.Errorf("no answer: %w", a.err)
		}
		return strings.TrimSpace(string(a.line)), nil
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}

// answer asks until the answer is taken. The check's error is shown.
func (c *cli) answer(ctx context.Context, prompt, ifEmpty string, check func(string) error) (string, error) {
	if ifEmpty != "" {
		prompt += " [" + ifEmpty + "]"
	}
	for {
		said, err := c.typed(ctx, prompt+":")
		if err != nil {
			return "", err
		}
		if said == "" {
			said = ifEmpty
		}
		if err = check(said); err == nil {
			return said, nil
		}
		c.people().printf("%s\n", printable(err.Error()))
	}
}

// hidden reads what nobody else may read, such as a PIN or a share, from the
// terminal, without showing it. The caller wipes it.
func (c *cli) hidden(ctx context.Context, prompt string) ([]byte, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, usagef("%s: %w", strings.ToLower(prompt), errNoTerminal)
	}
	// Before it is asked for: what is pasted the moment that the prompt appears must not be seen either.
	show, err := unseen(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	c.people().printf("%s (not shown): ", printable(prompt))
	type answer struct {
		secret []byte
		err    error
	}
	got := make(chan answer, 1)
	go func() {
		secret, err := term.ReadPassword(int(f.Fd()))
		got <- answer{secret, err}
	}()
	select {
	case a := <-got:
		c.people().printf("\n")
		return a.secret, errors.Join(a.err, show())
	case <-ctx.Done():
		// The reading goroutine goes with the process; what it changed must not stay.
		return nil, errors.Join(errors.New("interrupted"), show())
	}
}

// unseen has a terminal show nothing of what is typed, until show.
func unseen(fd int) (show func() error, err error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	mode.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		return nil, err
	}
	return func() error { return term.Restore(fd, before) }, nil
}
