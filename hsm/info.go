package hsm

import (
	"strings"

	"github.com/miekg/pkcs11"
)

// Info is what a token and its library say of themselves when they are opened.
// Nothing proves it.
type Info struct {
	Label, Serial string
	Manufacturer  string // of the token, "SoftHSM project"
	Model         string // "SoftHSM v2"
	Library       string // the library's description
	LibraryMaker  string
}

func infoOf(i pkcs11.TokenInfo) Info {
	return Info{Label: i.Label, Serial: i.SerialNumber, Manufacturer: i.ManufacturerID, Model: i.Model}
}

// softTokens are makers and models of tokens whose keys are files of the machine's.
// The token's own words are taken, not the library's: a client library may stand
// before a software token on another machine.
var softTokens = []struct{ maker, model string }{
	{"SoftHSM", ""},
	{"IBM", "Soft"}, // opencryptoki
	{"Mozilla", "NSS 3"},
	{"Kryoptic", ""},
}

// Software reports whether the token is known to be software: whoever has the disk
// and the PIN has its keys. That it is false proves nothing.
func (i Info) Software() bool {
	for _, s := range softTokens {
		if strings.HasPrefix(i.Manufacturer, s.maker) && (s.model == "" || i.Model == s.model) {
			return true
		}
	}
	return false
}
