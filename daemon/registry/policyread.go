package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Policy is the version in force with its open proposals and those that it
// superseded; before any is in force, the newest proposal, with the other open
// ones. An unknown policy is TX_NOT_FOUND.
func (s *Service) Policy(ctx context.Context, id string) (*Policy, error) {
	head, _, err := s.policyHeadAt(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := s.showPolicy(ctx, head)
	if err != nil || p.Status != PolicyActive {
		return p, err
	}
	p.Superseded, err = s.supersededBy(ctx, p)
	return p, err
}

// supersededBy are the proposals whose place a version took, newest first. The
// version that was in force before it was no proposal any more.
func (s *Service) supersededBy(ctx context.Context, p *Policy) ([]*Policy, error) {
	prefix := policyStateKey(p.ID, "")
	var keys []string
	for kv, err := range s.store.All(ctx, prefix, nil) {
		if err != nil {
			return nil, err
		}
		st, err := decode[policyState](kv.Key, kv.Value)
		if err != nil {
			return nil, err
		}
		if st.overtakenBy(p.DocumentDigest) {
			keys = append(keys, policyVersionKey(p.ID, kv.Key[len(prefix):]), kv.Key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var out []*Policy
	for i := len(kvs) - 2; i >= 0; i -= 2 {
		old, err := decodeVersion(keys[i+1][len(prefix):], kvs[i], kvs[i+1])
		if err != nil {
			return nil, err
		}
		old.RequiredSignatures = p.RequiredSignatures
		out = append(out, old)
	}
	return out, nil
}

// maxPageBytes bounds the documents of a page of policies, in bytes: an answer has
// them several times over, and hundreds of answers may be made at once.
const maxPageBytes = 512 << 10

// Policies lists policies, newest first, each as [Service.Policy] shows it, and
// says how many there are. It gives fewer where they are large, but one at least.
func (s *Service) Policies(ctx context.Context, limit, offset int) ([]*Policy, int, error) {
	heads, total, err := s.policies.newest(ctx, s.store, func(*policyHead) bool { return true }, limit, offset)
	if err != nil {
		return nil, 0, err
	}
	page, bytes := make([]*Policy, 0, len(heads)), 0
	for _, head := range heads {
		p, err := s.showPolicy(ctx, head)
		if err != nil {
			return nil, 0, err
		}
		if bytes += size(p) + size(p.Proposals...); bytes > maxPageBytes && len(page) > 0 {
			break
		}
		page = append(page, p)
	}
	return page, total, nil
}

func (s *Service) showPolicy(ctx context.Context, head *policyHead) (*Policy, error) {
	v, err := s.policyVersions(ctx, head)
	if err != nil {
		return nil, err
	}
	top := v.active
	if top == nil {
		top = v.latest
	}
	top.Proposals = []*Policy{}
	for _, p := range slices.Backward(v.open) {
		if p != top {
			top.Proposals = append(top.Proposals, p)
		}
	}
	return top, nil
}

func (s *Service) policyHeadAt(ctx context.Context, id string) (*policyHead, int64, error) {
	missing := Refuse(TxNotFound, "there is no policy %q; GET /v1/policies lists them", id)
	if !store.ValidID(policyPrefix, id) {
		return nil, 0, missing
	}
	head, rev, err := load[policyHead](ctx, s.store, policyHeadKey(id))
	if err == nil && head == nil {
		err = missing
	}
	return head, rev, err
}

// versions are those that a head names.
type versions struct {
	active, latest *Policy
	open           []*Policy // oldest first
}

func (s *Service) policyVersions(ctx context.Context, head *policyHead) (versions, error) {
	names := slices.Compact(slices.Sorted(slices.Values(slices.Concat(head.Open, []string{head.Active, head.Latest}))))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	keys := make([]string, 0, 2*len(names))
	for _, n := range names {
		keys = append(keys, policyVersionKey(head.ID, n), policyStateKey(head.ID, n))
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err != nil {
		return versions{}, err
	}
	charter, _ := s.fold.Charter()
	var v versions
	for i, name := range names {
		p, err := decodeVersion(name, kvs[2*i], kvs[2*i+1])
		if err != nil {
			return versions{}, err
		}
		if charter != nil {
			p.RequiredSignatures = int(charter.Custodians.Threshold)
		}
		if p.name == head.Active {
			v.active = p
		}
		if p.name == head.Latest {
			v.latest = p
		}
		if slices.Contains(head.Open, p.name) {
			p.compare(s.fold.Policy(p.ID))
			v.open = append(v.open, p)
		}
	}
	return v, nil
}

// decodeVersion puts a version together from its two keys.
func decodeVersion(name string, version, state store.KV) (*Policy, error) {
	for _, kv := range []store.KV{version, state} {
		if kv.ModRevision == 0 {
			return nil, fmt.Errorf("registry: %s is named by its policy but does not exist", kv.Key)
		}
	}
	p, err := decode[Policy](version.Key, version.Value)
	if err != nil {
		return nil, err
	}
	st, err := decode[policyState](state.Key, state.Value)
	if err != nil {
		return nil, err
	}
	p.name, p.rev = name, version.ModRevision
	p.Status, p.SupersededBy, p.LedgerSeq, p.UpdatedAt = st.Status, st.SupersededBy, st.LedgerSeq, st.UpdatedAt
	return p, nil
}
