package systemd_test

import (
	"encoding/json/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// packaged builds the Debian package of the programs in a directory of its own,
// as “make deb” does.
func packaged(t *testing.T, version string) string {
	t.Helper()
	return packagedFrom(t, stage, version)
}

// packagedFrom is packaged of other programs.
func packagedFrom(t *testing.T, programs, version string) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is missing: packages are built on Debian")
	}
	nfpm := regexp.MustCompile(`(?m)^NFPM := (\S+)$`).FindStringSubmatch(read(t, "../Makefile"))
	require.NotNil(t, nfpm, "the Makefile pins nfpm")
	dir := filepath.Join(t.TempDir(), "stage")
	require.NoError(t, os.CopyFS(dir, os.DirFS(programs)))
	now := time.Now()
	for _, name := range []string{"mintwarden", "mintwardend", "mintwarden-seal"} {
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), now, now))
	}
	build := exec.Command("systemd/package/build.sh", nfpm[1])
	build.Dir = ".."
	build.Env = append(os.Environ(), "STAGE="+dir, "VERSION="+version, "SOURCE_DATE_EPOCH=1767225600")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return filepath.Join(filepath.Dir(dir), "mintwarden_"+version+"_amd64.deb")
}

func TestPackageIsReproducible(t *testing.T) {
	one := packaged(t, version)
	now := time.Now()
	require.NoError(t, os.Chtimes("config/seal.toml", now, now), "a checkout's times are no part of it")
	two := packaged(t, version)
	require.Equal(t, read(t, one), read(t, two))
}

// pageLink is a link of a page to another one.
var pageLink = regexp.MustCompile(`\]\(([^)#\s]*\.md)[)#]`)

func TestPackageHoldsWhatUsersExpect(t *testing.T) {
	deb := packaged(t, version)
	ask := func(args ...string) string {
		out, err := exec.Command("dpkg-deb", append(args, deb)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	info := ask("--info")
	for _, line := range []string{"Package: mintwarden\n", "Version: 1.2.3\n", "Architecture: amd64\n", "Section: admin\n", "systemd (>= 252)"} {
		require.Contains(t, info, line)
	}
	content := map[string]string{} // path to mode and owner
	for line := range strings.Lines(ask("--contents")) {
		f := strings.Fields(line)
		content[f[5]] = f[0] + " " + f[1]
		require.Equal(t, "root/root", f[1], line)
		require.Equal(t, "2026-01-01 00:00", f[3]+" "+f[4], line)
		require.NotContains(t, f[0][1:], "rw-rw", line)
	}
	for path, want := range map[string]string{
		"./usr/bin/mintwarden":                                    "-rwxr-xr-x",
		"./usr/bin/mintwardend":                                   "-rwxr-xr-x",
		"./usr/bin/mintwarden-seal":                               "-rwxr-xr-x",
		"./usr/lib/systemd/system/mintwarden.service":             "-rw-r--r--",
		"./usr/lib/systemd/system/mintwarden-seal.service":        "-rw-r--r--",
		"./usr/lib/systemd/system/mintwarden-etcd-proxy@.socket":  "-rw-r--r--",
		"./usr/lib/systemd/system/mintwarden-etcd-proxy@.service": "-rw-r--r--",
		"./usr/lib/sysusers.d/mintwarden.conf":                    "-rw-r--r--",
		"./usr/lib/tmpfiles.d/mintwarden.conf":                    "-rw-r--r--",
		"./etc/mintwarden/mintwarden.toml":                        "-rw-r--r--",
		"./etc/mintwarden/seal.toml":                              "-rw-r--r--",
		"./etc/mintwarden/credentials/seal/":                      "drwxr-xr-x",
		"./usr/share/bash-completion/completions/mintwarden":      "-rw-r--r--",
		"./usr/share/doc/mintwarden/README.md":                    "-rw-r--r--",
		"./usr/share/doc/mintwarden/network-hsm.conf.example":     "-rw-r--r--",
		"./usr/share/doc/mintwarden/sbom.cdx.json":                "-rw-r--r--",
		"./usr/share/zsh/vendor-completions/_mintwarden":          "-rw-r--r--",
		"./usr/share/man/man1/mintwarden.1.gz":                    "-rw-r--r--",
		"./usr/share/man/man1/mintwarden-token-mint.1.gz":         "-rw-r--r--",
		"./usr/share/fish/vendor_completions.d/mintwarden.fish":   "-rw-r--r--",
		"./usr/share/bash-completion/completions/mintwardend":     "-rw-r--r--",
		"./usr/share/mintwarden/prometheus-rules.yml":             "-rw-r--r--",
		"./usr/share/mintwarden/grafana-dashboard.json":           "-rw-r--r--",
		"./usr/share/doc/mintwarden/guide.md":                     "-rw-r--r--",
		"./usr/share/doc/mintwarden/metrics.md":                   "-rw-r--r--",
		"./usr/share/doc/mintwarden/installing.md":                "-rw-r--r--",
		"./usr/share/doc/mintwarden/configuration.md":             "-rw-r--r--",
		"./usr/share/doc/mintwarden/operating.md":                 "-rw-r--r--",
		"./usr/share/doc/mintwarden/chains.md":                    "-rw-r--r--",
		"./usr/share/doc/mintwarden/webhooks.md":                  "-rw-r--r--",
		"./usr/share/doc/mintwarden/receipts.md":                  "-rw-r--r--",
		"./usr/share/doc/mintwarden/qustody.md":                   "-rw-r--r--",
		"./usr/share/doc/mintwarden/copyright":                    "-rw-r--r--",
	} {
		require.Equal(t, want+" root/root", content[path], path)
	}
	for path := range content {
		if !strings.HasSuffix(path, ".md") {
			continue
		}
		page, err := exec.Command("sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -xO "$2"`, "sh", deb, path).Output()
		require.NoError(t, err, path)
		linked := pageLink.FindAllStringSubmatch(string(page), -1)
		require.True(t, len(linked) > 0 || !strings.HasSuffix(path, "/README.md"), "no link was looked at")
		for _, m := range linked {
			require.Contains(t, content, "./usr/share/doc/mintwarden/"+m[1], "%s links to %s", path, m[1])
		}
	}
	conffiles, err := exec.Command("dpkg-deb", "--info", deb, "conffiles").Output()
	require.NoError(t, err)
	require.Equal(t, []string{"/etc/mintwarden/mintwarden.toml", "/etc/mintwarden/seal.toml"}, strings.Fields(string(conffiles)))
}

// The list beside the package names the modules that are linked, per program.
func TestSBOM(t *testing.T) {
	deb := packaged(t, version)
	var list struct {
		Format       string `json:"bomFormat"`
		Dependencies []struct {
			Ref       string   `json:"ref"`
			DependsOn []string `json:"dependsOn"`
		} `json:"dependencies"`
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, strings.TrimSuffix(deb, ".deb")+".cdx.json")), &list))
	require.Equal(t, "CycloneDX", list.Format)
	linked := map[string][]string{}
	for _, d := range list.Dependencies {
		linked[d.Ref] = d.DependsOn
	}
	require.Len(t, linked, 3)
	has := func(program, module string) bool {
		return strings.Contains(strings.Join(linked[program], "\n"), "pkg:golang/"+module+"@")
	}
	require.True(t, has("mintwarden-seal", "github.com/miekg/pkcs11"))
	require.True(t, has("mintwardend", "github.com/gin-gonic/gin"))
	require.False(t, has("mintwarden-seal", "github.com/gin-gonic/gin"))
	require.True(t, has("mintwarden-seal", "stdlib"))
}
