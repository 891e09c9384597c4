package sealed

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/mintwarden/mintwarden/policy/ledger"
)

const (
	// storeTimeout bounds one exchange with etcd; a leader election takes about
	// a second.
	storeTimeout = 5 * time.Second
	// authorLease is how long an author that is silent keeps others out. Liveness
	// only: what it writes is compared with the key's revision.
	authorLease = 10 * time.Second
	// logPage is the most batches that are read at once, and firstPage as many as are
	// while nobody knows how large they are: up to 1 MiB each.
	firstPage, logPage = 2, 32
	// pageBytes is how large a page is to be. One is in memory twice while it is read.
	pageBytes = 1 << 20
	// maxAnswer bounds an answer of etcd, in bytes: a page of the most batches that are
	// read at once has half of it.
	maxAnswer = 64 << 20
)

// logStore is the ledger's place in etcd. It believes nothing that it reads.
type logStore struct {
	c            *clientv3.Client
	lease        time.Duration // the author key's
	certificates certificates
}

func openStore(ctx context.Context, cfg StoreConfig) (*logStore, error) {
	ca, err := os.ReadFile(cfg.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("store.ca %s holds no certificate", cfg.CA)
	}
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("store.cert: %w", err)
	}
	certificates := certificates{pair.Leaf}
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil { // else it is none of roots either
			certificates = append(certificates, c)
		}
	}
	sockets := map[string]string{}
	for endpoint, path := range cfg.Sockets {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, fmt.Errorf("store.sockets: %w", err)
		}
		sockets[u.Host] = path
	}
	var dialer net.Dialer
	c, err := clientv3.New(clientv3.Config{
		Context:              ctx,
		Endpoints:            cfg.Endpoints,
		DialTimeout:          storeTimeout,
		DialKeepAliveTime:    storeTimeout,
		DialKeepAliveTimeout: storeTimeout,
		Logger:               zap.NewNop(), // what it has to say comes back as errors
		TLS:                  cfg.tls(roots, pair),
		MaxCallRecvMsgSize:   maxAnswer,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			if path, ok := sockets[addr]; ok {
				return dialer.DialContext(ctx, "unix", path)
			}
			return dialer.DialContext(ctx, "tcp", addr)
		}), grpc.WithConnectParams(grpc.ConnectParams{
			// A store that was away for long comes back as fast: grpc's own backoff would leave the ledger without an
			// author for two minutes more.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: storeTimeout,
		})},
	})
	if err != nil {
		return nil, err
	}
	return &logStore{c, cmp.Or(time.Duration(cfg.Lease), authorLease), certificates}, nil
}

// tls is how etcd's server is known and we to it. The client library has the
// endpoint's host checked whatever tls.Config.ServerName says, so a name that is
// set is checked by us, in its place: chain to the CA, purpose and name.
func (c *StoreConfig) tls(roots *x509.CertPool, pair tls.Certificate) *tls.Config {
	out := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	if c.ServerName == "" {
		return out
	}
	out.InsecureSkipVerify = true // VerifyConnection does all of it
	out.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("etcd's server shows no certificate")
		}
		between := x509.NewCertPool()
		for _, more := range s.PeerCertificates[1:] {
			between.AddCert(more)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: c.ServerName, Roots: roots, Intermediates: between,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	return out
}

func (s *logStore) close() error { return s.c.Close() }

// after calls f with every value of the log behind sequence, in order, until
// there is none or f fails. Reads are linearizable.
func (s *logStore) after(ctx context.Context, sequence uint64, f func(value []byte) error) error {
	from := ledger.Key(sequence + 1)
	for limit := firstPage; ; {
		page, err := s.get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(ledger.LogPrefix)), clientv3.WithLimit(int64(limit)))
		if err != nil {
			return err
		}
		size := 0
		for _, kv := range page.Kvs {
			if err := f(kv.Value); err != nil {
				return fmt.Errorf("%s: %w", kv.Key, err)
			}
			from = string(kv.Key) + "\x00"
			size += len(kv.Value)
		}
		limit = nextPage(len(page.Kvs), size)
		if !page.More {
			return nil
		}
		if len(page.Kvs) == 0 {
			return fmt.Errorf("etcd says that the log goes on behind %s, and gives nothing of it", from)
		}
	}
}

// nextPage is how many batches to read behind a page of n, which had size bytes: those
// that come next are likely to be as large.
func nextPage(n, size int) int {
	return min(max(pageBytes*n/max(size, 1), 1), logPage)
}

// batch reads one value of the log; nil when it is not there.
func (s *logStore) batch(ctx context.Context, sequence uint64) ([]byte, error) {
	r, err := s.get(ctx, ledger.Key(sequence))
	if err != nil || len(r.Kvs) == 0 {
		return nil, err
	}
	return r.Kvs[0].Value, nil
}

func (s *logStore) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.c.Get(ctx, key, opts...)
}

// tenure is the time as author: the author key's revision, and the lease that
// lets others in when we are gone.
type tenure struct {
	revision int64
	lease    clientv3.LeaseID
	lost     chan struct{} // closes when the lease is no longer kept alive
	stop     context.CancelFunc
}

func (t *tenure) held() bool {
	if t == nil {
		return false
	}
	select {
	case <-t.lost:
		return false
	default:
		return true
	}
}

// otherAuthorError says who holds the author key.
type otherAuthorError struct{ appliance string }

func (e *otherAuthorError) Error() string { return "author is " + e.appliance }

// campaign takes the author key for the appliance: when nobody has it, or when
// an earlier self of this appliance does, whose transactions fail from then on.
func (s *logStore) campaign(ctx context.Context, appliance string) (*tenure, error) {
	r, err := s.get(ctx, ledger.AuthorKey)
	if err != nil {
		return nil, err
	}
	revision := int64(0)
	if len(r.Kvs) == 1 {
		if holder := string(r.Kvs[0].Value); holder != appliance {
			return nil, &otherAuthorError{holder}
		}
		revision = r.Kvs[0].ModRevision
	}
	try, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	lease, err := s.c.Grant(try, int64(s.lease/time.Second))
	if err != nil {
		return nil, err
	}
	txn, err := s.c.Txn(try).
		If(clientv3.Compare(clientv3.ModRevision(ledger.AuthorKey), "=", revision)).
		Then(clientv3.OpPut(ledger.AuthorKey, appliance, clientv3.WithLease(lease.ID))).
		Commit()
	if err != nil {
		return nil, err
	}
	if !txn.Succeeded {
		return nil, errors.New("somebody else took the author key just now")
	}
	alive, stop := context.WithCancel(ctx)
	answers, err := s.c.KeepAlive(alive, lease.ID)
	if err != nil {
		stop()
		return nil, err
	}
	t := &tenure{revision: txn.Header.Revision, lease: lease.ID, lost: make(chan struct{}), stop: stop}
	go func() {
		defer close(t.lost)
		for range answers {
		}
	}()
	return t, nil
}

// resign lets the next author in at once. Its failure costs them a lease's time.
func (s *logStore) resign(t *tenure) {
	t.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = s.c.Revoke(ctx, t.lease)
}

// holder is who has the author key, empty if nobody has.
func (s *logStore) holder(ctx context.Context) (string, error) {
	r, err := s.get(ctx, ledger.AuthorKey)
	if err != nil || len(r.Kvs) == 0 {
		return "", err
	}
	return string(r.Kvs[0].Value), nil
}

// outcome is what etcd said to a batch. The zero value is invalid.
type outcome int

const (
	_         outcome = iota
	committed         // the batch is in the log
	outlived          // it is, and the author key is not ours any more
	refused           // it is not, and never will be by this transaction
)

// commit offers value as batch sequence: one transaction, "the key is absent, the
// author key is as it was, and the batch before is there" (a store that lost it
// would else get a hole). An error means that the outcome is unknown.
// Offered again after that, a batch that got in the first time is committed, or outlived.
func (s *logStore) commit(ctx context.Context, sequence uint64, value []byte, t *tenure) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	key := ledger.Key(sequence)
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
		clientv3.Compare(clientv3.ModRevision(ledger.AuthorKey), "=", t.revision)}
	if sequence > ledger.FirstSequence {
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(ledger.Key(sequence-1)), ">", 0))
	}
	txn, err := s.c.Txn(ctx).
		If(conditions...).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key), clientv3.OpGet(ledger.AuthorKey, clientv3.WithKeysOnly())).
		Commit()
	if err != nil {
		return 0, err
	}
	if txn.Succeeded {
		return committed, nil
	}
	var there, author []*mvccpb.KeyValue
	if len(txn.Responses) == 2 {
		there, author = txn.Responses[0].GetResponseRange().Kvs, txn.Responses[1].GetResponseRange().Kvs
	}
	if len(there) == 1 && string(there[0].Value) == string(value) {
		if len(author) == 1 && author[0].ModRevision == t.revision {
			return committed, nil
		}
		return outlived, nil
	}
	// Another batch is there, or the author key changed: both are for good, so
	// no copy of this transaction that is still under way can succeed. Where the
	// batch before is missing, our author key goes now, which is for good, too.
	return refused, nil
}
