package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// machine describes where the figures were measured. What the system does not tell is left out.
func machine(work string) []string {
	cpu, flags := processor()
	out := []string{fmt.Sprintf("%s, %d cores for Go%s", cpu, runtime.NumCPU(), flags)}
	if m := field("/proc/meminfo", "MemTotal"); m != "" {
		out = append(out, "memory "+m)
	}
	system := runtime.GOOS + "/" + runtime.GOARCH
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += ", kernel " + strings.TrimSpace(string(b))
	}
	if name := strings.Trim(field("/etc/os-release", "PRETTY_NAME"), `"`); name != "" {
		system += ", " + name
	}
	out = append(out, system)
	if fs := fileSystem(work); fs != "" {
		out = append(out, "file system "+fs)
	}
	return out
}

func processor() (name, flags string) {
	name = field("/proc/cpuinfo", "model name")
	if name == "" {
		name = runtime.GOARCH
	}
	var have []string
	all := strings.Fields(field("/proc/cpuinfo", "flags"))
	for _, f := range []string{"aes", "vaes", "sha_ni", "avx2", "avx512f"} {
		if slices.Contains(all, f) {
			have = append(have, f)
		}
	}
	if len(have) > 0 {
		flags = " (" + strings.Join(have, " ") + ")"
	}
	return name, flags
}

// load returns the load average over 1, 5 and 15 minutes, or nothing.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// field returns the first value of a key in a file of lines such as "key : value" or "key=value".
func field(name, key string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			k, v, ok = strings.Cut(line, "=")
		}
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// fileSystem returns the type of the file system of a folder, from the longest mount point above it.
func fileSystem(dir string) string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/") + "/"
		if strings.HasPrefix(dir+"/", at) && len(at) >= len(best) {
			best, kind = at, f[2]
		}
	}
	return kind
}
