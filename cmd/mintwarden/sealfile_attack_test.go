package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAttack_WhatStandsWhereRootWrites: commands of a ceremony run as root and write into directories of the services'
// users. What such a user put there first, a link to a file of root's or a file of his own that he holds open, gets
// nothing.
func TestAttack_WhatStandsWhereRootWrites(t *testing.T) {
	dir := t.TempDir()
	path, roots := filepath.Join(dir, "carol.share"), filepath.Join(t.TempDir(), "shadow")
	require.NoError(t, os.WriteFile(roots, []byte("root's"), 0o640))
	require.NoError(t, os.Symlink(roots, path+".new"))
	require.NoError(t, writeWhole(path, []byte("a share"), 0o600, nil))
	text, err := os.ReadFile(roots)
	require.NoError(t, err)
	require.Equal(t, "root's", string(text))
	info, err := os.Stat(roots)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	his, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR, 0o666)
	require.NoError(t, err)
	defer his.Close()
	require.NoError(t, writeWhole(path, []byte("another share"), 0o600, nil))
	text, err = io.ReadAll(his)
	require.NoError(t, err)
	require.Empty(t, text)

	text, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "another share", string(text))
	info, err = os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}
