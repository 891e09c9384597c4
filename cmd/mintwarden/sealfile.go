package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"github.com/mintwarden/mintwarden/policy"
)

// sealConfig is as much of seal.toml as a ceremony goes by; the seal itself
// holds the rest to its own rules.
type sealConfig struct {
	Appliance string        `toml:"appliance"`
	Charter1  policy.Digest `toml:"charter1"`
	State     string        `toml:"state"`
	Socket    string        `toml:"socket"`
	HSM       struct {
		Module string `toml:"module"`
		Token  string `toml:"token"`
	} `toml:"hsm"`
	PIN struct {
		File             string `toml:"file"`
		CredentialSource string `toml:"credential_source"`
	} `toml:"pin"`
}

// maxSealConfig is the seal's own bound, in bytes.
const maxSealConfig = 64 << 10

func loadSealConfig(path string) (*sealConfig, error) {
	text, err := readBounded(path, maxSealConfig)
	if err != nil {
		return nil, usagef("the seal's configuration: %w", err)
	}
	s, err := parseSealConfig(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, p := range []*string{&s.State, &s.Socket, &s.HSM.Module, &s.PIN.CredentialSource} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return s, nil
}

func parseSealConfig(text []byte) (*sealConfig, error) {
	if len(text) > maxSealConfig {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxSealConfig)
	}
	var s sealConfig
	if err := toml.Unmarshal(text, &s); err != nil {
		return nil, tomlError(err)
	}
	if err := policy.CheckName(s.Appliance); err != nil {
		return nil, fmt.Errorf("appliance: %w", err)
	}
	if s.Charter1 != "" && !s.Charter1.Valid() {
		return nil, fmt.Errorf("charter1 %q is not a digest", s.Charter1)
	}
	for _, f := range []struct{ name, value string }{{"state", s.State}, {"socket", s.Socket}, {"hsm.module", s.HSM.Module}, {"hsm.token", s.HSM.Token}} {
		if f.value == "" {
			return nil, fmt.Errorf("%s is missing", f.name)
		}
	}
	return &s, nil
}

// charterLine is where a configuration names charter 1; only a line above the
// first table can be it.
var (
	charterLine = regexp.MustCompile(`(?m)^[ \t]*charter1[ \t]*=.*$`)
	tableLine   = regexp.MustCompile(`(?m)^[ \t]*\[`)
)

// errCharterNamed says that a configuration names another charter 1.
var errCharterNamed = errors.New("another charter 1 is named")

// withCharter1 is a configuration's text with the digest of charter 1 in it, and
// nothing else changed. One that names another digest is refused.
func withCharter1(text []byte, digest policy.Digest) ([]byte, error) {
	var before map[string]any
	if err := toml.Unmarshal(text, &before); err != nil {
		return nil, tomlError(err)
	}
	switch named, _ := before["charter1"].(string); named {
	case string(digest):
		return text, nil
	case "":
	default:
		return nil, fmt.Errorf("%w: %s", errCharterNamed, named)
	}
	line := []byte(fmt.Sprintf("charter1 = %q", digest))
	head := len(text)
	if at := tableLine.FindIndex(text); at != nil {
		head = at[0]
	}
	var out []byte
	if at := charterLine.FindIndex(text[:head]); at != nil {
		out = bytes.Join([][]byte{text[:at[0]], line, text[at[1]:]}, nil)
	} else {
		out = bytes.Join([][]byte{line, text}, []byte("\n"))
	}
	var after map[string]any
	if err := toml.Unmarshal(out, &after); err != nil {
		return nil, fmt.Errorf("cannot write charter1 into it; write the line %s yourself: %w", line, err)
	}
	before["charter1"] = string(digest)
	if !reflect.DeepEqual(before, after) {
		return nil, fmt.Errorf("cannot write charter1 into it without changing something else; write the line %s yourself", line)
	}
	return out, nil
}

// nameCharter1 writes the digest into a configuration file, durably: whoever reads
// it sees the old or the new one, also after a crash. Owner and mode stay.
func nameCharter1(path string, digest policy.Digest) error {
	text, err := readBounded(path, maxSealConfig)
	if err != nil {
		return err
	}
	out, err := withCharter1(text, digest)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if bytes.Equal(out, text) {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return writeWhole(path, out, info.Mode().Perm(), ownerOf(info))
}

// owner is whose a file is; nil: whoever makes it.
type owner struct{ uid, gid int }

func ownerOf(info os.FileInfo) *owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return &owner{int(s.Uid), int(s.Gid)}
	}
	return nil
}

// replaceable refuses to have --out written over anything but what an earlier run left
// there: where a slip of the fingers points may be the very key that signs.
func replaceable[T any](path string, max int64, parse func([]byte) (T, error)) error {
	text, err := readBounded(path, max)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = parse(text)
	}
	if err != nil {
		return usagef("--out %s: something else is there, and is not written over; name another file", path)
	}
	return nil
}

// writeWhole puts a file in place in one step that survives a crash: temporary
// file, fsync, rename, fsync of the directory.
func writeWhole(path string, content []byte, mode os.FileMode, of *owner) error {
	if err := writeWholeFile(path, content, mode, of); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeWholeFile(path string, content []byte, mode os.FileMode, of *owner) (err error) {
	// A file of its own: what stands there may be what a crash left, or a link, or a file that
	// somebody else put into a directory of his, for root to write to.
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path + ".new") // half a share or a key, on a disk that is full
		}
	}()
	err = f.Chmod(mode) // whatever the umask says
	if err == nil && of != nil && os.Geteuid() == 0 {
		err = f.Chown(of.uid, of.gid)
	}
	if err == nil {
		_, err = f.Write(content)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
