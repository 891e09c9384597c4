package sealed

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/mintwarden/mintwarden/policy/ledger"
)

// largeKV is an etcd that answers whatever it is asked for with one value.
type largeKV struct {
	pb.KVServer
	value []byte
}

func (l *largeKV) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: 1}, Kvs: []*mvccpb.KeyValue{{Key: []byte(ledger.Key(1)), Value: l.value}}, Count: 1}, nil
}

// A hostile etcd sends an answer that would fill the machine's memory, of which the seal's can neither be swapped nor is
// taken back first: it is not read.
func TestAttack_AnAnswerLargerThanAnyPage(t *testing.T) {
	in := func(name string) string { return filepath.Join(house.dir, name) }
	tls, err := credentials.NewServerTLSFromFile(in("server.crt"), in("server.key"))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	kv := &largeKV{value: make([]byte, maxAnswer)}
	server := grpc.NewServer(grpc.Creds(tls), grpc.MaxSendMsgSize(2*maxAnswer))
	pb.RegisterKVServer(server, kv)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	cfg := house.store
	cfg.Endpoints = []string{"https://" + l.Addr().String()}
	s := openLog(t, cfg)

	read := 0
	take := func(value []byte) error { read += len(value); return nil }
	err = s.after(t.Context(), 0, take)
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Zero(t, read)

	// The largest page that there is, of batches that have just become large, is read.
	kv.value = make([]byte, logPage*ledger.MaxBatch)
	require.NoError(t, s.after(t.Context(), 0, take))
	require.Equal(t, len(kv.value), read)
}
