package systemd_test

import (
	"encoding/json/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody builds the second package where the test runs as root.
const nobody = 65534

// checkout is a place in which somebody runs “make deb”.
type checkout struct {
	dir string
	env []string
	uid uint32 // 0: who runs the test
}

// TestTwoCheckoutsMakeOnePackage: whoever has the commit gets the bytes that were published. One is a whole clone, built
// as the machine is; the other a shallow one in a directory of another length, by another user with caches, home,
// umask, time zone and language of its own, from nothing. What is compared is the last commit.
func TestTwoCheckoutsMakeOnePackage(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") != "1" {
		t.Skip("builds everything from nothing: make test-long")
	}
	dir, err := os.MkdirTemp("", "two-") // not the test's own, which nobody else may enter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, removeAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))

	one := checkout{dir: filepath.Join(dir, "a"), env: os.Environ()}
	run(t, exec.Command("git", "clone", "--quiet", "file://"+root(t), one.dir))

	home := filepath.Join(dir, "home-of-somebody-else")
	two := checkout{dir: filepath.Join(home, "src", "another", "checkout"), env: []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOPATH=" + filepath.Join(home, "go"), "GOCACHE=" + filepath.Join(home, "cache"),
		"TZ=Pacific/Kiritimati", "LC_ALL=C.UTF-8", "LANG=de_DE.UTF-8",
	}}
	settings := goEnv(t, "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOMODCACHE")
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		two.env = append(two.env, name+"="+settings[name])
	}
	require.NoError(t, os.MkdirAll(filepath.Join(home, "go", "pkg"), 0o755))
	run(t, exec.Command("git", "clone", "--quiet", "--depth=1", "file://"+root(t), two.dir))
	// Modules as they were fetched, verified by go.sum: the second need not fetch them again.
	run(t, exec.Command("cp", "-al", settings["GOMODCACHE"], filepath.Join(home, "go", "pkg", "mod")))
	if os.Geteuid() == 0 {
		two.uid = nobody
		run(t, exec.Command("chown", "-R", "65534:65534", filepath.Join(home, "src")))
		for _, d := range []string{home, filepath.Join(home, "go"), filepath.Join(home, "go", "pkg")} {
			require.NoError(t, os.Chown(d, nobody, nobody))
		}
	}

	deb, list := one.make(t, "022")
	otherDeb, otherList := two.make(t, "077")
	require.Equal(t, filepath.Base(deb), filepath.Base(otherDeb), "the version is the commit's")
	require.Equal(t, read(t, list), read(t, otherList))
	if read(t, deb) != read(t, otherDeb) {
		t.Fatalf("two checkouts of one commit made two packages; what differs:\n%s", differences(t, deb, otherDeb))
	}
}

// make runs “make deb” with a umask and returns package and SBOM.
func (c checkout) make(t *testing.T, umask string) (deb, sbom string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "umask "+umask+" && exec make deb")
	cmd.Dir, cmd.Env = c.dir, c.env
	if c.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
	}
	run(t, cmd)
	for pattern, found := range map[string]*string{"*.deb": &deb, "*.cdx.json": &sbom} {
		all, err := filepath.Glob(filepath.Join(c.dir, "bin", "mintwarden_"+pattern))
		require.NoError(t, err)
		require.Len(t, all, 1)
		*found = all[0]
	}
	return deb, sbom
}

// differences names the files that two packages do not have alike.
func differences(t *testing.T, one, two string) string {
	t.Helper()
	var trees [2]string
	for i, deb := range []string{one, two} {
		trees[i] = filepath.Join(t.TempDir(), "tree")
		run(t, exec.Command("dpkg-deb", "--raw-extract", deb, trees[i]))
	}
	out, err := exec.Command("diff", "--recursive", "--brief", trees[0], trees[1]).CombinedOutput()
	if err == nil {
		return "none of the files: how they are packed"
	}
	return string(out)
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	return dir
}

func goEnv(t *testing.T, names ...string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"env", "-json"}, names...)...).Output()
	require.NoError(t, err)
	var settings map[string]string
	require.NoError(t, json.Unmarshal(out, &settings))
	return settings
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", strings.Join(cmd.Args, " "), out)
}

// removeAll removes module caches too, whose directories are read-only.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
