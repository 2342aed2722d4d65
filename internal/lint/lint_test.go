package lint_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/carekeep/carekeep"

// never says who must not import whom: nothing below the first path may import anything below the others.
var never = []struct {
	from   string
	to     []string
	except []string
	only   bool // the package itself, not those below it
}{
	// Deciders are pure and know nothing of the packages that carry their decisions out.
	{from: "rotation", to: []string{"backup", "residency", "verify", "continuity", "internal"}, except: []string{"internal/civil", "internal/strictjson"}},
	// The router couples to backup through *blob.Bucket alone, and the other way round.
	{from: "residency", to: []string{"backup", "verify", "continuity", "rotation"}},
	// Its rules decide and do no I/O; the router, the probes and the evidence do.
	{from: "residency", only: true, to: []string{"residency/router", "residency/probe", "residency/evidence", "residency/register"}},
	// A probe asks, and neither routes nor records.
	{from: "residency/probe", to: []string{"residency/router", "residency/evidence", "residency/register", "internal"}},
	{from: "backup", to: []string{"residency", "verify", "continuity", "examples"}},
	{from: "verify", to: []string{"continuity", "examples"}},
	{from: "continuity", to: []string{"examples"}},
	{from: "internal", to: []string{"examples"}},
	// The machinery does not know its public faces.
	{from: "internal/engine", to: []string{"backup", "rotation", "residency", "verify", "continuity"}},
	// The layers below the engine, bottom up.
	{from: "internal/format", to: []string{"internal"}},
	{from: "internal/seal", to: []string{"internal"}},
	{from: "internal/chunk", to: []string{"internal"}},
	{from: "internal/compress", to: []string{"internal"}},
	{from: "internal/store", to: []string{"internal"}},
	{from: "internal/observe", to: []string{"internal"}},
	{from: "internal/tree", to: []string{"internal"}, except: []string{"internal/format"}},
	// The independent reader is made from the format's page alone.
	{from: "internal/refreader", to: []string{"backup", "internal", "rotation", "residency", "verify", "continuity"}},
	// The command shows how the public packages are used.
	{from: "examples/carekeep", to: []string{"internal"}},
	{from: "examples/quickstart", to: []string{"internal"}},
}

// providers are the drivers and clients of providers, by the probe that may carry them. Otherwise they are imported by
// examples, benchmarks, test servers and tests only: the vendor picks.
var providers = map[string][]string{
	"residency/probe/s3probe":    {"gocloud.dev/blob/s3blob", "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},
	"residency/probe/gcsprobe":   {"gocloud.dev/blob/gcsblob", "cloud.google.com/go/storage"},
	"residency/probe/azureprobe": {"gocloud.dev/blob/azureblob", "github.com/Azure/azure-sdk-for-go", "github.com/AzureAD"},
}

type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) []pkg {
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,Deps", module+"/...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		all = append(all, p)
	}
	require.Greater(t, len(all), 10)
	return all
}

func root(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestWhoImportsWhom(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, rule := range never {
			if !within(from, rule.from) || rule.only && from != rule.from {
				continue
			}
			for _, imp := range p.Imports {
				to, ours := strings.CutPrefix(imp, module+"/")
				if !ours || !rule.only && within(to, rule.from) || slices.ContainsFunc(rule.except, func(dir string) bool { return within(to, dir) }) {
					continue
				}
				for _, bad := range rule.to {
					require.False(t, within(to, bad), "%s must not import %s", from, to)
				}
			}
		}
	}
}

func TestLibraryImportsNoProvider(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		if within(from, "examples") || within(from, "internal/servertest") || strings.HasPrefix(from, "internal/bench") {
			continue
		}
		for probe, clients := range providers {
			if from == probe {
				continue // but each probe has its own client alone
			}
			for _, dep := range p.Deps {
				for _, client := range clients {
					require.False(t, within(dep, client), "%s must not need %s", from, dep)
				}
			}
		}
	}
}

func TestPackagesAreNamedAndDocumented(t *testing.T) {
	for _, p := range packages(t) {
		base := p.ImportPath[strings.LastIndexByte(p.ImportPath, '/')+1:]
		require.NotContains(t, []string{"util", "utils", "common", "helpers", "types", "misc"}, base)
		require.NotEmpty(t, p.Doc, "%s has no package comment", p.ImportPath)
	}
}

// TestREADME keeps the README short, and its code the code of examples/quickstart, which is compiled.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	require.NoError(t, err)
	readme := string(b)
	lines := strings.Split(strings.TrimSpace(readme), "\n")
	require.LessOrEqual(t, len(lines), 120)
	start := -1
	for i, l := range lines {
		if strings.HasPrefix(l, "```go") {
			start = i + 1
			break
		}
	}
	require.GreaterOrEqual(t, start, 0, "no Go in the README")
	require.LessOrEqual(t, start, 25, "Go begins too late")
	_, block, _ := strings.Cut(readme, "```go\n")
	block, _, ok := strings.Cut(block, "```")
	require.True(t, ok)

	b, err = os.ReadFile(filepath.Join(root(t), "examples/quickstart/main.go"))
	require.NoError(t, err)
	_, code, ok := strings.Cut(string(b), "// begin README\n")
	require.True(t, ok)
	code, _, ok = strings.Cut(code, "\t// end README")
	require.True(t, ok)
	code = regexp.MustCompile(`(?m)^\t`).ReplaceAllString(code, "")
	require.Equal(t, code, block)
	for _, cmd := range []string{"go run ./examples/clinic", "go test ./..."} {
		require.Contains(t, readme, cmd)
	}
}
