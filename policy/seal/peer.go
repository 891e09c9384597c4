package seal

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// peer is the user id at the other end when it connected, as the kernel says (SO_PEERCRED, unix(7)).
func peer(conn net.Conn) (uint32, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T is no Unix socket", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, asked); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// parseRequest reads what a request must have whatever it asks. Errors wrap ErrProtocol.
func parseRequest(body []byte) (id uint64, op Op, err error) {
	var r struct {
		ID *uint64 `json:"id"`
		Op *Op     `json:"op"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return 0, "", fmt.Errorf("%w: request: %w", ErrProtocol, err)
	}
	if r.ID == nil || *r.ID > MaxID {
		return 0, "", fmt.Errorf("%w: request: want an id from 0 to 2^53-1", ErrProtocol)
	}
	if r.Op == nil {
		return *r.ID, "", nil // which is none, as the caller is told: the id says to whom
	}
	return *r.ID, *r.Op, nil
}

// shorten cuts a message to maxMessage bytes of valid UTF-8.
func shorten(message string) string {
	message = strings.ToValidUTF8(message, "�")
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}
