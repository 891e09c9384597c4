package api

import (
	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// GetCharter answers GET /v1/charter.
func (s *Server) GetCharter(c *gin.Context) {
	ch, err := s.registry.Charter(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, Charter{
		Version: int64(ch.Body.Version), Status: CharterStatusACTIVE, Document: ch.Document, DocumentDigest: string(ch.Digest),
		RequiredSignatures: int(ch.Body.Custodians.Threshold), SignedBy: ch.SignedBy,
	})
}

// GetLedger answers GET /v1/ledger.
func (s *Server) GetLedger(c *gin.Context, params GetLedgerParams) {
	limit, _ := page(params.Limit, nil)
	from := uint64(1)
	if params.From != nil {
		from = uint64(*params.From)
	}
	batches, head, err := s.registry.LedgerBatches(c.Request.Context(), from, limit)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, LedgerPage{Data: batches, Head: LedgerHead{Sequence: int64(head.Sequence), Hash: string(head.Hash)}})
}

// GetSeal answers GET /v1/seal, also while the seal is sealed or silent.
func (s *Server) GetSeal(c *gin.Context) {
	st, err := s.seal.Status(c.Request.Context())
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
		Author: maybe(st.Author), Version: maybe(st.Version),
	}
	if st.HSM.Serial != "" || st.HSM.Label != "" {
		f.Hsm = &SealHsm{Serial: st.HSM.Serial, Label: st.HSM.Label}
	}
	if st.Head != "" {
		term := int64(st.Term)
		f.Term, f.Head = &term, &LedgerHead{Sequence: int64(st.Sequence), Hash: string(st.Head)}
	}
	return f
}
