package config

import (
	"net"
	"net/url"
)

// Trace is where spans of OpenTelemetry go. Without an endpoint nothing is traced.
type Trace struct {
	Endpoint string `toml:"endpoint,omitempty"` // URL of an OTLP/HTTP collector: https, or http on loopback; without a path /v1/traces is meant
	CA       string `toml:"ca,omitempty"`       // PEM file of the roots of the collector's certificate; empty: the system's
	// SampleRatio is how many of the traces that begin here are kept, 0 to 1; default 1. A caller that sends a
	// traceparent has decided for its own.
	SampleRatio *float64 `toml:"sample_ratio,omitempty"`
}

// Configured tells whether this appliance traces.
func (t *Trace) Configured() bool { return t.Endpoint != "" }

func (t *Trace) defaults() {
	if u, err := url.Parse(t.Endpoint); err == nil && t.Configured() && u.Path == "" {
		u.Path = "/v1/traces"
		t.Endpoint = u.String()
	}
	if t.SampleRatio == nil && t.Configured() {
		whole := 1.0
		t.SampleRatio = &whole
	}
}

func (t *Trace) check(f *faults) {
	if !t.Configured() {
		if t.CA != "" || t.SampleRatio != nil {
			f.add("trace.endpoint", "is missing; name the collector, or leave the table out")
		}
		return
	}
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		f.add("trace.endpoint", "is not a URL without user and query; write for example \"https://collector.example.com:4318\"") // it may hold a secret
	case u.Scheme == "http" && !loopback(u.Hostname()):
		f.add("trace.endpoint", "%q: plain http leaves this machine; use https, or a collector on loopback", t.Endpoint)
	case u.Scheme == "http" && t.CA != "":
		f.add("trace.ca", "is set, but the endpoint is plain http")
	}
	if r := *t.SampleRatio; !(r >= 0 && r <= 1) {
		f.add("trace.sample_ratio", "%v is outside 0 to 1", r)
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
