package ledger

import (
	"errors"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// refuseDocument says whether signatures or the document itself did not hold.
func refuseDocument(err error) *Refusal {
	if errors.Is(err, policy.ErrEnvelope) {
		return refuse(ReasonEnvelope, "%w", err)
	}
	return refuse(ReasonDocument, "%w", err)
}

// threshold is nil if the custodians' threshold signed the envelope and its payload was not
// recorded before: an envelope counts once.
func (s *state) threshold(document string, e *Enveloped) *Refusal {
	if where, ok := s.documents.get(e.PayloadDigest()); ok {
		return refuse(ReasonDuplicate, "%s %s is recorded already, in batch %d", document, e.PayloadDigest(), where)
	}
	if _, err := s.law.charter.VerifyThreshold(document, e); err != nil {
		return refuseDocument(err)
	}
	return nil
}

func (s *state) here(instance string) *Refusal {
	if instance != s.instance {
		return refuse(ReasonDocument, "the document is of instance %s, this is %s", instance, s.instance)
	}
	return nil
}

// version is one that was recorded.
type version struct {
	number   uint64
	digest   policy.Digest
	sequence uint64
}

// succeeds is nil if version and replaces follow what is recorded, ascending, none where nothing is.
// Of two that would replace the same, the first one recorded did; the other is told which.
func succeeds(what string, recorded []version, version uint64, replaces *policy.Digest) *Refusal {
	current, digest := uint64(0), policy.Digest("")
	if n := len(recorded); n > 0 {
		current, digest = recorded[n-1].number, recorded[n-1].digest
	}
	for _, r := range recorded {
		if r.number == version {
			return refuse(ReasonConflict, "%s has version %d, want %d: version %d is %s, recorded in batch %d", what, version, current+1, version, r.digest, r.sequence)
		}
	}
	switch {
	case version != current+1:
		return refuse(ReasonConflict, "%s has version %d, want %d", what, version, current+1)
	case current == 0 && replaces != nil:
		return refuse(ReasonConflict, "%s replaces %s, yet there is none", what, *replaces)
	case current != 0 && (replaces == nil || *replaces != digest):
		return refuse(ReasonConflict, "%s does not replace version %d, which is %s", what, current, digest)
	}
	return nil
}

// policy puts the next version of a policy in force: one that the threshold signed, or one that one
// custodian signed and that only tightens the version in force.
func (s *state) policy(at place, e *Enveloped) *Refusal {
	r := s.threshold(policy.DocPolicy, e)
	alone := false
	if r != nil && r.Reason == ReasonEnvelope {
		_, err := s.law.charter.VerifyCustodians(policy.DocPolicy, e)
		alone = err == nil
	}
	if r != nil && !alone {
		return r
	}
	p, err := policy.ParsePolicy(e.Payload)
	if err == nil {
		err = policy.CheckPolicy(p, s.law.charter)
	}
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	line, known := s.policies.get(p.ID)
	if r := s.here(p.Instance); r != nil {
		return r
	}
	if r := succeeds("policy "+p.ID, line.recorded(), p.Version, p.Replaces); r != nil {
		return r
	}
	tightens := known && policy.Compare(line.newest().inForce.Policy, p) == policy.Tighter
	if alone && !tightens {
		return r // what is more than a tightening needs the threshold
	}
	if r := s.recovery.voids(p.CreatedAt); r != nil && !tightens {
		return r
	}
	if alone && line.newest().alone {
		if n := s.resting(); n >= maxResting {
			return refuse(ReasonConflict, "policy %s is tightened already, and %d versions stand between what the threshold signed and what is in force, at most %d: the threshold must sign",
				p.ID, n, maxResting)
		}
	}
	next := &policyLine{}
	if known {
		next.versions = slices.Clone(line.versions)
		next.versions[len(next.versions)-1].superseded = at.time
	}
	digest := e.PayloadDigest()
	next.versions = append(next.versions, policyVersion{inForce: &policy.InForce{Policy: p, Digest: digest}, envelope: e, alone: alone, sequence: at.sequence})
	s.policies.put(p.ID, next)
	s.documents.put(digest, at.sequence)
	return nil
}

// recorded is the versions of a policy, none of a nil line.
func (l *policyLine) recorded() (all []version) {
	if l == nil {
		return nil
	}
	for _, v := range l.versions {
		all = append(all, version{v.inForce.Policy.Version, v.inForce.Digest, v.sequence})
	}
	return all
}

func (l *policyLine) newest() *policyVersion { return &l.versions[len(l.versions)-1] }

// basis is where the version stands on whose signatures the newest one rests.
func (l *policyLine) basis() int {
	n := len(l.versions) - 1
	for n > 0 && l.versions[n].alone {
		n--
	}
	return n
}

// maxResting bounds how many versions of all policies stand between the last one that the threshold
// signed and the one in force: each was signed by fewer custodians and superseded likewise. One
// custodian could else have every fold hold, and every snapshot carry, as many as he likes. A policy
// whose version in force the threshold signed can always be tightened; one that was tightened before
// can, once what the earlier steps left may go (forget.go) or the threshold signed again.
const maxResting = 64

// resting is how many such versions stand.
func (s *state) resting() (n int) {
	for _, line := range s.policies.all() {
		n += max(0, len(line.versions)-line.basis()-2)
	}
	return n
}

// freeze stops or lets go. A document counts only if it was made after what is recorded of its
// subject, so that an old one cannot be played again; and not in the future, for one of the year
// 9999 would be the last.
func (s *state) freeze(at place, e *Enveloped) *Refusal {
	f, err := policy.ParseFreeze(e.Payload)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if f.Frozen {
		// One custodian may stop.
		if where, ok := s.documents.get(e.PayloadDigest()); ok {
			return refuse(ReasonDuplicate, "freeze %s is recorded already, in batch %d", e.PayloadDigest(), where)
		}
		if _, err := s.law.charter.VerifyCustodians(policy.DocFreeze, e); err != nil {
			return refuseDocument(err)
		}
	} else if r := s.threshold(policy.DocFreeze, e); r != nil {
		return r
	} else if r := s.recovery.voids(f.CreatedAt); r != nil {
		return r
	}
	if r := s.here(f.Instance); r != nil {
		return r
	}
	if limit := at.time.Add(s.law.charter.MaxClockSkew()); f.CreatedAt.After(limit) {
		return refuse(ReasonDocument, "freeze of %s is of the future; it is %s", stamp(f.CreatedAt), stamp(at.time))
	}
	if last, ok := s.frozen.get(f.Subject); ok && !f.CreatedAt.After(last.since) {
		return refuse(ReasonConflict, "freeze of %s is not newer than what is recorded of its subject, %s", stamp(f.CreatedAt), stamp(last.since))
	}
	s.frozen.put(f.Subject, freeze{f.Frozen, f.CreatedAt})
	s.documents.put(e.PayloadDigest(), at.sequence)
	return nil
}

// eventFreeze stops a token on the word of serve, which may name only what is bound: nobody signed
// this, and what is frozen is kept. A token that is frozen stays so since it was.
func (s *state) eventFreeze(at place, e *EventFreeze) *Refusal {
	if !s.bindings.has(e.TokenID) {
		return refuse(ReasonUnknown, "token %s is not bound", e.TokenID)
	}
	subject := policy.Subject{TokenID: e.TokenID}
	last, ok := s.frozen.get(subject)
	if ok && last.frozen {
		return refuse(ReasonDuplicate, "token %s is frozen already", e.TokenID)
	}
	since := at.time
	if ok && last.since.After(since) {
		since = last.since // a custodian's clock ran ahead by less than the skew
	}
	s.frozen.put(subject, freeze{true, since})
	return nil
}

// suspended is nil if the author may do what widens: a suspended appliance still records what people
// decide, for else stopping the only one would stop those who could let it go on. The fault is the
// author's and not the record's, which another appliance, or this one later, may write.
func (s *state) suspended(at place) *Refusal {
	if s.isFrozen(policy.Subject{ApplianceID: at.author}) {
		return refuse(ReasonAuthor, "appliance %s is suspended", at.author)
	}
	return nil
}

func (s *state) isFrozen(subject policy.Subject) bool {
	f, _ := s.frozen.get(subject)
	return f.frozen
}

func (s *state) checkpointed(c *Checkpoint) *Refusal {
	if last := s.checkpoint; last != nil {
		if c.Size < last.Size {
			return refuse(ReasonConflict, "checkpoint of %d leaves, the last one has %d", c.Size, last.Size)
		}
		if c.Size == last.Size {
			if c.Root != last.Root {
				return refuse(ReasonConflict, "two roots of %d leaves: %s and %s", c.Size, last.Root, c.Root)
			}
			return refuse(ReasonDuplicate, "checkpoint of %d leaves is recorded already", c.Size)
		}
	}
	s.checkpoint = c
	return nil
}
