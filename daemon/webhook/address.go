package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// MaxURL bounds an endpoint's URL, in bytes.
const MaxURL = 2048

// CheckURL reads an endpoint's URL. plain admits http beside https, for dev. The error is a *Refusal of kind
// InvalidURL. Where the host leads is not looked at.
func CheckURL(raw string, plain bool) (*url.URL, error) {
	bad := func(format string, args ...any) (*url.URL, error) {
		return nil, refuse(InvalidURL, "url %+.200q: "+format, append([]any{raw}, args...)...)
	}
	if len(raw) > MaxURL {
		return bad("it has %d bytes, at most %d are allowed", len(raw), MaxURL)
	}
	// What url.Parse takes and another reader might take for something else is refused first.
	if i := strings.IndexFunc(raw, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == '\\' || r == 0x7f }); i >= 0 {
		return bad("there is %+q at byte %d; write visible ASCII, and other characters percent-encoded or as xn--", raw[i:i+1], i)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("it is malformed")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && (!plain || u.Scheme != "http"):
		return bad("it must begin with https://")
	case u.Opaque != "" || host == "":
		return bad("it names no host")
	case u.User != nil:
		return bad("it holds a user name or password; deliveries are signed instead")
	case strings.Contains(raw, "#"):
		return bad("it has a fragment, which no server would see")
	case strings.ContainsAny(host, "%/?@"):
		return bad("its host is malformed")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return bad("port %+q is outside 1 to 65535", port)
		}
	}
	return u, nil
}

// special are the networks that are not the public Internet (IANA's special-purpose registries), and
// 168.63.129.16, which is a public address only by its looks: a cloud's host answers there.
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	// Within 2000::/3, outside of which no IPv6 address is public: Teredo and other protocols' own, documentation, 6to4.
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")

// publicIPv6 is all of IPv6 that is given out: loopback, unique local, link-local, multicast, NAT64
// (64:ff9b::/96, which leads into IPv4) and IPv4-compatible addresses are outside.
var publicIPv6 = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// AddressError says that an address is refused.
type AddressError struct {
	Host    string // as the URL names it
	Address netip.Addr
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("%s leads to %s, which is not on the public Internet and in no network that the config allows", e.Host, e.Address)
}

// guard decides where deliveries may go, and connects there. Safe for concurrent use.
type guard struct {
	allowed  []netip.Prefix // beside the public Internet
	resolver *net.Resolver
}

// admits reports whether deliveries may go to an address. An IPv4 address in IPv6's clothes is judged as what
// it is; one with a zone is of some link and never public.
func (g *guard) admits(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(g.allowed, within) {
		return true
	}
	return (a.Is4() || publicIPv6.Contains(a)) && !slices.ContainsFunc(special, within)
}

// resolve is every address of a host. The error is an *AddressError if one of them is refused: a name that
// has public and private ones is somebody's trick.
func (g *guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = g.resolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if !g.admits(a) {
			return nil, &AddressError{host, a.Unmap()}
		}
	}
	if len(addresses) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return addresses, nil
}

// dialPatience is how long a connection may take, of the ten seconds that an attempt has.
const dialPatience = 5 * time.Second

// dial connects to an address of host that is admitted. It is looked at twice: what the name resolves to, and
// what the socket is about to be connected to, since the name may resolve to something else by then.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := g.resolve(ctx, host); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialPatience, Resolver: g.resolver, ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" {
			return fmt.Errorf("webhook: no connection over %s to %q", network, address)
		}
		if !g.admits(a.Addr()) {
			return &AddressError{host, a.Addr().Unmap()}
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}
