package api

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

const (
	// maxBody bounds a request's body (the document's 1 MiB).
	maxBody = 1 << 20 // bytes
	// maxDrain is how much more of a body that is too large is read and thrown
	// away: a caller that is still writing when the connection closes gets a
	// reset instead of the answer.
	maxDrain = 8 << 20 // bytes
)

// readBody reads the whole body, or refuses one that is too large or too slow.
func (s *Server) readBody(c *gin.Context) ([]byte, error) {
	r := c.Request
	if !hasBody(r) {
		return nil, nil
	}
	requestOf(c).taken = true
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p := fault(registry.Validation, "%d bytes of the body came in %s; send it faster", len(b), s.limits.BodyTimeout)
		p.shed = shedBody
		return nil, p
	}
	if err != nil {
		return nil, fault(registry.Validation, "the body broke off after %d bytes", len(b))
	}
	if len(b) > maxBody {
		return nil, drained(r)
	}
	s.bodyRead(c)
	return b, nil
}

// dropBody throws away the body of a request that needs none.
func (s *Server) dropBody(c *gin.Context, r *request) error {
	if !hasBody(c.Request) {
		return nil
	}
	r.taken = true
	s.bodyUnread(c)
	if n, err := io.CopyN(io.Discard, c.Request.Body, maxBody+1); !errors.Is(err, io.EOF) {
		return fault(registry.Validation, "%s %s takes no body, and %d bytes came without an end", r.route.method, r.route.path, n)
	}
	s.bodyRead(c)
	return nil
}

// maxDrains is how many bodies that are too large are drained at once: whoever
// sends one may not be known.
const maxDrains = 64

// tooLarge answers a body that says itself that it is too large, before anything
// else is looked at, as the document has it; the attempt costs what any costs.
func (s *Server) tooLarge(c *gin.Context, r *request) error {
	if err := s.take(c, r.charged(), shedRate); err != nil {
		return err
	}
	select {
	case s.drains <- struct{}{}:
		defer func() { <-s.drains }()
		r.taken = true
		return drained(c.Request)
	default:
		return errTooLarge
	}
}

// drained throws away what is left of a body that is too large. What is not
// drained is cut off; that is the caller's loss, not an error of ours.
func drained(r *http.Request) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain))
	return errTooLarge
}

var errTooLarge = fault(bodyTooLarge, "the body is larger than %d bytes", maxBody)

// checkMedia refuses a body that is not plain JSON. A compressed one is refused
// unread: it could be a bomb.
func checkMedia(h http.Header) error {
	for _, e := range h.Values("Content-Encoding") {
		if e != "" && !strings.EqualFold(e, "identity") {
			return fault(registry.Validation, "the body is encoded as %+q; send it as it is", e)
		}
	}
	t := h.Get("Content-Type")
	if t == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(t)
	if err != nil || media != contentType {
		return fault(registry.Validation, "the body is of type %+q; send %s", t, contentType)
	}
	if c, ok := params["charset"]; ok && !strings.EqualFold(c, "utf-8") {
		return fault(registry.Validation, "the body's charset is %+q; send utf-8", c)
	}
	return nil
}

// numbers takes a number of any size, so that one where a string belongs is
// refused for that and not for being large: what passes a float64 is the
// largest one, which fits no schema of the document.
var numbers = json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(token.String(), 64)
	if err != nil {
		f = math.Copysign(math.MaxFloat64, f)
	}
	*v = f
	return nil
})

// parseBody reads exactly one JSON value: no second one after it, no name
// twice, no bad UTF-8.
func parseBody(b []byte) (jsontext.Value, any, error) {
	v := jsontext.Value(b)
	var tree any
	if err := json.Unmarshal(b, &tree, json.WithUnmarshalers(numbers)); err != nil {
		return nil, nil, fault(registry.Validation, "the body is not one JSON value: %s", syntax(err))
	}
	return v, tree, nil
}

// syntax is a decoder's error in the words of a caller.
func syntax(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it ends too early"
	}
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return strings.TrimPrefix(s.Error(), "jsontext: ")
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// bind decodes a body that passed its schema into its type. Whatever it refuses
// then is a fault of the document.
func bind[T any](raw jsontext.Value) (*T, error) {
	v := new(T)
	if len(raw) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, fault(registry.Validation, "the body does not fit: %s", syntax(err))
	}
	return v, nil
}
