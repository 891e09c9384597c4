package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// written is written.json of the work directory: which files with secrets this
// ceremony's runs wrote. Those of a run that died open nothing, and the next one writes
// over them. Any other file of such a name is somebody's share of another appliance, or
// his own key, of which there may be no second.
type written struct {
	Format int             `json:"format"`
	Files  []policy.Digest `json:"files"` // of their texts
}

// secretFile is one that its owner alone may read.
type secretFile struct {
	name string
	text []byte
}

// writeSecrets writes files into the directory that the flag names, and over nothing
// but what a run of this ceremony left there.
func (f *founding) writeSecrets(flag, dir string, files []secretFile) error {
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return err
	}
	ours := written{Format: 1}
	if err := readStored(f.plan.Work, workWritten, &ours); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, s := range files {
		path := filepath.Join(dir, s.name)
		text, err := readBounded(path, maxPEM)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !slices.Contains(ours.Files, policy.DigestOf(text)) {
			return refused("%s is there and is not of this ceremony, so it is not written over; take it away, or name another directory with %s", path, flag)
		}
	}
	for _, s := range files {
		ours.Files = append(ours.Files, policy.DigestOf(s.text))
	}
	if err := replace(f.plan.Work, workWritten, ours); err != nil {
		return err
	}
	for _, s := range files {
		if err := writeWhole(filepath.Join(dir, s.name), s.text, 0o600, nil); err != nil {
			return err
		}
	}
	return nil
}
