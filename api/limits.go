package api

import "time"

// Limits bound what one caller, and all of them together, may hold or wait for.
// A zero field means its default.
type Limits struct {
	// PerSecond is how many requests a second one key may make on average
	// (1,000), and Burst how many at once (twice PerSecond).
	PerSecond, Burst int
	// Lasting is how much one user may add within a day of what stays in the store
	// for good, in bytes of his requests, each of which counts a KiB at least (128 MiB);
	// and of anything while the store is near its quota, where a write counts 16 KiB.
	Lasting int
	// Reads, Writes and Long are how many requests of each kind may be under way
	// at once (1,024, 512, 8); Long ones read a whole log. Stops is how many of the
	// writes that stop something may be, beside all the others (32). One user, and
	// one client certificate, has half of each.
	Reads, Writes, Long, Stops int
	// Ledger is how many pages of the ledger may be made at once, each of some
	// megabytes (16), and Receipts how many receipts, each of which may wait for a
	// checkpoint (64); half of them for one user and for one certificate.
	Ledger, Receipts int
	// AnswerBytes is how much of answers may wait for callers to take it, in bytes
	// (256 MiB), a quarter of it for one user and for one certificate.
	AnswerBytes int
	// Connections is how many may be open (4,096), half of them from one address;
	// Streams how many requests one HTTP/2 connection may have open (128).
	Connections, Streams int
	// HeaderTimeout is for the TLS handshake and for a request's header (10 s),
	// BodyTimeout for its body (30 s), WriteTimeout for each piece of an answer to
	// be taken (30 s), IdleTimeout for a connection without a request (2 min).
	HeaderTimeout, BodyTimeout, WriteTimeout, IdleTimeout time.Duration
	// Timeout ends a request's work (30 s), AuditTimeout that of one that reads a
	// whole log (100 s).
	Timeout, AuditTimeout time.Duration
}

func (l *Limits) defaults() {
	for _, n := range []struct {
		field    *int
		standard int
	}{{&l.PerSecond, 1000}, {&l.Lasting, 128 << 20}, {&l.Reads, 1024}, {&l.Writes, 512}, {&l.Long, 8}, {&l.Stops, 32}, {&l.Ledger, 16}, {&l.Receipts, 64}, {&l.AnswerBytes, 256 << 20}, {&l.Connections, 4096}, {&l.Streams, 128}} {
		if *n.field <= 0 {
			*n.field = n.standard
		}
	}
	if l.Burst <= 0 {
		l.Burst = 2 * l.PerSecond
	}
	for _, d := range []struct {
		field    *time.Duration
		standard time.Duration
	}{
		{&l.HeaderTimeout, 10 * time.Second}, {&l.BodyTimeout, 30 * time.Second}, {&l.WriteTimeout, 30 * time.Second},
		{&l.IdleTimeout, 2 * time.Minute}, {&l.Timeout, 30 * time.Second},
		{&l.AuditTimeout, 100 * time.Second}, // below the client's 2 min
	} {
		if *d.field <= 0 {
			*d.field = d.standard
		}
	}
}
