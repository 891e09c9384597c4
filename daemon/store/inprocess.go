package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// keepAliveWait is how long a lease waits for its first renewal; a second means the client's own default.
const keepAliveWait = time.Second

// inProcess is a client of the etcd in this process: the very calls that its gRPC server would make, without
// a socket, TLS and two encodings of everything between them, which cost more than the transactions
// themselves. etcd's users and their rights hold as they do over the socket, for each call carries the
// certificate that the connection would have shown.
func inProcess(s *etcdserver.EtcdServer, certificate *x509.Certificate) *clientv3.Client {
	u := caller{&peer.Peer{AuthInfo: credentials.TLSInfo{
		State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{certificate}}},
	}}}
	c := clientv3.NewCtxClient(context.Background(), clientv3.WithZapLogger(s.Logger()))
	c.KV = clientv3.NewKVFromKVClient(callerKV{adapter.KvServerToKvClient(v3rpc.NewQuotaKVServer(s)), u}, c)
	c.Lease = clientv3.NewLeaseFromLeaseClient(callerLease{adapter.LeaseServerToLeaseClient(v3rpc.NewQuotaLeaseServer(s)), u}, c, keepAliveWait)
	c.Watcher = clientv3.NewWatchFromWatchClient(callerWatch{adapter.WatchServerToWatchClient(v3rpc.NewWatchServer(s)), u}, c)
	c.Maintenance = clientv3.NewMaintenanceFromMaintenanceClient(callerMaintenance{adapter.MaintenanceServerToMaintenanceClient(v3rpc.NewMaintenanceServer(s, nil)), u}, c)
	return c
}

// caller is who calls.
type caller struct{ *peer.Peer }

// as is ctx as etcd's server sees that of a request: with the peer's certificate, and metadata, without
// which it takes no certificate.
func (u caller) as(ctx context.Context) context.Context {
	return peer.NewContext(metadata.NewIncomingContext(ctx, metadata.MD{}), u.Peer)
}

// callerKV, callerLease, callerWatch and callerMaintenance make every call in the caller's name. What is not overridden is not
// used by this package, and etcd refuses it as nobody's.
type callerKV struct {
	pb.KVClient
	u caller
}

func (c callerKV) Range(ctx context.Context, in *pb.RangeRequest, o ...grpc.CallOption) (*pb.RangeResponse, error) {
	return c.KVClient.Range(c.u.as(ctx), in, o...)
}

func (c callerKV) Txn(ctx context.Context, in *pb.TxnRequest, o ...grpc.CallOption) (*pb.TxnResponse, error) {
	return c.KVClient.Txn(c.u.as(ctx), in, o...)
}

type callerLease struct {
	pb.LeaseClient
	u caller
}

func (c callerLease) LeaseGrant(ctx context.Context, in *pb.LeaseGrantRequest, o ...grpc.CallOption) (*pb.LeaseGrantResponse, error) {
	return c.LeaseClient.LeaseGrant(c.u.as(ctx), in, o...)
}

func (c callerLease) LeaseRevoke(ctx context.Context, in *pb.LeaseRevokeRequest, o ...grpc.CallOption) (*pb.LeaseRevokeResponse, error) {
	return c.LeaseClient.LeaseRevoke(c.u.as(ctx), in, o...)
}

func (c callerLease) LeaseKeepAlive(ctx context.Context, o ...grpc.CallOption) (pb.Lease_LeaseKeepAliveClient, error) {
	return c.LeaseClient.LeaseKeepAlive(c.u.as(ctx), o...)
}

type callerWatch struct {
	pb.WatchClient
	u caller
}

func (c callerWatch) Watch(ctx context.Context, o ...grpc.CallOption) (pb.Watch_WatchClient, error) {
	return c.WatchClient.Watch(c.u.as(ctx), o...)
}

type callerMaintenance struct {
	pb.MaintenanceClient
	u caller
}

func (c callerMaintenance) Status(ctx context.Context, in *pb.StatusRequest, o ...grpc.CallOption) (*pb.StatusResponse, error) {
	return c.MaintenanceClient.Status(c.u.as(ctx), in, o...)
}

// leaf is the certificate in a PEM file that etcd would take a client's name from.
func leaf(certFile, keyFile string) (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("store: client certificate %s: %w", certFile, err)
	}
	return pair.Leaf, nil
}
