package hsm

// Ratios of pooled calls to bare ones. The file is of package hsm because AES-GCM
// has no call of its own outside: it is half of SignSeed.

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/miekg/pkcs11"
	"github.com/prometheus/client_golang/prometheus"
)

// side is one of the ways to do something: one operation a call, by worker w.
type side struct {
	name string
	do   func(w int) error
}

// compare runs the sides in turns, in slices short enough that a busy moment of
// the machine meets all of them, and reports each side's operations a second and
// what part of every other side's the first one reaches: by the clock, and by
// processor time, which says the same on a machine that others use, too.
func compare(b *testing.B, workers int, sides ...side) {
	b.Helper()
	slices, length := 10, 100*time.Millisecond
	if testing.Short() {
		slices, length = 2, 5*time.Millisecond
	}
	done, took, used := make([]int64, len(sides)), make([]time.Duration, len(sides)), make([]time.Duration, len(sides))
	for b.Loop() {
		for range slices {
			for i, s := range sides {
				before := processor()
				n, d := turn(b, workers, length, s)
				done[i] += n
				took[i] += d
				used[i] += processor() - before
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of a turn of all sides: says nothing
	rate := func(i int) float64 { return float64(done[i]) / took[i].Seconds() }
	for i, s := range sides {
		b.ReportMetric(rate(i), s.name+"/s")
		if i > 0 {
			b.ReportMetric(rate(0)/rate(i), "of_"+s.name)
			cost := func(i int) float64 { return used[i].Seconds() / float64(done[i]) }
			b.ReportMetric(cost(i)/cost(0), "cpu_of_"+s.name)
		}
	}
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // its only error is a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func turn(b *testing.B, workers int, length time.Duration, s side) (int64, time.Duration) {
	b.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			for time.Since(start) < length {
				if err := s.do(w); err != nil {
					b.Errorf("%s: %v", s.name, err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return n.Load(), time.Since(start)
}

// rig is a token with one key of each kind, and sessions outside its pool.
type rig struct {
	*Token
	seed  *envelope
	bare  []pkcs11.SessionHandle
	pub   ed25519.PublicKey
	edKey pkcs11.ObjectHandle
	ecPub []byte
	ecKey pkcs11.ObjectHandle
	aes   pkcs11.ObjectHandle
}

const mostWorkers = 8

func newRig(b *testing.B) *rig {
	b.Helper()
	ctx := b.Context()
	t, err := Open(ctx, Config{Module: os.Getenv("SHIM_MODULE"), TokenLabel: "unit"}, []byte("1234-test"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	must(b, err)
	b.Cleanup(func() { _ = t.Close() })
	must(b, t.GenerateAESWrappingKey(ctx, "bench", "bench-aes"))
	_, err = t.CreateSeedKey(ctx, "bench-seed", Dilithium3, "bench-aes")
	must(b, err)
	r := &rig{Token: t}
	r.seed, err = t.envelope(ctx, "bench-seed")
	must(b, err)
	r.pub, err = t.GenerateEd25519(ctx, "bench", "bench-ed")
	must(b, err)
	_, err = t.GenerateSecp256k1(ctx, "bench", "bench-ec")
	must(b, err)
	r.ecPub, r.ecKey = t.cached("bench-ec").public, t.cached("bench-ec").handle
	r.edKey, r.aes = t.cached("bench-ed").handle, t.cached("bench-aes").handle
	for range mostWorkers {
		h, err := t.p.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		must(b, err)
		b.Cleanup(func() { _ = t.p.CloseSession(h) })
		r.bare = append(r.bare, h)
	}
	return r
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// sign is C_SignInit and C_Sign and nothing else.
func (r *rig) sign(w int, msg []byte) ([]byte, error) {
	out := make([]byte, ed25519.SignatureSize)
	_, err := r.raw.sign(r.bare[w], ckmEdDSA, nil, r.edKey, msg, out)
	return out, err
}

// wrapperSign is the same two functions as the wrapper library calls them.
func (r *rig) wrapperSign(w int, msg []byte) ([]byte, error) {
	if err := r.p.SignInit(r.bare[w], []*pkcs11.Mechanism{pkcs11.NewMechanism(ckmEdDSA, nil)}, r.edKey); err != nil {
		return nil, err
	}
	return r.p.Sign(r.bare[w], msg)
}

// decrypt is C_DecryptInit and C_Decrypt, into the caller's buffer.
func (r *rig) decrypt(w int, out []byte) error {
	_, err := r.raw.openGCM(r.bare[w], r.aes, r.seed.IV, r.seed.aad, r.seed.Ciphertext, out)
	return err
}

// wrapperDecrypt is the same two functions as the wrapper library calls them.
func (r *rig) wrapperDecrypt(w int) error {
	params := pkcs11.NewGCMParams(r.seed.IV, r.seed.aad, gcmTagSize*8)
	defer params.Free()
	if err := r.p.DecryptInit(r.bare[w], []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, r.aes); err != nil {
		return err
	}
	_, err := r.p.Decrypt(r.bare[w], r.seed.Ciphertext)
	return err
}

func atOnce(b *testing.B, f func(*testing.B, *rig, int)) {
	r := newRig(b)
	for _, workers := range []int{1, mostWorkers} {
		b.Run(fmt.Sprintf("at-once=%d", workers), func(b *testing.B) { f(b, r, workers) })
	}
}

// BenchmarkEd25519 is SignEd25519 against C_SignInit and C_Sign, without and with
// the verification that SignEd25519 never leaves out, with it in a goroutine to
// leave it to; and without it as the wrapper library makes the two calls.
func BenchmarkEd25519(b *testing.B) {
	msg := make([]byte, 200)
	atOnce(b, func(b *testing.B, r *rig, workers int) {
		compare(b, workers,
			side{"pooled", func(int) error { _, err := r.SignEd25519(b.Context(), "bench-ed", msg); return err }},
			side{"bare", func(w int) error { _, err := r.sign(w, msg); return err }},
			side{"bare_verified", func(w int) error {
				sig, err := r.sign(w, msg)
				if err == nil && !ed25519.Verify(r.pub, msg, sig) {
					return ErrMismatch
				}
				return err
			}},
			side{"handed_over", handOver(b, workers, func(w int) error {
				sig, err := r.sign(w, msg)
				if err == nil && !ed25519.Verify(r.pub, msg, sig) {
					return ErrMismatch
				}
				return err
			})},
			side{"wrapper", func(w int) error { _, err := r.wrapperSign(w, msg); return err }})
	})
}

// BenchmarkSecp256k1 is SignSecp256k1 against C_SignInit and C_Sign, without and
// with what makes an Ethereum signature of it, which verifies it, too.
func BenchmarkSecp256k1(b *testing.B) {
	digest := sha256.Sum256([]byte("a transaction"))
	atOnce(b, func(b *testing.B, r *rig, workers int) {
		bare := func(w int) ([]byte, error) {
			out := make([]byte, secp.size)
			_, err := r.raw.sign(r.bare[w], secp.sign, nil, r.ecKey, digest[:], out)
			return out, err
		}
		finished := func(w int) error {
			sig, err := bare(w)
			if err == nil && recoverable(r.ecPub, digest[:], sig) == nil {
				return ErrMismatch
			}
			return err
		}
		compare(b, workers,
			side{"pooled", func(int) error { _, err := r.SignSecp256k1(b.Context(), "bench-ec", digest); return err }},
			side{"bare", func(w int) error { _, err := bare(w); return err }},
			side{"bare_finished", finished},
			side{"handed_over", handOver(b, workers, finished)})
	})
}

// handOver gives f to a goroutine of the worker's own and waits for it: the least
// that a caller pays who may leave while the call goes on, since a C call cannot be
// interrupted and a goroutine that is in one cannot return.
func handOver(b *testing.B, workers int, f func(w int) error) func(w int) error {
	b.Helper()
	work, done := make([]chan struct{}, workers), make([]chan error, workers)
	for w := range workers {
		work[w], done[w] = make(chan struct{}, 1), make(chan error, 1)
		go func() {
			for range work[w] {
				done[w] <- f(w)
			}
		}()
		b.Cleanup(func() { close(work[w]) })
	}
	return func(w int) error {
		work[w] <- struct{}{}
		return <-done[w]
	}
}

// BenchmarkAESGCM is the decryption of a wrapped seed in the pool against the
// same two C calls in a session of one's own, without and with a goroutine to leave
// them to; and as the wrapper library makes them. Nothing uses it alone: a wallet's
// signature is forty times as long, and leaves one goroutine to it, too.
func BenchmarkAESGCM(b *testing.B) {
	atOnce(b, func(b *testing.B, r *rig, workers int) {
		out := make([][]byte, workers)
		for w := range out {
			out[w] = make([]byte, secretSize)
		}
		compare(b, workers,
			side{"pooled", func(int) error {
				return r.do(b.Context(), "bench", func(s *session) error { return r.unwrap(s, r.seed) })
			}},
			side{"bare", func(w int) error { return r.decrypt(w, out[w]) }},
			side{"handed_over", handOver(b, workers, func(w int) error { return r.decrypt(w, out[w]) })},
			side{"wrapper", r.wrapperDecrypt})
	})
}

// BenchmarkSignSeed is a wallet's signature against the bare work of it (decrypt,
// expand, compare, sign) and against circl's signature alone.
func BenchmarkSignSeed(b *testing.B) {
	// Another one each time: how often a signature is begun anew depends on it.
	var transactions atomic.Uint64
	next := func() [32]byte {
		return sha256.Sum256(binary.BigEndian.AppendUint64(nil, transactions.Add(1)))
	}
	atOnce(b, func(b *testing.B, r *rig, workers int) {
		out := make([][]byte, workers)
		for w := range out {
			out[w] = make([]byte, secretSize)
		}
		_, known := mode3.NewKeyFromSeed(&[seedSize]byte{1})
		compare(b, workers,
			side{"pooled", func(int) error { _, err := r.SignSeed(b.Context(), "bench-seed", next()); return err }},
			side{"bare", func(w int) error {
				if err := r.decrypt(w, out[w]); err != nil {
					return err
				}
				pk, sk := mode3.NewKeyFromSeed((*[seedSize]byte)(out[w]))
				sig, digest := make([]byte, mode3.SignatureSize), next()
				mode3.SignTo(sk, digest[:], sig)
				if subtle.ConstantTimeCompare(pk.Bytes(), r.seed.PublicKey) != 1 {
					return ErrMismatch
				}
				return nil
			}},
			side{"circl", func(int) error {
				digest := next()
				mode3.SignTo(known, digest[:], make([]byte, mode3.SignatureSize))
				return nil
			}})
	})
}
