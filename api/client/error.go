package client

import (
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"time"
)

// Codes that programs commonly act on; the whole table is in the OpenAPI
// document.
const (
	CodeAPIKeyRevoked         = 1002
	CodePolicyDenied          = 1200
	CodeApprovalInvalid       = 1202
	CodeApprovalDuplicate     = 1203
	CodeTxNotFound            = 1300
	CodeNodeUnavailable       = 1500
	CodeInternal              = 1600
	CodeIdempotencyConflict   = 1601
	CodeIdempotencyInProgress = 1602
	CodeSealed                = 1603
	CodeRateLimited           = 1604
)

// Error is a refusal by the appliance.
type Error struct {
	// Code and Type name the error; see the table in the OpenAPI document.
	Code int
	Type string
	// Message says what is wrong with which value.
	Message string
	// RequestID finds the request in the appliance's logs.
	RequestID string
	// HTTPStatus is the answer's status.
	HTTPStatus int
	// Details are values for a program; never nil.
	Details map[string]any
	// RetryAfter is how long the appliance asks to be left alone; 0 if it does
	// not say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s (%d): %s [%s]", e.Type, e.Code, e.Message, e.RequestID)
}

// Temporary tells whether the same request, with the same idempotency key, may
// be answered otherwise a moment later. Sealed is not temporary: people unseal.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeSealed:
		return false
	case CodeIdempotencyInProgress:
		return true
	}
	return e.HTTPStatus == 503 || e.HTTPStatus == 429
}

// UnreachableError says that no answer came: the appliance is not there, its
// certificate or ours was refused, or the connection broke every time.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	why := e.Err
	if u, ok := errors.AsType[*url.Error](why); ok {
		why = u.Err // the rest names a path and a query that the caller did not type
	}
	switch {
	case forged(why):
		return fmt.Sprintf("the appliance's certificate does not verify: %s answers with one that the given roots do not cover: %v", e.URL, why)
	case errors.Is(why, syscall.ECONNREFUSED):
		return fmt.Sprintf("no answer from %s: is it running? %v", e.URL, why)
	}
	return fmt.Sprintf("no answer from %s: %v", e.URL, why)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// AnswerError says that an answer is not what the OpenAPI document promises:
// something other than the appliance answered, or one of another version.
type AnswerError struct {
	HTTPStatus int
	Err        error
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("the answer (HTTP %d) is not one of this API: %v", e.HTTPStatus, e.Err)
}

func (e *AnswerError) Unwrap() error { return e.Err }
