package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/awnumar/memguard"
	"github.com/miekg/pkcs11"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says which token to use and how hard.
type Config struct {
	Module     string // path of the PKCS#11 library
	TokenLabel string // the token's label; slot numbers change and are not used
	// TokenSerial must match when it is not empty.
	TokenSerial string
	// Sessions is the most calls at once, beside one idle session that keeps
	// the login. 0 means 16: real HSMs cap sessions.
	Sessions int
	// Wait bounds the wait for a session. 0 means 5 s.
	Wait time.Duration
	// CallTimeout is after what time a call counts as stuck. 0 means 20 s.
	CallTimeout time.Duration
	// OpenTimeout bounds Open: a module may take longer to start than any call. 0
	// means CallTimeout.
	OpenTimeout time.Duration
	// MaxStuck is how many stuck calls break the token. 0 means 4.
	MaxStuck int
}

const (
	defaultSessions    = 16
	defaultWait        = 5 * time.Second
	defaultCallTimeout = 20 * time.Second
	defaultMaxStuck    = 4
	// maxFaults is how many general errors in a row mean that the module is
	// unwell; one alone can be a passing fault.
	maxFaults = 3
)

func (c *Config) fill() error {
	if c.Module == "" || c.TokenLabel == "" {
		return fmt.Errorf("hsm: module %q and token label %q must both be set", c.Module, c.TokenLabel)
	}
	if c.Sessions == 0 {
		c.Sessions = defaultSessions
	}
	if c.Sessions < 1 || c.Sessions > 1024 {
		return fmt.Errorf("hsm: sessions = %d, want 1 to 1024", c.Sessions)
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.OpenTimeout == 0 {
		c.OpenTimeout = c.CallTimeout
	}
	if c.MaxStuck == 0 {
		c.MaxStuck = defaultMaxStuck
	}
	return nil
}

// Token is a logged-in PKCS#11 token. Safe for concurrent use.
type Token struct {
	cfg     Config
	p       *pkcs11.Ctx
	raw     *raw
	slot    uint
	info    Info
	log     *slog.Logger
	metrics *metrics

	permits   chan struct{}
	closed    chan struct{}
	closeOnce sync.Once
	broken    chan struct{}
	breakOnce sync.Once
	faults    atomic.Int32 // module errors in a row

	// objects serializes what makes or destroys token objects: SoftHSM2 fails
	// about one keygen in sixty when eight run at once.
	objects chan struct{}
	// held: the call that has objects is stuck.
	held atomic.Bool

	calls sync.WaitGroup // running, stuck ones not counted
	mu    sync.Mutex
	idle  []*worker
	stuck int
	// finalized: the module is no longer ours.
	finalized bool
	login     pkcs11.SessionHandle // stays open: closing the last session ends the login

	// epoch changes with whatever may let a handle name another key: a session
	// that was given up, for any reason, and a call that was stuck.
	epoch atomic.Uint64

	native atomic.Pointer[algorithm] // ML-DSA, once it was looked for

	uncopied atomic.Int32 // copies of a session's objects that were refused in a row

	known atomic.Pointer[func(id string) []byte] // public keys that others know; nil: nobody does

	cacheMu     sync.RWMutex
	keys        map[string]*key
	envelopes   map[string]*envelope
	dataObjects map[string]pkcs11.ObjectHandle
	seen        map[string][]object // by AddObject, until RemoveObjects
}

// Open loads the module, finds the token by label and serial, and logs in with
// pin, once. It wipes pin before it returns, also when it fails. A refused PIN
// is ErrWrongPIN and must not be tried again.
//
// A module that does not answer within Config.OpenTimeout, or before ctx ends,
// keeps the goroutine and a locked copy of the PIN that are stuck in it; Open
// returns ErrStuck or ctx's error, and only a new process can try again.
func Open(ctx context.Context, cfg Config, pin []byte, log *slog.Logger, reg prometheus.Registerer) (*Token, error) {
	defer clear(pin)
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(pin) == 0 {
		return nil, fmt.Errorf("hsm: empty PIN")
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	t := &Token{
		cfg: cfg, log: log, metrics: m,
		permits: make(chan struct{}, cfg.Sessions),
		closed:  make(chan struct{}), broken: make(chan struct{}),
		objects: make(chan struct{}, 1),
		keys:    map[string]*key{}, envelopes: map[string]*envelope{}, dataObjects: map[string]pkcs11.ObjectHandle{}, seen: map[string][]object{},
	}
	t.doubt() // 0 is the epoch of a handle that was never read
	own := memguard.NewBuffer(len(pin))
	own.Copy(pin)
	opened, left := make(chan error), make(chan struct{})
	defer close(left)
	go func() {
		defer own.Destroy()
		err := t.load(own.Bytes())
		select {
		case opened <- err:
		case <-left: // too late: nobody may find a login that nobody holds
			if err == nil {
				_ = t.Close()
			}
		}
	}()
	limit := time.NewTimer(cfg.OpenTimeout)
	defer limit.Stop()
	select {
	case err := <-opened:
		if err != nil {
			return nil, err
		}
		return t, nil
	case <-limit.C:
		return nil, fmt.Errorf("%w: not open after %s", ErrStuck, cfg.OpenTimeout)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load starts the module and logs in.
func (t *Token) load(pin []byte) error {
	t.p = pkcs11.New(t.cfg.Module)
	if t.p == nil {
		return fmt.Errorf("hsm: cannot load module %q", t.cfg.Module)
	}
	var err error
	if t.raw, err = rawOf(t.p); err != nil {
		return err
	}
	if err := t.p.Initialize(); err != nil {
		return wrap("C_Initialize", err)
	}
	if err := t.start(pin); err != nil {
		_ = t.p.Finalize()
		return err
	}
	return nil
}

func (t *Token) start(pin []byte) error {
	slot, info, err := t.find()
	if err != nil {
		return err
	}
	t.slot, t.info = slot, info
	h, err := t.p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return wrap("C_OpenSession", err)
	}
	if err := t.raw.login(h, pkcs11.CKU_USER, pin); err != nil {
		if classIn(err) == ClassOperator {
			return errors.Join(ErrWrongPIN, err)
		}
		return err
	}
	t.login = h
	t.metrics.sessions.Inc()
	return nil
}

// find looks for the one token with the label (and serial, when given).
func (t *Token) find() (slot uint, is Info, err error) {
	slots, err := t.p.GetSlotList(true)
	if err != nil {
		return 0, Info{}, wrap("C_GetSlotList", err)
	}
	found := 0
	for _, s := range slots {
		info, err := t.p.GetTokenInfo(s)
		if err != nil {
			return 0, Info{}, wrap("C_GetTokenInfo", err)
		}
		if info.Label != t.cfg.TokenLabel || t.cfg.TokenSerial != "" && info.SerialNumber != t.cfg.TokenSerial {
			continue
		}
		slot, is = s, infoOf(info)
		found++
	}
	if found != 1 {
		return 0, Info{}, &TokenError{Label: t.cfg.TokenLabel, Serial: t.cfg.TokenSerial, Found: found, Slots: len(slots)}
	}
	library, err := t.p.GetInfo()
	if err != nil {
		return 0, Info{}, wrap("C_GetInfo", err)
	}
	is.Library, is.LibraryMaker = library.LibraryDescription, library.ManufacturerID
	return slot, is, nil
}

// Label returns the token's label.
func (t *Token) Label() string { return t.cfg.TokenLabel }

// Serial returns the token's serial number as the token tells it.
func (t *Token) Serial() string { return t.info.Serial }

// Info returns what the token and its library say of themselves.
func (t *Token) Info() Info { return t.info }

// Broken closes when the token can only be used again by a new process.
func (t *Token) Broken() <-chan struct{} { return t.broken }

// Close lets running calls end, then closes every session, which ends the
// login, and finalizes the module. With a stuck call it leaves the module
// alone, for C_Finalize beside a running call crashes the process, and returns
// ErrStuck; it takes no longer than Config.CallTimeout, and may be called again.
// Later calls of other methods are ErrClosed.
func (t *Token) Close() error {
	t.mu.Lock()
	t.closeOnce.Do(func() { close(t.closed) })
	t.mu.Unlock()
	t.calls.Wait() // each ends, or is stuck, within CallTimeout
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stuck > 0 {
		return ErrStuck
	}
	if t.finalized {
		return nil
	}
	t.finalized = true
	for _, w := range t.idle {
		w.end()
	}
	t.idle = nil
	_ = t.p.CloseSession(t.login)
	t.metrics.sessions.Dec()
	return wrap("C_Finalize", t.p.Finalize())
}

// change runs f as do does, behind the lock for what makes or destroys
// objects. The lock stays with the call when its caller leaves. After a passing
// fault f runs once more: SoftHSM2 gives one, rarely, while others look for
// objects. So f must look first for what it is to make.
func (t *Token) change(ctx context.Context, call string, f func(*session) error) error {
	if err := t.hold(ctx); err != nil {
		return err
	}
	return t.doThen(ctx, call, f, func() {
		t.held.Store(false)
		<-t.objects
	}, isPassing)
}

// hold takes the lock. Who waits for a stuck call as long as any may take would wait for
// ever, and nobody else makes or destroys an object any more: that takes a new process,
// however few calls are stuck.
func (t *Token) hold(ctx context.Context) error {
	select {
	case t.objects <- struct{}{}:
		return nil
	default:
	}
	long := time.NewTicker(t.cfg.CallTimeout)
	defer long.Stop()
	for {
		select {
		case t.objects <- struct{}{}:
			return nil
		case <-long.C:
			if t.held.Load() {
				t.breakDown("a call that makes or destroys objects is stuck, and others wait for it")
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-t.broken:
			return ErrBroken
		case <-t.closed:
			return ErrClosed
		}
	}
}

// Canary proves that the login and a key of the token work: it signs a random
// message with the Ed25519 key id, and SignEd25519 verifies.
func (t *Token) Canary(ctx context.Context, id string) error {
	msg := make([]byte, 32)
	if _, err := rand.Read(msg); err != nil {
		return err
	}
	if _, err := t.SignEd25519(ctx, id, msg); err != nil {
		return fmt.Errorf("hsm: canary %q: %w", id, err)
	}
	return nil
}
