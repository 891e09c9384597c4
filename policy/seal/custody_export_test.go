package seal

import (
	"testing"

	"github.com/awnumar/memguard"
)

// ShareText is a share's text after a change of its bytes, with the checksum that goes with it.
func ShareText(t testing.TB, s Share, change func(raw []byte)) []byte {
	t.Helper()
	b := memguard.NewBuffer(shareSize)
	defer b.Destroy()
	b.Copy(s.b.Bytes())
	change(b.Bytes())
	return Share{b}.Encode()
}

// ParseMadeHere reads the list's text.
var ParseMadeHere = parseMadeHere
