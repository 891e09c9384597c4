package config

import "time"

// Limits protect the API from its callers, and its callers from each other.
type Limits struct {
	RequestsPerSecond int `toml:"requests_per_second,omitempty"` // per key, default 1,000
	Burst             int `toml:"burst,omitempty"`               // per key, default 2,000
	MaxPending        int `toml:"max_pending,omitempty"`         // operations of one key awaiting approval, default 64

	// How many requests may be under way at once, of which one user and one certificate has half:
	// reads (default 1,024), writes (512), and those that read a whole log (8).
	ReadsInFlight  int `toml:"reads_in_flight,omitempty"`
	WritesInFlight int `toml:"writes_in_flight,omitempty"`
	LongInFlight   int `toml:"long_in_flight,omitempty"`

	Connections          int `toml:"connections,omitempty"`            // open at once, half of them from one address; default 4,096
	StreamsPerConnection int `toml:"streams_per_connection,omitempty"` // of HTTP/2, default 128

	Header  time.Duration `toml:"-"`
	Body    time.Duration `toml:"-"`
	Answer  time.Duration `toml:"-"`
	Idle    time.Duration `toml:"-"`
	Request time.Duration `toml:"-"`
	Long    time.Duration `toml:"-"`
	// Go durations.
	HeaderText  string `toml:"header_timeout,omitempty"`  // TLS handshake, and a request's header; default 10s
	BodyText    string `toml:"body_timeout,omitempty"`    // a request's body; default 30s
	AnswerText  string `toml:"answer_timeout,omitempty"`  // each piece of an answer to be taken; default 30s
	IdleText    string `toml:"idle_timeout,omitempty"`    // a connection without a request; default 2m
	RequestText string `toml:"request_timeout,omitempty"` // a request's work; default 30s
	LongText    string `toml:"long_timeout,omitempty"`    // that of one that reads a whole log; default 100s
}

// count is one of the limits that are numbers, with its bounds.
type count struct {
	key                 string
	value               *int
	low, high, standard int
}

func (l *Limits) counts() []count {
	return []count{
		{"requests_per_second", &l.RequestsPerSecond, 1, 1e6, 1000},
		{"burst", &l.Burst, 1, 1e6, 2000},
		{"max_pending", &l.MaxPending, 1, 1e5, 64},
		{"reads_in_flight", &l.ReadsInFlight, 2, 1e5, 1024},
		{"writes_in_flight", &l.WritesInFlight, 2, 1e5, 512},
		{"long_in_flight", &l.LongInFlight, 2, 1e3, 8},
		{"connections", &l.Connections, 16, 1e5, 4096},
		{"streams_per_connection", &l.StreamsPerConnection, 1, 1e4, 128},
	}
}

// span is one of the limits that are times, with its bounds.
type span struct {
	key       string
	text      *string
	value     *time.Duration
	low, high time.Duration
	standard  string
}

func (l *Limits) spans() []span {
	return []span{
		{"header_timeout", &l.HeaderText, &l.Header, time.Second, time.Minute, "10s"},
		{"body_timeout", &l.BodyText, &l.Body, time.Second, 10 * time.Minute, "30s"},
		{"answer_timeout", &l.AnswerText, &l.Answer, time.Second, 10 * time.Minute, "30s"},
		{"idle_timeout", &l.IdleText, &l.Idle, time.Second, time.Hour, "2m"},
		{"request_timeout", &l.RequestText, &l.Request, time.Second, 10 * time.Minute, "30s"},
		{"long_timeout", &l.LongText, &l.Long, time.Second, time.Hour, "100s"},
	}
}

func (l *Limits) defaults() {
	for _, n := range l.counts() {
		if *n.value == 0 {
			*n.value = n.standard
		}
	}
	for _, d := range l.spans() {
		if *d.text == "" {
			*d.text = d.standard
		}
	}
}

func (l *Limits) check(f *faults) {
	for _, n := range l.counts() {
		if *n.value < n.low || *n.value > n.high {
			f.add("limits."+n.key, "%d is outside %d to %d", *n.value, n.low, n.high)
		}
	}
	for _, d := range l.spans() {
		*d.value = f.duration("limits."+d.key, *d.text, d.low, d.high)
	}
}
