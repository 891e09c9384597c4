package policy

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestShapes holds ids and names to the expressions that say what they are.
func TestShapes(t *testing.T) {
	id := regexp.MustCompile(`^op_[0-9A-HJKMNP-TV-Z]{26}$`)
	name := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)
	template := regexp.MustCompile(`^tpl_[a-z0-9]+(_[a-z0-9]+)*$`)
	templates := rapid.OneOf(rapid.StringMatching(`tpl[_a-z0-9]{0,12}`), rapid.StringMatching(`tpl(_[a-z0-9]{1,3}){1,20}`), rapid.StringMatching(`tpl_[a-z]{0,2}[^a-z]{1,2}[a-z]{0,2}`), rapid.String())
	ids := rapid.OneOf(rapid.StringMatching(`op_[0-9A-Z]{25,27}`), rapid.StringMatching(`(op|wallet|o|)_?[0-9A-HJKMNP-TV-Z]{26}`),
		rapid.StringMatching(`op_[0-9A-HJKMNP-TV-Z]{25}[^A-Z]`), rapid.String())
	names := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._@-]{0,66}`), rapid.StringMatching(`[a-z]{1,5}[^A-Za-z]{1,2}[a-z]{0,3}`), rapid.String())
	rapid.Check(t, func(r *rapid.T) {
		s := ids.Draw(r, "id")
		require.Equal(r, id.MatchString(s), CheckID("op", s) == nil, "%q", s)
		n := names.Draw(r, "name")
		require.Equal(r, name.MatchString(n), CheckName(n) == nil, "%q", n)
		kind := templates.Draw(r, "template")
		require.Equal(r, len(kind) <= 64 && template.MatchString(kind), isTemplate(kind), "%q", kind)
		text := rapid.String().Draw(r, "text")
		if isPlain(text) {
			require.Regexp(r, `^[ -~]*$`, text)
			require.NoError(r, CheckText(text, len(text)))
		}
	})
	require.Error(t, CheckID("", "_00000000000000000000000001"))
	require.Error(t, CheckID("Op", "Op_00000000000000000000000001"))
}
