package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/mintwarden/mintwarden/policy"
)

// maxOpened bounds half of what a memo holds, in decisions of some 10 KB: all that one batch can
// hold, or all that may wait for one.
const maxOpened = 512

// opened is a decision whose signatures hold under one charter, read.
type opened struct {
	decision *policy.Decision
	intent   *policy.Intent
	payload  policy.Digest
	digest   policy.Digest // of the intent's bytes
}

// memo holds decisions that were verified lately, so that whoever asks for one, the stage that takes
// it and the fold that follows do the work once between them. An entry is of an envelope's every byte
// under one charter's every byte, and only of what held: finding one says what verifying again would.
// It is safe for concurrent use.
type memo struct {
	mu          sync.Mutex
	young, aged map[memoKey]*opened

	head, snapshot policy.Digest // the snapshot that was made or read last, and the head that it is of
}

type memoKey struct {
	envelope [sha256.Size]byte
	charter  policy.Digest
}

// fingerprint is of every byte of an envelope: each part goes in behind its length.
func fingerprint(e *Enveloped) (sum [sha256.Size]byte) {
	h := sha256.New()
	var size [8]byte
	part := func(b []byte) {
		binary.BigEndian.PutUint64(size[:], uint64(len(b)))
		_, _ = h.Write(size[:]) // a hash takes everything
		_, _ = h.Write(b)
	}
	part([]byte(e.PayloadType))
	part(e.Payload)
	for _, s := range e.Signatures {
		part([]byte(s.KeyID))
		part(s.Sig)
	}
	h.Sum(sum[:0])
	return sum
}

// open verifies a decision under the charter and reads it.
func (m *memo) open(l *law, e *Enveloped) (*opened, error) {
	key := memoKey{fingerprint(e), l.digest}
	if o := m.get(key); o != nil {
		return o, nil
	}
	d, i, err := l.charter.OpenDecision(e)
	if err != nil {
		return nil, err
	}
	o := &opened{decision: d, intent: i, payload: e.PayloadDigest(), digest: d.IntentDigest()}
	m.put(key, o)
	return o, nil
}

func (m *memo) get(key memoKey) *opened {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.young[key]; ok {
		return o
	}
	return m.aged[key]
}

func (m *memo) put(key memoKey, o *opened) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= maxOpened {
		m.young, m.aged = nil, m.young
	}
	if m.young == nil {
		m.young = map[memoKey]*opened{}
	}
	m.young[key] = o
}

// ahead verifies the batch's decisions by all processors at once, under the charter that is in force
// before it. What fails here, or stands under a charter of the batch itself, is for its own turn.
func (m *memo) ahead(l *law, records []Record) {
	var waiting []*Enveloped
	for i := range records {
		if e := records[i].Decision; e != nil && len(waiting) < maxOpened {
			waiting = append(waiting, e)
		}
	}
	workers := min(runtime.GOMAXPROCS(0), len(waiting))
	if workers < 2 {
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(waiting); n = int(next.Add(1)) - 1 {
				_, _ = m.open(l, waiting[n]) // an error comes again, where it has its place
			}
		})
	}
	all.Wait()
}

// VerifyDecision checks a decision's envelope against the charter in force, as
// [policy.Charter.VerifyDecision] does, and reads the intent too. What held is remembered for a
// while, so that a stage or a fold that takes the same envelope under the same charter does not
// verify it again. What it gives is shared and not to be changed. Before charter 1 it is an error.
func (v *View) VerifyDecision(e *policy.Envelope) (*policy.Decision, *policy.Intent, error) {
	v.mu.RLock()
	l, m := v.state.law, v.state.memo
	v.mu.RUnlock()
	if l == nil {
		return nil, nil, refuse(ReasonConflict, "there is no charter yet")
	}
	o, err := m.open(l, e)
	if err != nil {
		return nil, nil, err
	}
	return o.decision, o.intent, nil
}
