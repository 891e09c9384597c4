package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// maxOfAName bounds how many objects of one name are looked at. A crash in the
// middle of a replacement leaves one too many; so many mean that something else
// is writing.
const maxOfAName = 64

// ReplaceObject makes value the one that stands under name, whatever stood there:
// it creates the new object, reads it back, then destroys those that it had found
// before. A crash between leaves both, which Objects shows and the next
// replacement ends; at no moment is there none. Of two processes that replace at
// the same time both objects stay. That the same bytes stand there already, alone,
// is nothing to do.
func (t *Token) ReplaceObject(ctx context.Context, name string, value []byte) error {
	if err := checkID(name); err != nil {
		return err
	}
	if err := checkValue(name, value); err != nil {
		return err
	}
	value = bytes.Clone(value)
	return t.change(ctx, "replace_object", func(s *session) error {
		old, err := t.findAll(s, maxOfAName, objectTemplate(name)...)
		if err != nil {
			return fmt.Errorf("object %q: %w", name, err)
		}
		if len(old) == 0 {
			if err := t.seesPrivate(s); err != nil {
				return err
			}
		}
		if len(old) == 1 {
			if have, err := t.readHandle(s, old[0], name); err == nil && bytes.Equal(have, value) {
				return nil
			}
		}
		// Also when one of several holds the bytes: which of them another process
		// is about to destroy cannot be known.
		if err := t.createObject(s, name, value); err != nil {
			return err
		}
		return t.destroyAll(s, old)
	})
}

// ExchangeObject makes value stand under name in place of the objects whose values
// are given as old: it creates the new one, reads it back, then destroys those.
// Whatever else stands under the name stays, and so does the rest of what
// ReplaceObject promises. Where value stands already it is not made again; without
// old nothing is destroyed.
func (t *Token) ExchangeObject(ctx context.Context, name string, value []byte, old ...[]byte) error {
	if err := checkID(name); err != nil {
		return err
	}
	if err := checkValue(name, value); err != nil {
		return err
	}
	value = bytes.Clone(value)
	gone := make(map[string]bool, len(old))
	for _, o := range old {
		gone[string(o)] = !bytes.Equal(o, value)
	}
	return t.change(ctx, "exchange_object", func(s *session) error {
		before, err := t.standing(s, name)
		if err == nil && len(before) == 0 {
			err = t.seesPrivate(s)
		}
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(before, func(o object) bool { return bytes.Equal(o.value, value) }) {
			if err := t.createObject(s, name, value); err != nil {
				return err
			}
		}
		if len(gone) == 0 {
			return nil
		}
		return t.destroyHolding(s, name, gone)
	})
}

// AddObject makes an object of the name beside those that stand, and returns the values
// of all that stand behind it, its own read back among them.
func (t *Token) AddObject(ctx context.Context, name string, value []byte) ([][]byte, error) {
	if err := checkID(name); err != nil {
		return nil, err
	}
	if err := checkValue(name, value); err != nil {
		return nil, err
	}
	value = bytes.Clone(value)
	made := false
	var all [][]byte // whoever gave up leaves it to the call, which may still be under way
	err := t.change(ctx, "add_object", func(s *session) error {
		if !made { // asked again, in another session, it looks again
			if _, err := t.store(s, name, value); err != nil {
				return err
			}
			made = true
		}
		standing, err := t.standing(s, name)
		if err != nil {
			return err
		}
		all = make([][]byte, len(standing))
		for i, o := range standing {
			all[i] = o.value
		}
		own := slices.IndexFunc(all, func(v []byte) bool { return bytes.Equal(v, value) })
		if own < 0 {
			return fmt.Errorf("%w: object %q reads back otherwise", ErrMismatch, name)
		}
		t.keepObject(name, standing[own].handle)
		t.saw(name, standing)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// RemoveObjects destroys the objects of the name that hold one of the values, and
// nothing else; that there is none is nothing to do. Where AddObject just saw them all,
// nothing is searched.
func (t *Token) RemoveObjects(ctx context.Context, name string, values ...[]byte) error {
	if err := checkID(name); err != nil {
		return err
	}
	gone := make(map[string]bool, len(values))
	for _, v := range values {
		gone[string(v)] = true
	}
	return t.change(ctx, "remove_objects", func(s *session) error {
		if doomed := t.seenHolding(s, name, gone); doomed != nil {
			return t.destroyAll(s, doomed)
		}
		return t.destroyHolding(s, name, gone)
	})
}

// saw keeps what AddObject saw for the RemoveObjects that follows it.
func (t *Token) saw(name string, standing []object) {
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	t.seen[name] = standing
}

// seenHolding is the objects of those values that AddObject saw, once: a search costs with
// every object of the token, and nobody but who was seen there is to be destroyed. What
// the handles name is read again, for a number may name another object after a reconnect.
// It is nil where it is not all of them, or not them any more.
func (t *Token) seenHolding(s *session, name string, values map[string]bool) (doomed []pkcs11.ObjectHandle) {
	t.cacheMu.Lock()
	seen := t.seen[name]
	delete(t.seen, name)
	t.cacheMu.Unlock()
	found := map[string]bool{}
	for _, o := range seen {
		if !values[string(o.value)] {
			continue
		}
		if value, err := t.readHandle(s, o.handle, name); err != nil || !bytes.Equal(value, o.value) {
			return nil // the search says why
		}
		found[string(o.value)] = true
		doomed = append(doomed, o.handle)
	}
	if len(found) < len(values) {
		return nil
	}
	return doomed
}

// destroyHolding destroys the objects of the name whose values are in gone.
func (t *Token) destroyHolding(s *session, name string, gone map[string]bool) error {
	all, err := t.standing(s, name)
	if err == nil && len(all) == 0 {
		err = t.seesPrivate(s)
	}
	if err != nil {
		return err
	}
	var doomed []pkcs11.ObjectHandle
	for _, o := range all {
		if gone[string(o.value)] {
			doomed = append(doomed, o.handle)
		}
	}
	return t.destroyAll(s, doomed)
}

// object is one that stands under a name.
type object struct {
	handle pkcs11.ObjectHandle
	value  []byte
}

// standing reads all objects of the name; one that another process destroys meanwhile
// is left out.
func (t *Token) standing(s *session, name string) ([]object, error) {
	all, err := t.findAll(s, maxOfAName, objectTemplate(name)...)
	if err != nil {
		return nil, fmt.Errorf("object %q: %w", name, err)
	}
	out := make([]object, 0, len(all))
	for _, h := range all {
		value, err := t.readHandle(s, h, name)
		if classIn(err) == ClassHandle {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("object %q: %w", name, err)
		}
		out = append(out, object{h, value})
	}
	return out, nil
}

// SameObject reports whether value, and no other object that a search finds,
// stands under name. Like Object it costs one call while the object is the one that
// was read last.
func (t *Token) SameObject(ctx context.Context, name string, value []byte) (bool, error) {
	have, err := t.Object(ctx, name)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrSeveral) {
		return false, nil
	}
	return err == nil && bytes.Equal(have, value), err
}

// Objects returns the values of all data objects of the name, in no order, or
// ErrNotFound. It always searches, so it costs with what the token holds.
func (t *Token) Objects(ctx context.Context, name string) ([][]byte, error) {
	if err := checkID(name); err != nil {
		return nil, err
	}
	var values [][]byte
	err := t.look(ctx, "get_objects", func(s *session) error {
		all, err := t.findAll(s, maxOfAName, objectTemplate(name)...)
		if err == nil && len(all) == 0 {
			err = t.nothing(s)
		}
		if err != nil {
			return fmt.Errorf("object %q: %w", name, err)
		}
		found := make([][]byte, 0, len(all))
		for _, h := range all {
			value, err := t.readHandle(s, h, name)
			if err != nil {
				return fmt.Errorf("object %q: %w", name, err)
			}
			found = append(found, value)
		}
		values = found
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// findAll is find of a session of the pool.
func (t *Token) findAll(s *session, most int, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	return find(t.p, s.h, most, template...)
}

// find finds the objects that the template matches; more than most are refused.
func find(p *pkcs11.Ctx, h pkcs11.SessionHandle, most int, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := p.FindObjectsInit(h, template); err != nil {
		return nil, wrap("C_FindObjectsInit", err)
	}
	var all []pkcs11.ObjectHandle
	for len(all) <= most {
		found, _, err := p.FindObjects(h, most+1-len(all))
		if err != nil {
			return nil, wrap("C_FindObjects", err)
		}
		if len(found) == 0 {
			break
		}
		all = append(all, found...)
	}
	if err := p.FindObjectsFinal(h); err != nil {
		return nil, wrap("C_FindObjectsFinal", err)
	}
	if len(all) > most {
		return nil, clean(fmt.Errorf("%w: %w: more than %d", ErrMismatch, ErrSeveral, most))
	}
	return all, nil
}
