package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func charterForm(ch *registry.Charter) Charter {
	f := Charter{
		Version: int64(ch.Body.Version), Status: CharterStatus(ch.Status), Document: ch.Document, DocumentDigest: string(ch.Digest),
		RequiredSignatures: ch.RequiredSignatures, SignedBy: ch.SignedBy, SupersededBy: maybe(string(ch.SupersededBy)),
		Difference: words(ch.Difference), ProposedBy: maybe(ch.ProposedBy),
	}
	if ch.ProposedBy != "" {
		at := second(ch.CreatedAt)
		f.CreatedAt = &at
	}
	if ch.Proposals != nil {
		proposals := forms(slices.Concat(ch.Proposals, ch.Superseded), charterForm)
		f.Proposals = &proposals
	}
	return f
}

// words is a list that is there if somebody made it.
func words(list []string) *[]string {
	if list == nil {
		return nil
	}
	return &list
}

// GetCharter answers GET /v1/charter.
func (s *Server) GetCharter(c *gin.Context) {
	ch, err := s.registry.Charter(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, charterForm(ch))
}

// ProposeCharter answers PUT /v1/charter.
func (s *Server) ProposeCharter(c *gin.Context, _ ProposeCharterParams) {
	r := requestOf(c)
	b, err := bind[CharterWrite](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusAccepted, sure(charterForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Charter, error) {
		return s.registry.ProposeCharter(ctx, r.actor(), b.Document, idem)
	})
}

// SignCharter answers POST /v1/charter/sign.
func (s *Server) SignCharter(c *gin.Context, _ SignCharterParams) {
	signed(s, c, sure(charterForm), s.registry.SignCharter)
}

// GetLedger answers GET /v1/ledger.
func (s *Server) GetLedger(c *gin.Context, params GetLedgerParams) {
	limit, _ := page(params.Limit, nil)
	from := uint64(1)
	if params.From != nil {
		from = uint64(*params.From)
	}
	batches, head, begin, err := s.registry.LedgerBatches(c.Request.Context(), from, limit)
	if err != nil {
		s.refuse(c, err)
		return
	}
	f := LedgerPage{Data: batches, Head: LedgerHead{Sequence: int64(head.Sequence), Hash: string(head.Hash)}}
	if begin != nil {
		f.Snapshot = &LedgerSnapshot{Sequence: int64(begin.Sequence), Parts: begin.Parts}
	}
	s.answer(c, f)
}

// GetLedgerSnapshot answers GET /v1/ledger/snapshot.
func (s *Server) GetLedgerSnapshot(c *gin.Context, params GetLedgerSnapshotParams) {
	part, err := s.registry.SnapshotPart(c.Request.Context(), uint64(params.Sequence), params.Part)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, LedgerSnapshotPart{Sequence: params.Sequence, Part: params.Part, Data: part})
}

// GetSeal answers GET /v1/seal, also while the seal is sealed or silent.
func (s *Server) GetSeal(c *gin.Context) {
	st, err := s.statuses.now(c.Request.Context())
	if err != nil {
		s.log.Warn("api: the seal does not say how it is", "request_id", requestOf(c).id, "error", err)
		s.answer(c, Seal{Reachable: false, Sealed: true})
		return
	}
	s.answer(c, sealForm(st))
}

func sealForm(st *seal.Status) Seal {
	f := Seal{
		Reachable: true, Sealed: st.Sealed, Initialized: st.Initialized, Instance: maybe(st.Instance), ApplianceID: maybe(st.ApplianceID),
		Author: maybe(st.Author), Version: maybe(st.Version), Why: maybe(st.Why),
	}
	if st.HSM.Serial != "" || st.HSM.Label != "" {
		f.Hsm = &SealHsm{Serial: st.HSM.Serial, Label: st.HSM.Label}
	}
	if st.Head != "" {
		term := int64(st.Term)
		f.Term, f.Head = &term, &LedgerHead{Sequence: int64(st.Sequence), Hash: string(st.Head)}
	}
	if u := st.Unsealing; u != nil {
		f.Unsealing = &Unsealing{Nonce: u.Nonce, Need: u.Need, Shares: u.Shares}
		if len(u.UnsealKey) > 0 {
			f.Unsealing.UnsealKey = &u.UnsealKey
		}
	}
	return f
}

// UnsealSeal answers POST /v1/seal/unseal, the one write that a sealed appliance
// takes.
func (s *Server) UnsealSeal(c *gin.Context, _ UnsealSealParams) {
	signed(s, c, sure(sealForm), s.registry.Unseal)
}

// SealSeal answers POST /v1/seal/seal.
func (s *Server) SealSeal(c *gin.Context, _ SealSealParams) {
	signed(s, c, sure(sealForm), s.registry.SealNow)
}

// Freeze answers POST /v1/seal/freeze.
func (s *Server) Freeze(c *gin.Context, _ FreezeParams) {
	signed(s, c, sure(frozenForm), s.registry.Freeze)
}

func frozenForm(f *registry.Frozen) Frozen {
	return Frozen{
		TokenID: maybe(f.Subject.TokenID), Person: maybe(f.Subject.Person), ApplianceID: maybe(f.Subject.ApplianceID),
		Frozen: f.Frozen, Sequence: int64(f.Sequence),
	}
}
