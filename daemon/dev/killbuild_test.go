package dev_test

import (
	"bufio"
	"cmp"
	"encoding/json/v2"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pointLine is a gofail point in the programs' source: a comment, which does
// nothing in any other build.
var pointLine = regexp.MustCompile(`(?m)^([ \t]*)// gofail: var (\w+) struct\{\}$`)

var packageLine = regexp.MustCompile(`(?m)^package (\w+)$`)

// moduleRoot is the directory of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// sourcesWithPoints are the files that hold points, by path.
func sourcesWithPoints(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, tree := range []string{"api", "chain", "cmd", "daemon", "hsm", "policy"} {
		err := filepath.WalkDir(filepath.Join(root, tree), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err == nil && pointLine.Match(text) {
				found[path] = string(text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// pointsIn are the names of all points, sorted.
func pointsIn(t *testing.T) (names []string) {
	t.Helper()
	for _, text := range sourcesWithPoints(t, moduleRoot(t)) {
		for _, m := range pointLine.FindAllStringSubmatch(text, -1) {
			names = append(names, m[2])
		}
	}
	slices.Sort(names)
	return names
}

// killed is that build, for all of a run's tests: they arm one directory, so that no two of them run side by side.
var killed struct {
	sync.Once
	dir    string
	p      program
	points string
}

// killable is the programs with their points alive, none of them armed.
func killable(t *testing.T) (p program, points string) {
	t.Helper()
	killed.Do(func() {
		dir, err := os.MkdirTemp("", "mintwarden-killable-")
		if err != nil {
			t.Fatal(err)
		}
		killed.dir = dir
		killed.p, killed.points = buildKillable(t, dir)
	})
	if killed.p.bin == "" {
		t.Fatal("the programs with points were not built")
	}
	emptied(t, killed.points)
	return killed.p, killed.points
}

// buildKillable builds them in dir. The sources with points
// are copied, gofail turns the copies' comments into code, and the compiler
// takes them in place of the originals, which nobody touches. In points each
// process that runs has a socket, to be armed by.
func buildKillable(t *testing.T, dir string) (p program, points string) {
	t.Helper()
	root := moduleRoot(t)
	overlay := map[string]string{
		filepath.Join(root, "daemon/dev/killpoint/killpoint.go"): filepath.Join(root, "daemon/dev/testdata/killpoint/killpoint.go"),
	}
	write := func(text string, path ...string) string {
		name := filepath.Join(path...)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	copies := map[string]string{} // of which directory
	for path, text := range sourcesWithPoints(t, root) {
		pkg := packageLine.FindStringSubmatch(text)[1]
		at := filepath.Join(dir, pkg) // gofail takes the package's name from the directory's
		copies[at] = filepath.Dir(path)
		write(pointLine.ReplaceAllString(text, "$0\n$1// here(\"$2\")"), at, filepath.Base(path))
		overlay[filepath.Join(filepath.Dir(path), "here.fail.go")] = write("package "+pkg+
			"\n\nimport \"github.com/mintwarden/mintwarden/daemon/dev/killpoint\"\n\nvar here = killpoint.Here\n", dir, pkg+"-here.go")
	}
	args := []string{"tool", "gofail", "enable"}
	for at := range copies {
		args = append(args, at)
	}
	goRun(t, root, args...)
	for at, original := range copies {
		files, err := os.ReadDir(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			overlay[filepath.Join(original, f.Name())] = filepath.Join(at, f.Name())
		}
	}
	points = filepath.Join(dir, "points")
	overlay[filepath.Join(root, "daemon/dev/sealfile.go")] = write(sealFileThatLets(t, root, points), dir, "sealfile.go")
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	emptied(t, points)
	goRun(t, root, "build", "-overlay", write(string(text), dir, "overlay.json"), "-o", filepath.Join(dir, "bin")+"/",
		"-ldflags", "-X github.com/mintwarden/mintwarden/daemon/dev/killpoint.dir="+points, "./cmd/mintwardend", "./cmd/mintwarden-seal")
	return program{bin: filepath.Join(dir, "bin"), period: 100 * time.Millisecond}, points
}

// sealFileThatLets is dev's seal.toml with one word more: the seal's processes,
// which shut themselves in, may have their sockets in points.
func sealFileThatLets(t *testing.T, root, points string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "daemon/dev/sealfile.go"))
	if err != nil {
		t.Fatal(err)
	}
	const writes = `return d.write(text, `
	if strings.Count(string(text), writes) != 1 {
		t.Fatalf("sealfile.go does not say %q", writes)
	}
	return strings.Replace(string(text), writes, fmt.Sprintf("return d.write(append(text, %q...), ", "\n[sandbox]\nwrite = ['"+points+"']\n"), 1)
}

func goRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args[:min(2, len(args))], " "), err, out)
	}
}

// arm has whatever process gets to the point die there, of those with sockets
// in dir; killed is called at that moment.
func (a *appliance) arm(dir string, p killPoint, killed func()) {
	a.t.Helper()
	sockets, err := os.ReadDir(dir)
	if err != nil {
		a.t.Fatal(err)
	}
	terms := "return"
	if p.pass > 0 {
		terms = fmt.Sprintf("%d*off->return", p.pass)
	}
	armed := 0
	for _, s := range sockets {
		c, err := net.Dial("unix", filepath.Join(dir, s.Name()))
		var lines *bufio.Scanner
		if err == nil {
			a.t.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = fmt.Fprintf(c, "%s %s\n", p.name, terms)
			if lines = bufio.NewScanner(c); err == nil && !lines.Scan() {
				err = cmp.Or(lines.Err(), io.EOF)
			}
		}
		if err != nil {
			if ends(s.Name()) {
				continue // a helper whose work was done meanwhile, or one that dies with who got to the point already
			}
			a.t.Fatalf("process %s does not answer: %v", s.Name(), err)
		}
		if lines.Text() != "armed" {
			continue // the point is in another program
		}
		armed++
		_ = c.SetDeadline(time.Time{}) // the end of the test closes it
		go func() {
			if lines.Scan() && lines.Text() == "killed at "+p.name {
				killed()
			}
		}()
	}
	if armed == 0 {
		a.t.Fatalf("no process knows the point %s", p.name)
	}
}

// ends is true of a process that has ended, or is about to: a dying one lets go of its sockets first.
func ends(pid string) bool {
	for deadline := time.Now().Add(patience); !ended(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// ended is true of a process that is gone, or a zombie.
func ended(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

// strike kills what still lives, without waiting for its end.
func (a *appliance) strike() { _ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL) }

// emptied is dir with nothing in it.
func emptied(t *testing.T, dir string) string {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
