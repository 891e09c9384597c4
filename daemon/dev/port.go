package dev

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Free ports are looked for below those that Linux gives to outgoing
// connections (32768 and above, ip_local_port_range): the appliance makes many,
// and one of them would now and then take a port between the look and the use.
const (
	freeFirst = 16384
	freeCount = 32768 - freeFirst
	freeTries = 64
)

// listenFree listens on a free port of address, whose own port is 0.
func listenFree(network, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for range freeTries {
		l, err := net.Listen(network, net.JoinHostPort(host, strconv.Itoa(freeFirst+rand.IntN(freeCount))))
		if err == nil {
			return l, nil
		}
	}
	return net.Listen(network, address)
}

// freeEndpoint is a free port of 127.0.0.1, for a server in this process that is told to others before it listens.
// Another process may take it before; the server then fails and says so.
func freeEndpoint() (string, error) {
	l, err := listenFree("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("dev: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
