package registry

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// maxBootstrap bounds bootstrap.json, in bytes.
const maxBootstrap = 64 << 10

// bootstrapMark stands in the store once the first users are in: they are taken
// once in a store's life, whatever became of them since.
const bootstrapMark = "/mw/bootstrap"

// ErrBootstrap says that bootstrap.json cannot be taken.
var ErrBootstrap = errors.New("bootstrap refused")

// FirstUsers is bootstrap.json: the users that `init` or `dev` left for the
// first start, with the hashes of their bearer keys. It holds no secret.
type FirstUsers struct {
	Format int         `json:"format"` // 1
	Users  []FirstUser `json:"users"`
}

// FirstUser is one of them.
type FirstUser struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Role       UserRole        `json:"role"`
	Credential FirstCredential `json:"credential"`
}

// FirstCredential is a first user's bearer key, as [NewBearer] made it.
type FirstCredential struct {
	ID    string `json:"id"`
	Hash  string `json:"hash"`
	Label string `json:"label"`
}

// ParseFirstUsers reads bootstrap.json strictly. Errors are [ErrBootstrap].
func ParseFirstUsers(b []byte) (*FirstUsers, error) {
	if len(b) > maxBootstrap {
		return nil, fmt.Errorf("%w: %d bytes; at most %d", ErrBootstrap, len(b), maxBootstrap)
	}
	var f FirstUsers
	if err := json.Unmarshal(b, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBootstrap, err)
	}
	if f.Format != 1 {
		return nil, fmt.Errorf("%w: format %d; 1 is known", ErrBootstrap, f.Format)
	}
	if len(f.Users) == 0 || len(f.Users) > maxBootstrapUsers {
		return nil, fmt.Errorf("%w: %d users; 1 to %d", ErrBootstrap, len(f.Users), maxBootstrapUsers)
	}
	seen := map[string]bool{}
	for _, u := range f.Users {
		if err := u.check(); err != nil {
			return nil, err
		}
		for _, unique := range []string{u.ID, u.Name, u.Credential.ID} {
			if seen[unique] {
				return nil, fmt.Errorf("%w: %s stands twice", ErrBootstrap, unique)
			}
			seen[unique] = true
		}
	}
	return &f, nil
}

// maxBootstrapUsers keeps the first users and their audit entries in one
// transaction.
const maxBootstrapUsers = 20

func (u FirstUser) check() error {
	if err := checkUserName(u.Name); err != nil {
		return fmt.Errorf("%w: user %+q: %w", ErrBootstrap, u.Name, err)
	}
	if !u.Role.Valid() {
		return fmt.Errorf("%w: user %s: there is no built-in role %+q; they are %v", ErrBootstrap, u.Name, string(u.Role), UserRoles())
	}
	if !store.ValidID(userPrefix, u.ID) {
		return fmt.Errorf("%w: user id %+q", ErrBootstrap, u.ID)
	}
	if !store.ValidID(credentialPrefix, u.Credential.ID) {
		return fmt.Errorf("%w: credential id %+q of user %s", ErrBootstrap, u.Credential.ID, u.Name)
	}
	if !policy.Digest(u.Credential.Hash).Valid() {
		return fmt.Errorf("%w: the credential's hash of user %s is not sha256: and 64 hex digits", ErrBootstrap, u.Name)
	}
	return checkText("label", u.Credential.Label, 0, maxLabel)
}

// Bootstrap takes the users of bootstrap.json, in one transaction, once: not
// when it was done before, and not while there is any user. A file that is not
// there is no error.
func (s *Service) Bootstrap(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBootstrap, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxBootstrap+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBootstrap, err)
	}
	f, err := ParseFirstUsers(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	users, err := s.store.Count(ctx, store.UserPrefix)
	if err != nil || users > 0 {
		return err
	}
	if err := s.takeFirstUsers(ctx, f); err != nil && !lostRace(err) {
		return err
	}
	return nil // a race lost: another appliance did it, or it was done before
}

func (s *Service) takeFirstUsers(ctx context.Context, f *FirstUsers) error {
	now := s.second()
	system := SystemActor()
	t := s.store.Tx()
	t.PutIfAbsent(bootstrapMark, encode(now.Format(time.RFC3339)))
	var users []*User
	var credentials []*Credential
	for _, first := range f.Users {
		u := &User{ID: first.ID, Name: first.Name, Role: first.Role, Status: UserActive, System: first.Role == Admin, CreatedBy: system.Name, CreatedAt: now, UpdatedAt: now}
		c := &Credential{ID: first.Credential.ID, UserID: u.ID, Label: first.Credential.Label, Hash: first.Credential.Hash, CreatedBy: system.Name, CreatedAt: now}
		users, credentials = append(users, u), append(credentials, c)
		t.PutIfAbsent(store.User(u.ID), encode(u))
		t.PutIfAbsent(userName(u.Name), encode(u.ID))
		t.PutIfAbsent(store.Credential(c.ID), encode(c))
		t.Audit(system.draft(happening{"user.bootstrapped", "user", u.ID, map[string]any{"name": u.Name, "role": string(u.Role), "credentialId": c.ID}}))
	}
	at, err := t.Commit(ctx)
	if err != nil {
		return err
	}
	for i, u := range users { // so that the first request is known before the watch tells of it
		s.users.wrote(store.User(u.ID), u, at)
		s.credentials.wrote(store.Credential(credentials[i].ID), credentials[i], at)
	}
	return nil
}
