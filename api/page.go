package api

import "time"

// defaultLimit is how many items a page holds where the caller does not say.
const defaultLimit = 50

// page is limit and offset, or their defaults. The document's bounds hold
// already.
func page(limit, offset *int) (int, int) {
	l, o := defaultLimit, 0
	if limit != nil {
		l = *limit
	}
	if offset != nil {
		o = *offset
	}
	return l, o
}

// forms shows each of a page's items.
func forms[T, M any](items []T, form func(T) M) []M {
	out := make([]M, 0, len(items))
	for _, it := range items {
		out = append(out, form(it))
	}
	return out
}

// tried is form for those that can fail.
func tried[T, M any](items []T, form func(T) (M, error)) ([]M, error) {
	out := make([]M, 0, len(items))
	for _, it := range items {
		m, err := form(it)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// sure makes a form that cannot fail fit where one that can is asked for.
func sure[T, M any](form func(T) M) func(T) (M, error) {
	return func(v T) (M, error) { return form(v), nil }
}

// of is what p points to, or the zero value.
func of[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// maybe is nil for a zero value: null, or absent, in the document.
func maybe[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// second is how times are shown: UTC, whole seconds.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// text is a value's text, or nil for none.
func text[T interface {
	comparable
	String() string
}](v *T) *string {
	if v == nil {
		return nil
	}
	s := (*v).String()
	return &s
}
