package ledger

import (
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
)

// counts says whether a signature counted when the operation was judged, and why not.
func counts(in policy.Input, p *Person) (bool, string) {
	switch {
	case p.Verb == policy.Reject:
		return true, ""
	case p.Intent != in.IntentDigest:
		return false, "it is over another intent"
	case p.Verb == policy.Approve && p.Name == in.Intent.Requester:
		return false, "nobody approves what he asked for himself"
	}
	for _, name := range in.Suspended {
		if name == p.Name {
			return false, p.Name + " was suspended"
		}
	}
	ids := make([]string, len(p.Keys))
	for n, k := range p.Keys {
		ids[n] = k[strings.LastIndexByte(k, ' ')+1:]
	}
	if p.Verb == "" {
		if p.Name != in.Intent.Requester {
			return false, "somebody else asked for it"
		}
		if !in.Charter.Requested(policy.RecordedRequest{Person: p.Name, Keys: ids}) {
			return false, "the key was no longer " + p.Name + "'s"
		}
		return true, ""
	}
	if !in.Charter.Signed(policy.RecordedDecision{Person: p.Name, Keys: ids}) {
		return false, "the key was no longer " + p.Name + "'s"
	}
	return true, ""
}

// Words is the explanation line by line, for a person who is no programmer: what was asked for, who
// signed when with which kind of key, what became of it, and what each rule found. Nothing in it is
// unprintable.
func (e *Explanation) Words() []string {
	lines := []string{fmt.Sprintf("Operation %s: %s.", e.OperationID, e.asked())}
	if e.decoys > 0 {
		lines = append(lines, fmt.Sprintf("Somebody signed %d other intent(s) under this operation's id. They count for nothing here.", e.decoys))
	}
	for n := range e.People {
		lines = append(lines, e.People[n].words())
	}
	lines = append(lines, e.became()...)
	if e.Partial {
		lines = append(lines, "The ledger holds only the digest of what was asked for, since nobody was asked to sign it: whom it is for and its fee are not judged again here. Its intent, "+
			string(e.IntentDigest)+", says them.")
	}
	if v := e.Verdict; v != nil {
		lines = append(lines, fmt.Sprintf("The policies, judged again as they stood at %s: %s.", stamp(e.At), v.Summary()))
		lines = append(lines, v.Words(e.subject(), e.At, e.glossary)...)
	}
	if e.Differs {
		lines = append(lines, "THIS DOES NOT AGREE WITH WHAT IS RECORDED: "+e.Why+".")
	}
	return lines
}

// subject is the intent that the rules' words are about.
func (e *Explanation) subject() *policy.Intent {
	if e.Intent != nil {
		return e.Intent
	}
	return &e.partial
}

func (e *Explanation) asked() string {
	if e.Intent == nil {
		return "what was asked for is not in the ledger"
	}
	return strings.TrimSuffix(e.Intent.Words(e.glossary), ".")
}

func (p *Person) words() string {
	did := map[policy.Verb]string{policy.Approve: "approved", policy.Reject: "rejected", "": "signed the request"}[p.Verb]
	s := fmt.Sprintf("%s %s it, recorded in batch %d at %s, with %s", policy.Word(p.Name), did, p.Sequence, stamp(p.At), strings.Join(p.Keys, " and "))
	if p.Verb == "" {
		s = strings.Replace(s, "request it", "request", 1)
	}
	if p.Reason != "" {
		s += fmt.Sprintf(", saying “%s”", policy.Printable(p.Reason))
	}
	if !p.Counts && p.Why != "" {
		s += ". It does not count: " + p.Why
	}
	return s + "."
}

// became says what is recorded of the operation's end.
func (e *Explanation) became() []string {
	at := fmt.Sprintf("batch %d of %s at %s", e.Sequence, policy.Word(e.Author), stamp(e.At))
	switch e.Recorded {
	case RecordedAuthorized:
		s := "It was authorized in " + at
		for _, c := range e.Authorized.Charges {
			s += fmt.Sprintf(", charged %s base units as %s to contract %s on chain %d", policy.Units(c.Amount, 0), c.Operation, c.Contract, c.ChainID)
		}
		return []string{s + fmt.Sprintf(", and took nonce %d of wallet %s.", e.Authorized.Nonce, e.Authorized.WalletID)}
	case RecordedRejected:
		return []string{"It was rejected in " + at + ", which ends it."}
	case RecordedCancelled:
		return []string{fmt.Sprintf("It was cancelled in %s: %s.", at, policy.Printable(e.Reason))}
	}
	return []string{fmt.Sprintf("Nothing that ends it is recorded up to batch %d. It is judged as at %s.", e.Sequence, stamp(e.At))}
}
