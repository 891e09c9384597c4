package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Exit codes are documented in the command's help and in formats.md.
const (
	exitDone        = 0
	exitRefused     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitSealed      = 4
	exitUnverified  = 5
	exitOtherEnd    = 6
)

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// usage marks what the caller typed wrong.
func usage(err error) error { return &codedError{exitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// refused marks what cannot be done, although it was asked for rightly.
func refused(format string, args ...any) error {
	return &codedError{exitRefused, fmt.Errorf(format, args...)}
}

// unverified marks what does not hold against the ledger or a signature.
func unverified(format string, args ...any) error {
	return &codedError{exitUnverified, fmt.Errorf(format, args...)}
}

// exitCode is what a program learns of an error. Something else that answers in
// the appliance's place is as good as no answer.
func exitCode(err error) int {
	var coded *codedError
	var no *client.Error
	var unreachable *client.UnreachableError
	var foreign *client.AnswerError
	kind, _ := seal.KindOf(err)
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &no) && no.Code == client.CodeSealed, kind == seal.KindSealed:
		return exitSealed
	case errors.As(err, &unreachable), errors.As(err, &foreign):
		return exitUnreachable
	default:
		return exitRefused
	}
}

// complaint is an error as --json prints it.
type complaint struct {
	ExitCode  int            `json:"exitCode"`
	Message   string         `json:"message"`
	Code      int            `json:"code,omitzero"`
	Type      string         `json:"type,omitzero"`
	RequestID string         `json:"requestId,omitzero"`
	Details   map[string]any `json:"details,omitzero"`
}

func (c *cli) complainJSON(err error) {
	said := complaint{ExitCode: exitCode(err), Message: err.Error()}
	var no *client.Error
	if errors.As(err, &no) {
		said.Message, said.Code, said.Type, said.RequestID, said.Details = no.Message, no.Code, no.Type, no.RequestID, no.Details
	}
	text, err := json.Marshal(map[string]complaint{"error": said}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		text = []byte(`{"error":{}}`)
	}
	c.err.printf("%s\n", shownJSON(text))
}

// exactly is cobra.ExactArgs in words that help.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("want %s, got %d arguments", what, len(args))
		}
		return nil
	}
}

// none is for commands that take flags only.
func none(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is not expected here; only flags are", args[0])
	}
	return nil
}
