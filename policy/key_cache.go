package policy

import (
	"crypto/x509"
	"sync"
)

// maxParsedKeys bounds the parsed keys that are held: some 3 KB each for ML-DSA-65. A charter has
// fewer in use at a time as a rule; one with more only parses again.
const maxParsedKeys = 512

// keyCache holds keys in the standard library's form, by their SubjectPublicKeyInfo. What it gives is
// what parsing gives, so that it says nothing of whose a key is or whether it still counts. It is safe
// for concurrent use.
type keyCache struct {
	mu    sync.RWMutex
	known map[string]any
}

var parsedKeys = keyCache{known: map[string]any{}}

// get is the parsed key, nil if it cannot be parsed.
func (c *keyCache) get(spki string) any {
	c.mu.RLock()
	key, ok := c.known[spki]
	c.mu.RUnlock()
	if ok {
		return key
	}
	key, err := x509.ParsePKIXPublicKey([]byte(spki))
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxParsedKeys {
		clear(c.known)
	}
	c.known[spki] = key
	return key
}
