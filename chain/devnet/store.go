package devnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/pebble"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/hashdb"
)

// The store is one pebble database with one write-ahead log. go-ethereum keeps trie nodes in it
// under their 32-byte hashes and code under 'c' and a hash; our keys have other lengths.
//
// A block is made durable so: state nodes (unsynced writes), then one batch with the block, its
// index entries, the transactions that leave the pool and the new head (unsynced write), then one
// sync of the log. The log is in order, so whatever part of it a crash leaves, a head found there
// has its block and its state.
//
// State is kept by hash (triedb's hashdb), so that every block's state stays readable and a reorg
// is nothing but another head.
const (
	keyChain   = "mw/chain" // chain id, 8 bytes big-endian
	keyHead    = "mw/head"  // hash of the newest block
	keyForks   = "mw/forks" // how often the chain was reorganized, 8 bytes
	prefBlock  = "mw/b/"    // + hash: storedBlock
	prefNumber = "mw/n/"    // + number, 8 bytes: hash of the canonical block
	prefTx     = "mw/t/"    // + transaction hash: number and index, 12 bytes; canonical blocks only
	prefLogs   = "mw/l/"    // + number, 8 bytes: the bloom of a canonical block that has logs
	prefPool   = "mw/p/"    // + transaction hash: a pending transaction, as sent
)

const (
	cacheMiB    = 16  // pebble's block cache and memory tables
	openFiles   = 64  // pebble's file handles
	cacheBlocks = 128 // decoded blocks held in memory
)

// store reads and writes blocks. It knows nothing of which is valid.
type store struct {
	db      ethdb.Database
	trie    *triedb.Database
	state   *state.MPTDatabase
	blocks  *lru.Cache[common.Hash, *block]
	chainID uint64
}

// ErrChainID is wrapped when a directory holds another chain than the one asked for.
var ErrChainID = errors.New("devnet: the directory holds another chain")

func openStore(dir string, chainID uint64) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("devnet: %w", err)
	}
	kv, err := pebble.New(filepath.Join(dir, "chain"), cacheMiB, openFiles, "", false)
	if err != nil {
		return nil, fmt.Errorf("devnet: directory %q: %w", dir, err)
	}
	db := rawdb.NewDatabase(kv)
	trie := triedb.NewDatabase(db, &triedb.Config{HashDB: &hashdb.Config{}})
	s := &store{db: db, trie: trie, state: state.NewMPTDatabase(trie, nil),
		blocks: lru.NewCache[common.Hash, *block](cacheBlocks), chainID: chainID}
	if err := s.claim(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// claim writes the chain id into a new directory and compares it in an old one.
func (s *store) claim() error {
	has, err := s.db.Has([]byte(keyChain))
	if err != nil {
		return fmt.Errorf("devnet: %w", err)
	}
	if !has {
		return s.db.Put([]byte(keyChain), u64(s.chainID))
	}
	v, err := s.db.Get([]byte(keyChain))
	if err != nil {
		return fmt.Errorf("devnet: %w", err)
	}
	if got := binary.BigEndian.Uint64(v); got != s.chainID {
		return fmt.Errorf("%w: chain id %d, asked for %d", ErrChainID, got, s.chainID)
	}
	return nil
}

func (s *store) close() error {
	return errors.Join(s.trie.Close(), s.db.Close())
}

// sync makes all that was written so far survive a crash.
func (s *store) sync() error { return s.db.SyncKeyValue() }

// headHash is the newest block's, ok false in a new directory.
func (s *store) headHash() (h common.Hash, ok bool, err error) {
	has, err := s.db.Has([]byte(keyHead))
	if err != nil || !has {
		return h, false, err
	}
	v, err := s.db.Get([]byte(keyHead))
	return common.BytesToHash(v), err == nil, err
}

// forks is how often the chain was reorganized.
func (s *store) forks() (uint64, error) {
	has, err := s.db.Has([]byte(keyForks))
	if err != nil || !has {
		return 0, err
	}
	v, err := s.db.Get([]byte(keyForks))
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// block reads one by its hash, canonical or not; nil if it was never made.
func (s *store) block(hash common.Hash) (*block, error) {
	if b, ok := s.blocks.Get(hash); ok {
		return b, nil
	}
	key := append([]byte(prefBlock), hash[:]...)
	if has, err := s.db.Has(key); err != nil || !has {
		return nil, err
	}
	v, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	b, err := decodeBlock(v, s.chainID)
	if err != nil {
		return nil, err
	}
	s.blocks.Add(hash, b)
	return b, nil
}

// canonical is the hash of the block with this number, zero if there is none yet.
func (s *store) canonical(number uint64) (common.Hash, error) {
	key := append([]byte(prefNumber), u64(number)...)
	if has, err := s.db.Has(key); err != nil || !has {
		return common.Hash{}, err
	}
	v, err := s.db.Get(key)
	return common.BytesToHash(v), err
}

// blockByNumber reads a canonical block; nil if there is none yet.
func (s *store) blockByNumber(number uint64) (*block, error) {
	h, err := s.canonical(number)
	if err != nil || h == (common.Hash{}) {
		return nil, err
	}
	return s.block(h)
}

// lookup says where a mined transaction is.
func (s *store) lookup(hash common.Hash) (number uint64, index uint32, ok bool, err error) {
	key := append([]byte(prefTx), hash[:]...)
	if has, err := s.db.Has(key); err != nil || !has {
		return 0, 0, false, err
	}
	v, err := s.db.Get(key)
	if err != nil {
		return 0, 0, false, err
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint32(v[8:]), true, nil
}

// appendBlock makes b the head, durably.
func (s *store) appendBlock(b *block) error {
	data, err := b.encode()
	if err != nil {
		return err
	}
	batch := s.db.NewBatch()
	w := writer{batch: batch}
	w.put(prefBlock, b.hash[:], data)
	w.put(prefNumber, u64(b.number()), b.hash[:])
	if b.logs() > 0 {
		w.put(prefLogs, u64(b.number()), b.header.Bloom[:])
	}
	for i, t := range b.txs {
		w.put(prefTx, t.hash[:], binary.BigEndian.AppendUint32(u64(b.number()), uint32(i)))
		w.delete(prefPool, t.hash[:])
	}
	w.put(keyHead, nil, b.hash[:])
	if err := w.commit(s); err != nil {
		return err
	}
	s.blocks.Add(b.hash, b)
	return nil
}

// rewind makes ancestor the head again and takes orphans, the blocks above it, out of the index.
// The transactions in keep become pending ones.
func (s *store) rewind(ancestor *block, orphans []*block, keep []*transaction, forks uint64) error {
	w := writer{batch: s.db.NewBatch()}
	for _, b := range orphans {
		w.delete(prefNumber, u64(b.number()))
		w.delete(prefLogs, u64(b.number()))
		for _, t := range b.txs {
			w.delete(prefTx, t.hash[:])
		}
	}
	for _, t := range keep {
		w.put(prefPool, t.hash[:], t.Raw)
	}
	w.put(keyHead, nil, ancestor.hash[:])
	w.put(keyForks, nil, u64(forks))
	return w.commit(s)
}

// putPending makes a pending transaction survive a restart, and forgets the one that it replaces.
func (s *store) putPending(t *transaction, replaced *transaction) error {
	w := writer{batch: s.db.NewBatch()}
	w.put(prefPool, t.hash[:], t.Raw)
	if replaced != nil {
		w.delete(prefPool, replaced.hash[:])
	}
	return w.commit(s)
}

// deletePending forgets pending transactions; a crash may bring them back, which is harmless.
func (s *store) deletePending(txs []*transaction) error {
	for _, t := range txs {
		if err := s.db.Delete(append([]byte(prefPool), t.hash[:]...)); err != nil {
			return err
		}
	}
	return nil
}

// pending reads what was pending at the end.
func (s *store) pending() ([][]byte, error) {
	it := s.db.NewIterator([]byte(prefPool), nil)
	defer it.Release()
	var raws [][]byte
	for it.Next() {
		raws = append(raws, common.CopyBytes(it.Value()))
	}
	return raws, it.Error()
}

// withLogs calls f with number and bloom of each canonical block in [from, to] that has logs,
// until f says no.
func (s *store) withLogs(from, to uint64, f func(number uint64, bloom []byte) (more bool, err error)) error {
	it := s.db.NewIterator([]byte(prefLogs), u64(from))
	defer it.Release()
	for it.Next() {
		number := binary.BigEndian.Uint64(it.Key()[len(prefLogs):])
		if number > to {
			break
		}
		if more, err := f(number, it.Value()); err != nil || !more {
			return err
		}
	}
	return it.Error()
}

// writer gathers a batch and remembers its first error.
type writer struct {
	batch ethdb.Batch
	err   error
}

func (w *writer) put(prefix string, key, value []byte) {
	if w.err == nil {
		w.err = w.batch.Put(append([]byte(prefix), key...), value)
	}
}

func (w *writer) delete(prefix string, key []byte) {
	if w.err == nil {
		w.err = w.batch.Delete(append([]byte(prefix), key...))
	}
}

// commit writes all or nothing, and syncs.
func (w *writer) commit(s *store) error {
	if w.err != nil {
		return w.err
	}
	if err := w.batch.Write(); err != nil {
		return err
	}
	return s.sync()
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
