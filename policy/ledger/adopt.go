package ledger

import "fmt"

// Adopt makes a fold of no batch what another one is, in place, for those who read the former already; the
// other must not be used afterwards. It is for a follower that starts from a snapshot (RestoreFold). The two
// must have the same root.
func (f *Fold) Adopt(other *Fold) error {
	f.applying.Lock()
	defer f.applying.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if at := f.state.head.sequence; at != 0 {
		return fmt.Errorf("ledger: a fold that stands at batch %d adopts no other", at)
	}
	if f.state.root != other.state.root {
		return fmt.Errorf("ledger: a fold whose root is %s cannot become one whose root is %s", f.state.root, other.state.root)
	}
	f.state = other.state
	return nil
}
