// Command sbom writes what Go programs are made of, as CycloneDX 1.5 JSON, to
// standard output: the modules and versions that the linker put into each
// (runtime/debug.BuildInfo). It says the same of the same files, always.
//
//	go run ./systemd/internal/sbom VERSION PROGRAM...
package main

import (
	"debug/buildinfo"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
)

type document struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Component component `json:"component"`
}

// component is a module, or a program of ours.
type component struct {
	Type    string `json:"type"` // application or library
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitzero"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom VERSION PROGRAM...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(version string, programs []string) error {
	d := document{Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{component{Type: "application", Ref: "mintwarden", Name: "mintwarden", Version: version}}}
	modules := map[string]component{}
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		d.Components = append(d.Components, component{Type: "application", Ref: name, Name: name, Version: version})
		links := []string{}
		for _, c := range linked(info) {
			modules[c.Ref] = c
			links = append(links, c.Ref)
		}
		slices.Sort(links)
		d.Dependencies = append(d.Dependencies, dependency{name, links})
	}
	for _, ref := range slices.Sorted(maps.Keys(modules)) {
		d.Components = append(d.Components, modules[ref])
	}
	out, err := json.Marshal(d, jsontext.WithIndent(" "))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(out, '\n'))
	return err
}

// linked is the standard library and the modules of a program.
func linked(info *debug.BuildInfo) []component {
	out := []component{library("stdlib", info.GoVersion)}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		out = append(out, library(m.Path, m.Version))
	}
	return out
}

func library(path, version string) component {
	ref := "pkg:golang/" + path + "@" + version
	return component{Type: "library", Ref: ref, Name: path, Version: version, PURL: ref}
}
