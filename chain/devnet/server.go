package devnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

const (
	maxBody     = 1 << 20  // bytes of a request; the largest transaction is 256 KiB as hex
	maxBatch    = 100      // calls of one request
	maxResponse = 16 << 20 // bytes of a batch's answer
	maxLogs     = 10_000   // entries that eth_getLogs answers at once
	closeTime   = 2 * time.Second
)

// server is the HTTP side.
type server struct {
	url  string
	http *http.Server
}

// serve answers on listener until the node closes.
func (n *Node) serve(listener net.Listener) error {
	n.rpc = rpc.NewServer()
	n.rpc.SetHTTPBodyLimit(maxBody)
	n.rpc.SetBatchLimits(maxBatch, maxResponse)
	eth := &ethAPI{n}
	for name, api := range map[string]any{"eth": eth, "qc": eth, "net": &netAPI{n}, "web3": web3API{}, "devnet": &devnetAPI{n}} {
		if err := n.rpc.RegisterName(name, api); err != nil {
			return fmt.Errorf("devnet: namespace %s: %w", name, err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/control", n.rpc)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := n.faults.wait(r.Context()); err != nil {
			panic(http.ErrAbortHandler) // the connection just ends, as a hanging node's would
		}
		n.rpc.ServeHTTP(w, r)
	})
	n.server = &server{
		url: "http://" + listener.Addr().String(),
		http: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			BaseContext:       func(net.Listener) context.Context { return n.ctx },
		},
	}
	n.work.Go(func() {
		if err := n.server.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("devnet stopped answering", "error", err)
		}
	})
	return nil
}

// close lets running answers finish, but not for long.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}
