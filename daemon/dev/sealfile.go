package dev

import (
	"fmt"

	"github.com/pelletier/go-toml/v2"

	"github.com/mintwarden/mintwarden/policy"
)

// sealFile is the seal's own configuration, seal.toml, as this appliance
// writes it.
type sealFile struct {
	Appliance  string        `toml:"appliance"`
	Charter1   policy.Digest `toml:"charter1,omitempty"` // absent until charter 1 is made
	State      string        `toml:"state"`
	Socket     string        `toml:"socket"`
	ParentPipe bool          `toml:"parent_pipe"`
	Log        sealLog       `toml:"log"`
	HSM        sealHSM       `toml:"hsm"`
	PIN        sealPIN       `toml:"pin"`
	Sandbox    sealSandbox   `toml:"sandbox,omitempty"`
	Store      sealStore     `toml:"store"`
}

type sealLog struct {
	Level string `toml:"level"`
}

type sealHSM struct {
	Module   string `toml:"module"`
	Token    string `toml:"token"`
	Sessions int    `toml:"sessions"`
}

type sealPIN struct {
	File string `toml:"file"`
}

type sealSandbox struct {
	Read  []string `toml:"read,omitempty"`
	Write []string `toml:"write,omitempty"`
}

type sealStore struct {
	Endpoints  []string `toml:"endpoints"`
	CA         string   `toml:"ca"`
	Cert       string   `toml:"cert"`
	Key        string   `toml:"key"`
	ServerName string   `toml:"server_name"`
}

func (d *directory) writeSealConfig(f sealFile) error {
	text, err := toml.Marshal(f)
	if err != nil {
		return fmt.Errorf("dev: seal.toml: %w", err)
	}
	return d.write(text, "config", "seal.toml")
}
