package sealed

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/miekg/pkcs11"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// benchJob is one mint on its way through the seal.
type benchJob struct {
	intent    *policy.Intent
	request   seal.AuthorizeRequest
	decisions []*policy.Envelope
}

// jobs are mints of all wallets in turn, signed by so many approvers, ECDSA and Ed25519 first.
func (h *benchmark) jobs(n, approvers int) []*benchJob {
	h.b.Helper()
	_, gas := qrc20.GasBounds(qrc20.Mint)
	out := make([]*benchJob, n)
	each(h.b, 2, n, func(k int) error {
		by := *h.instance
		by.wallet = h.wallets[k%len(h.wallets)]
		j := &benchJob{intent: by.mint("1")}
		text, err := j.intent.Encode()
		if err != nil {
			return err
		}
		j.request = seal.AuthorizeRequest{OperationID: j.intent.OperationID, Intent: text, GasLimit: gas, MaxFee: amount("1000000000"), Tip: amount("1000000")}
		for person := range approvers {
			d := &policy.Decision{Format: 1, Decision: policy.Approve, Intent: text, Approver: "approver-" + names[person], DecidedAt: policy.Seconds(time.Now())}
			payload, err := d.Encode()
			if err != nil {
				return err
			}
			e, err := policy.Sign(policy.PayloadType(policy.DocDecision), payload, h.people.approvers[person])
			if err != nil {
				return err
			}
			j.decisions = append(j.decisions, e)
		}
		out[k] = j
		return nil
	})
	return out
}

// settle makes place for the next jobs.
func (h *benchmark) settle(jobs []*benchJob) {
	h.b.Helper()
	for len(jobs) > 0 {
		some := jobs[:min(500, len(jobs))]
		jobs = jobs[len(some):]
		h.must(h.room.submit(h.b.Context(), func(rd *round) error {
			for _, j := range some {
				if err := rd.add(ledger.Record{Settle: &ledger.Settle{OperationID: j.intent.OperationID, TxHash: tx.Hash{1}}}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// BenchmarkSeal is authorized Dilithium3 signatures against the same work done
// bare on the same cores, in turns. “authorized/s” begins with two decisions in
// the ledger; “whole/s” is the two decisions and the authorization. The bare
// loop decrypts, expands, signs and verifies; of_bare adds the verification of
// two decisions to it, of_bare_signing does not; whole_of_bare compares all with
// all. circl/s is its signature alone.
func BenchmarkSeal(b *testing.B) {
	h := newBenchmark(b, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"})
	w := newBareWallet(b)
	b.Run("in-process", func(b *testing.B) { h.signatures(b, h.room, w) })
	socket := h.overSocket()
	b.Run("socket", func(b *testing.B) { h.signatures(b, socket, w) })
}

func (h *benchmark) signatures(b *testing.B, door door, w *bareWallet) {
	h.b = b
	const clients = 64
	// Beside a turn's first commit and its last nobody signs: of 500 requests they were a twentieth of the time.
	turns, n := 3, 1500
	if testing.Short() {
		turns, n = 1, 64
	}
	var decide, authorize, bare, verify, circl spent
	var took []time.Duration
	done, batches := 0, uint64(0)
	for b.Loop() {
		for turn := range turns {
			jobs := h.jobs(n, 2)
			decide.add(func() (time.Duration, []time.Duration) {
				return each(b, clients, n, func(k int) error {
					for _, e := range jobs[k].decisions {
						if _, err := door.Decide(b.Context(), e); err != nil {
							return err
						}
					}
					return nil
				})
			})
			first, _ := h.room.known().fold.Head()
			took = append(took, authorize.add(func() (time.Duration, []time.Duration) {
				return each(b, clients, n, func(k int) error {
					_, err := door.Authorize(b.Context(), jobs[k].request)
					return err
				})
			})...)
			last, _ := h.room.known().fold.Head()
			batches += last - first
			bare.add(func() (time.Duration, []time.Duration) {
				return each(b, bareSessions, n, func(k int) error { return w.sign(anyDigest(turn, k)) })
			})
			verify.add(func() (time.Duration, []time.Duration) {
				return each(b, bareSessions, n, func(k int) error { return h.verifyAll(jobs[k].decisions) })
			})
			circl.add(func() (time.Duration, []time.Duration) {
				return each(b, bareSessions, n, func(k int) error {
					mode3.SignTo(w.known, anyDigest(turn, k), make([]byte, mode3.SignatureSize))
					return nil
				})
			})
			done += n
			h.settle(jobs)
		}
	}
	rate := func(parts ...spent) float64 { return float64(done) / total(parts).clock.Seconds() }
	cpu := func(parts ...spent) float64 { return total(parts).cpu.Seconds() }
	b.ReportMetric(0, "ns/op") // of a turn of all
	b.ReportMetric(rate(authorize), "authorized/s")
	b.ReportMetric(float64(done)/float64(batches), "authorized/batch")
	b.ReportMetric(quantile(took, .99), "p99-ms")
	b.ReportMetric(rate(decide, authorize), "whole/s")
	b.ReportMetric(rate(bare), "bare_signing/s")
	b.ReportMetric(rate(bare, verify), "bare/s")
	b.ReportMetric(rate(circl), "circl/s")
	b.ReportMetric(rate(authorize)/rate(bare, verify), "of_bare(aim≥0.8)")
	b.ReportMetric(rate(authorize)/rate(bare), "of_bare_signing")
	b.ReportMetric(rate(decide, authorize)/rate(bare, verify), "whole_of_bare")
	b.ReportMetric(rate(authorize)/rate(circl), "of_circl")
	b.ReportMetric(cpu(bare, verify)/cpu(authorize), "cpu_of_bare")
	b.ReportMetric(cpu(bare, verify)/cpu(decide, authorize), "cpu_whole_of_bare")
}

// anyDigest is one that nothing else here signs: how often Dilithium rejects and
// draws again depends on it, so that one digest for all would cost a fraction, or
// a multiple, of what transactions do.
func anyDigest(turn, k int) []byte {
	digest := sha256.Sum256(fmt.Appendf(nil, "transaction %d of turn %d", k, turn))
	return digest[:]
}

// spent is time by the clock, and by processor, which says the same on a machine
// that others use, too; the etcd of this process is in it.
type spent struct{ clock, cpu time.Duration }

func (s *spent) add(f func() (time.Duration, []time.Duration)) []time.Duration {
	before := processor()
	clock, each := f()
	s.clock += clock
	s.cpu += processor() - before
	return each
}

func total(parts []spent) (all spent) {
	for _, p := range parts {
		all.clock += p.clock
		all.cpu += p.cpu
	}
	return all
}

// verifyAll checks the signatures of envelopes and nothing else.
func (h *benchmark) verifyAll(envelopes []*policy.Envelope) error {
	for _, e := range envelopes {
		_, err := e.Verify(policy.PayloadType(policy.DocDecision), func(keyID string) (policy.PublicKey, bool) {
			for _, p := range h.people.approvers {
				if k := p.Public(); k.KeyID() == keyID {
					return k, true
				}
			}
			return policy.PublicKey{}, false
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// overSocket is the room behind a socket of its own, as callers have it.
func (h *benchmark) overSocket() door {
	h.b.Helper()
	dir, err := os.MkdirTemp("", "seal") // short: a socket's path is limited
	h.must(err)
	h.b.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "seal.sock")
	l, err := net.Listen("unix", path)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- seal.Serve(ctx, l, h.room, seal.Options{InFlight: maxWaiting, Log: h.room.log}) }()
	c, err := seal.Dial(ctx, path)
	h.must(err)
	h.b.Cleanup(func() {
		_ = c.Close()
		cancel()
		<-served
	})
	return remote{c}
}

// bareSessions is how many sessions the bare loop has, as in hsm.md.
const bareSessions = 8

// bareWallet is a seed under the seal's own wrapping key, used without the seal
// and without the pool.
type bareWallet struct {
	p        *pkcs11.Ctx
	key      pkcs11.ObjectHandle
	sessions chan pkcs11.SessionHandle
	iv       []byte
	wrapped  []byte
	known    *mode3.PrivateKey
}

func newBareWallet(b *testing.B) *bareWallet {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	// The module is loaded and logged in already, in this process, for house.hsm.
	w := &bareWallet{p: pkcs11.New(house.token.ModulePath), sessions: make(chan pkcs11.SessionHandle, bareSessions), iv: make([]byte, 12)}
	slots, err := w.p.GetSlotList(true)
	must(err)
	var slot uint
	for _, s := range slots {
		if info, err := w.p.GetTokenInfo(s); err == nil && info.Label == "unit" {
			slot = s
		}
	}
	for range bareSessions {
		s, err := w.p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		must(err)
		b.Cleanup(func() { _ = w.p.CloseSession(s) })
		w.sessions <- s
	}
	s := <-w.sessions
	defer func() { w.sessions <- s }()
	must(w.p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(wrappingKey))}))
	found, _, err := w.p.FindObjects(s, 1)
	must(err)
	must(w.p.FindObjectsFinal(s))
	if len(found) != 1 {
		b.Fatal("no wrapping key")
	}
	w.key = found[0]
	var seed [32]byte
	_, err = rand.Read(seed[:])
	must(err)
	_, w.known = mode3.NewKeyFromSeed(&seed)
	params := pkcs11.NewGCMParams(w.iv, nil, 128)
	defer params.Free()
	must(w.p.EncryptInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, w.key))
	w.wrapped, err = w.p.Encrypt(s, seed[:])
	must(err)
	return w
}

func (w *bareWallet) sign(digest []byte) error {
	s := <-w.sessions
	defer func() { w.sessions <- s }()
	params := pkcs11.NewGCMParams(w.iv, nil, 128)
	defer params.Free()
	if err := w.p.DecryptInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, w.key); err != nil {
		return err
	}
	seed, err := w.p.Decrypt(s, w.wrapped)
	if err != nil {
		return err
	}
	public, private := mode3.NewKeyFromSeed((*[32]byte)(seed))
	signature := make([]byte, mode3.SignatureSize)
	mode3.SignTo(private, digest, signature)
	if !mode3.Verify(public, digest, signature) {
		return errors.New("the signature does not verify")
	}
	return nil
}

// BenchmarkCharges is charges of one contract's counter under a DAILY_LIMIT: the
// judged, numbered, charged and journaled authorization without its signature.
// Beside it, in turns and on the same etcd, the same count kept in one key by
// etcd's software transactional memory.
func BenchmarkCharges(b *testing.B) {
	wide, limit := amount("1000000000000000000"), policy.MaxAmount()
	h := newBenchmark(b, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", AboveAmount: &wide},
		policy.Rule{Type: policy.RuleDailyLimit, Amount: &limit})
	for _, clients := range []int{1, 64, 256} {
		b.Run("clients="+strconv.Itoa(clients), func(b *testing.B) { h.charges(b, clients) })
	}
}

func (h *benchmark) charges(b *testing.B, clients int) {
	h.b = b
	turns, n, span := 3, min(400*clients, benchWallets*benchOutstanding), 700*time.Millisecond
	if testing.Short() {
		turns, n, span = 1, 4*clients, 20*time.Millisecond
	}
	var took, stmTook []time.Duration
	var whole spent
	var stmWhole time.Duration
	charged := 0
	batches := uint64(0)
	var commit, journal share
	commit.begin(h.room.metrics.commit)
	journal.begin(h.room.metrics.journal)
	for b.Loop() {
		for range turns {
			jobs := h.jobs(n, 0)
			first, _ := h.room.known().fold.Head()
			took = append(took, whole.add(func() (time.Duration, []time.Duration) {
				return each(b, clients, n, func(k int) error {
					w := h.room.read(jobs[k].request)
					return h.room.submit(b.Context(), func(rd *round) error {
						_, err := rd.authorize(w)
						return err
					})
				})
			})...)
			last, _ := h.room.known().fold.Head()
			batches, charged = batches+last-first, charged+n
			h.settle(jobs)
			d, t := h.stm(clients, span)
			stmTook, stmWhole = append(stmTook, t...), stmWhole+d
		}
	}
	rate, stm := float64(charged)/whole.clock.Seconds(), float64(len(stmTook))/stmWhole.Seconds()
	b.ReportMetric(0, "ns/op") // of a turn of both
	b.ReportMetric(rate, "charges/s(aim≥10000@64)")
	b.ReportMetric(quantile(took, .5), "p50-ms")
	b.ReportMetric(quantile(took, .99), "p99-ms")
	b.ReportMetric(float64(charged)/float64(batches), "charges/batch")
	b.ReportMetric(whole.cpu.Seconds()*1e6/float64(charged), "cpu-µs/charge")
	b.ReportMetric(commit.mean(), "commit-ms/batch")
	b.ReportMetric(journal.mean(), "journal-ms/batch")
	b.ReportMetric(stm, "stm/s")
	b.ReportMetric(quantile(stmTook, .99), "stm-p99-ms")
	b.ReportMetric(rate/stm, "of_stm(aim≥50@64)")
}

// share is what a histogram of seconds took in since it began.
type share struct {
	of     prometheus.Histogram
	sum, n float64
}

func (s *share) begin(of prometheus.Histogram) {
	s.of = of
	s.sum, s.n = s.read()
}

func (s *share) read() (sum, n float64) {
	var m dto.Metric
	if err := s.of.Write(&m); err != nil {
		panic(err) // a histogram always writes
	}
	return m.GetHistogram().GetSampleSum(), float64(m.GetHistogram().GetSampleCount())
}

// mean is in milliseconds.
func (s *share) mean() float64 {
	sum, n := s.read()
	return (sum - s.sum) / max(n-s.n, 1) * 1000
}

// stm adds 1 to one key, by so many clients, for about so long.
func (h *benchmark) stm(clients int, span time.Duration) (time.Duration, []time.Duration) {
	h.b.Helper()
	const key = "/bench/counter"
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	start := time.Now()
	for range clients {
		all.Go(func() {
			for time.Since(start) < span {
				began := time.Now()
				_, err := concurrency.NewSTM(h.store.c, func(s concurrency.STM) error {
					n := 0
					if old := s.Get(key); old != "" {
						var err error
						if n, err = strconv.Atoi(old); err != nil {
							return err
						}
					}
					s.Put(key, strconv.Itoa(n+1))
					return nil
				}, concurrency.WithAbortContext(h.b.Context()))
				if err != nil {
					h.b.Errorf("stm: %v", err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	whole := time.Since(start)
	r, err := h.store.c.Get(h.b.Context(), key, clientv3.WithSerializable())
	h.must(err)
	if len(r.Kvs) != 1 {
		h.b.Fatal(fmt.Errorf("no %s after %d transactions", key, len(took)))
	}
	return whole, took
}
