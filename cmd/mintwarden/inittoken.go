package main

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/awnumar/memguard"
	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/hsm"
)

// tokenJob is the word by which this program starts itself once more to
// touch the token: the vendor's library stays out of the process that holds
// shares, and what it makes belongs to the seal's user, not to root.
const tokenJob = "token-job"

// tokenTask is what the child is asked. Both PINs follow it, raw, where it makes
// the token.
type tokenTask struct {
	Module string `json:"module"`
	Label  string `json:"label"`
	User   int    `json:"user"` // bytes of the user PIN; 0: only look
	SO     int    `json:"so"`
}

// tokenFound is what the child answers.
type tokenFound struct {
	Found   bool   `json:"found"`
	Serial  string `json:"serial"`
	UserPIN bool   `json:"userPin"` // it is set: the token is whole
	Error   string `json:"error,omitzero"`
}

// findToken looks for a token with the seal's label.
func (f *founding) findToken(ctx context.Context) (*tokenFound, error) {
	return f.tokenJob(ctx, tokenTask{Module: f.seal.HSM.Module, Label: f.seal.HSM.Token}, nil)
}

// makeToken initializes the token, unless a run before this one did. What is
// there now is ours: before there was custody, there was no token of the label.
func (f *founding) makeToken(ctx context.Context) error {
	there, err := f.findToken(ctx)
	if err != nil {
		return err
	}
	if there.Found && there.UserPIN {
		return nil
	}
	if err := f.openPINs(ctx); err != nil {
		return err
	}
	user, so := f.pins.user.Bytes(), f.pins.so.Bytes()
	made, err := f.tokenJob(ctx, tokenTask{Module: f.seal.HSM.Module, Label: f.seal.HSM.Token, User: len(user), SO: len(so)}, f.pins)
	if err != nil {
		return err
	}
	f.c.say("Token %s is initialized, serial %s.", f.seal.HSM.Token, made.Serial)
	return nil
}

// tokenJob runs the child, as the user to whom the seal's state belongs.
func (f *founding) tokenJob(ctx context.Context, task tokenTask, pins *tokenPINs) (*tokenFound, error) {
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	in := []io.Reader{bytes.NewReader(append(text, '\n'))}
	if pins != nil {
		in = append(in, bytes.NewReader(pins.user.Bytes()), bytes.NewReader(pins.so.Bytes()))
	}
	// This very program, also where that user cannot reach its path.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", tokenJob)
	cmd.Args[0] = "mintwarden"
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.MultiReader(in...), &out, &said
	if cmd.SysProcAttr, err = asOwnerOf(f.seal.State); err != nil {
		return nil, err
	}
	ended := cmd.Run()
	var found tokenFound
	if err := json.Unmarshal(bytes.TrimSpace(out.Bytes()), &found, json.RejectUnknownMembers(true)); err != nil {
		return nil, refused("the library of the token ended oddly (%v): %s", ended, strings.TrimSpace(said.String()))
	}
	if found.Error != "" {
		return nil, refused("token %s: %s", f.seal.HSM.Token, found.Error)
	}
	return &found, nil
}

// asOwnerOf is how root starts a child as the owner of a directory; for others
// there is nothing to change.
func asOwnerOf(dir string) (*syscall.SysProcAttr, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("the seal's state directory: %w", err)
	}
	of := ownerOf(info)
	switch {
	case of == nil || os.Geteuid() == of.uid:
		return nil, nil
	case os.Geteuid() != 0:
		return nil, usagef("%s belongs to user %d; run this as that user or as root", dir, of.uid)
	}
	credential := &syscall.Credential{Uid: uint32(of.uid), Gid: uint32(of.gid)}
	if u, err := user.LookupId(strconv.Itoa(of.uid)); err == nil {
		groups, err := u.GroupIds() // a token may be for members of its own group
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			if id, err := strconv.ParseUint(g, 10, 32); err == nil {
				credential.Groups = append(credential.Groups, uint32(id))
			}
		}
	}
	return &syscall.SysProcAttr{Credential: credential}, nil
}

// tokenJobCommand is the child.
func (c *cli) tokenJobCommand() *cobra.Command {
	cmd := &cobra.Command{Use: tokenJob, Hidden: true, Args: none}
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		task, err := c.readTokenTask()
		if err != nil {
			return err
		}
		found, err := c.doTokenTask(ctx, task)
		if err != nil {
			found = &tokenFound{Error: err.Error()}
		}
		return c.lineJSON(found)
	})
}

// readTokenTask reads one line and not a byte more: nothing of what follows may
// land in a buffer of ours.
func (c *cli) readTokenTask() (*tokenTask, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < maxTyped {
		if _, err := io.ReadFull(c.in, one); err != nil || one[0] == '\n' {
			break
		}
		line = append(line, one[0])
	}
	var task tokenTask
	if err := json.Unmarshal(line, &task, json.RejectUnknownMembers(true)); err != nil {
		return nil, usage(errors.New("this is for mintwarden itself; use 'mintwarden init'"))
	}
	return &task, nil
}

func (c *cli) doTokenTask(ctx context.Context, task *tokenTask) (*tokenFound, error) {
	if task.User == 0 {
		return lookForToken(ctx, task)
	}
	pin, err := memguard.NewBufferFromReader(c.in, task.User)
	if err != nil {
		return nil, errors.New("user PIN not received")
	}
	defer pin.Destroy()
	so, err := memguard.NewBufferFromReader(c.in, task.SO)
	if err != nil {
		return nil, errors.New("security officer's PIN not received")
	}
	defer so.Destroy()
	serial, err := hsm.InitToken(ctx, task.Module, task.Label, so.Bytes(), pin.Bytes(), quiet())
	return &tokenFound{Found: true, Serial: serial, UserPIN: true}, err
}

func lookForToken(ctx context.Context, task *tokenTask) (*tokenFound, error) {
	serial, userPIN, found, err := hsm.FindToken(ctx, task.Module, task.Label)
	return &tokenFound{Found: found, Serial: serial, UserPIN: userPIN}, err
}
