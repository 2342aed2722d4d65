package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The stages that are timed, in their order. "init" and the stages with "-prep" behind their name are not.
var stages = []string{"cold", "unchanged", "changed", "list", "restore", "check"}

// command is a call. In args, env and dir, $W is the contender's own folder, $SRC the data, $OUT the folder
// to restore into, and $BIN our command.
type command struct {
	args []string
	env  []string // in addition to the contender's
	dir  string
}

// contender is one row of the comparison: a program with its settings.
type contender struct {
	name      string
	program   string
	version   []string // arguments that print it
	ours      bool
	compress  bool // it compresses, so it is one to beat
	env       []string
	folders   []string // made before init
	repo      string
	stages    map[string][]command
	caches    string // what it keeps on the host between the stages
	path      string // of the program
	versionIs string
}

func contenders() []*contender {
	return []*contender{
		carekeep("carekeep, credential", false),
		carekeep("carekeep, password", true),
		restic("restic, fastest", "fastest"),
		restic("restic, auto", "auto"),
		kopia("kopia, zstd-fastest", "zstd-fastest"),
		kopia("kopia, no compression", "none"),
		borg("borg, lz4", "lz4"),
		borg("borg, zstd,1", "zstd,1"),
	}
}

// call splits a line at its spaces; none of the fixed words holds any.
func call(line string) command { return command{args: strings.Fields(line)} }

func carekeep(name string, password bool) *contender {
	const secret = "CAREKEEP_PASSWORD=bench-only"
	withPassword := func(line string) []command {
		c := call(line)
		c.env = []string{secret}
		return []command{c}
	}
	backup := []command{call("$BIN backup $SRC")}
	caches := "The host folder: index segments, the records of the last snapshot, the writer's credential. " +
		"Backups open with the credential and derive no key; list, restore and check need the password."
	if password {
		backup = withPassword("$BIN backup $SRC")
		caches = "The same, but every command opens with the password and derives its key (Argon2id)."
	}
	return &contender{
		name: name, program: "carekeep", ours: true, compress: true,
		env:     []string{"CAREKEEP_REPO=$W/repo", "CAREKEEP_HOST_DIR=$W/host"},
		folders: []string{"$W/host"}, repo: "$W/repo", caches: caches,
		stages: map[string][]command{
			"init": withPassword("$BIN init"), "cold": backup, "unchanged": backup, "changed": backup,
			"list": withPassword("$BIN snapshots"), "restore": withPassword("$BIN restore latest --to $OUT"),
			"check": withPassword("$BIN check --read-all"),
		},
	}
}

func restic(name, level string) *contender {
	backup := []command{call("restic backup --quiet --no-scan --compression " + level + " $SRC")}
	return &contender{
		name: name, program: "restic", version: []string{"version"}, compress: true,
		env: []string{
			"RESTIC_REPOSITORY=$W/repo", "RESTIC_PASSWORD=bench-only", "RESTIC_CACHE_DIR=$W/cache",
			"RESTIC_HOST=bench", "RESTIC_PROGRESS_FPS=0.1",
		},
		repo: "$W/repo",
		caches: "Index and trees in its cache folder, warm from the stage before. Every command derives its key (scrypt). " +
			"--no-scan leaves out a walk that only feeds the progress display.",
		stages: map[string][]command{
			"init": {call("restic init --repository-version 2")}, "cold": backup, "unchanged": backup, "changed": backup,
			"list": {call("restic snapshots")}, "restore": {call("restic restore --quiet latest:$SRC --target $OUT")},
			"check": {call("restic check --quiet --read-data")},
		},
	}
}

func kopia(name, level string) *contender {
	const quiet = "kopia --disable-file-logging --disable-content-log --no-progress "
	const who = " --override-hostname=bench --override-username=bench"
	// Restore and check connect afresh without a content cache: with it both copy every content into the
	// cache with an fsync each, and a check would not read what a restore has cached.
	fresh := func(folder string) []command {
		c := call(quiet + "repository connect filesystem --path=$W/repo --content-cache-size-mb=0" + who)
		c.env = []string{"KOPIA_CONFIG_PATH=$W/" + folder + "/repository.config"}
		return []command{c}
	}
	with := func(folder, line string) []command {
		c := call(quiet + line)
		c.env = []string{"KOPIA_CONFIG_PATH=$W/" + folder + "/repository.config"}
		return []command{c}
	}
	backup := []command{call(quiet + "snapshot create --no-send-snapshot-report $SRC")}
	return &contender{
		name: name, program: "kopia", version: []string{"--version"}, compress: level != "none",
		env: []string{
			"KOPIA_PASSWORD=bench-only", "KOPIA_CONFIG_PATH=$W/conf/repository.config", "KOPIA_LOG_DIR=$W/logs",
			"KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_PERSIST_CREDENTIALS_ON_CONNECT=false", "KOPIA_USE_KEYRING=false",
			"XDG_CONFIG_HOME=$W/xdg-config", "XDG_CACHE_HOME=$W/xdg-cache",
		},
		folders: []string{"$W/conf", "$W/conf-restore", "$W/conf-check", "$W/repo"}, repo: "$W/repo",
		caches: "Metadata and contents in its cache folder for backups and list; none for restore and check, which connect afresh " +
			"without one, untimed. Every command derives its key (scrypt). Maintenance is off, as the others do none in a backup.",
		stages: map[string][]command{
			"init": {
				call(quiet + "repository create filesystem --path=$W/repo --cache-directory=$W/cache" + who),
				call(quiet + "policy set --global --compression=" + level + " --ignore-cache-dirs=false --clear-dot-ignore"),
				call(quiet + "maintenance set --enable-quick=false --enable-full=false"),
			},
			"cold": backup, "unchanged": backup, "changed": backup,
			"list":         {call(quiet + "snapshot list")},
			"restore-prep": fresh("conf-restore"),
			"restore":      with("conf-restore", "snapshot restore $SRC $OUT"),
			"check-prep":   fresh("conf-check"),
			"check":        with("conf-check", "snapshot verify --verify-files-percent=100"),
		},
	}
}

func borg(name, level string) *contender {
	in := func(dir, line string) []command {
		c := call(line)
		c.dir = dir
		return []command{c}
	}
	create := "borg create --compression " + level + " ::"
	return &contender{
		name: name, program: "borg", version: []string{"--version"}, compress: true,
		env: []string{
			"BORG_BASE_DIR=$W/base", "BORG_REPO=$W/repo", "BORG_PASSPHRASE=bench-only", "BORG_HOST_ID=bench",
			"BORG_RELOCATED_REPO_ACCESS_IS_OK=yes",
		},
		folders: []string{"$W/base"}, repo: "$W/repo",
		caches: "The chunk index and its files cache. Every command derives its key (PBKDF2). Its check reads the repository " +
			"twice: for the checksums of segments, and to decrypt.",
		stages: map[string][]command{
			"init": {call("borg init --encryption repokey")},
			"cold": in("$SRC", create+"cold ."), "unchanged": in("$SRC", create+"unchanged ."), "changed": in("$SRC", create+"changed ."),
			"list": {call("borg list")}, "restore": in("$OUT", "borg extract ::changed"), "check": {call("borg check --verify-data")},
		},
	}
}

// find looks for the program and asks for its version. It is false when the program is not there.
func (t *contender) find(ctx context.Context, ours *program) bool {
	if t.ours {
		t.path, t.versionIs = ours.path, ours.version
		return true
	}
	path, err := exec.LookPath(t.program)
	if err != nil {
		return false
	}
	if t.path, err = filepath.Abs(path); err != nil {
		return false
	}
	out, err := exec.CommandContext(ctx, t.path, t.version...).Output()
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	t.versionIs = strings.TrimSpace(strings.TrimPrefix(strings.TrimSuffix(first, "from:"), t.program))
	return true
}

// program is our command as it was built.
type program struct{ path, version string }

// build builds our command from the module around the working folder, unless one is given.
func build(ctx context.Context, given, work string) (*program, error) {
	path, err := filepath.Abs(given)
	if err != nil {
		return nil, err
	}
	if given == "" {
		path = filepath.Join(work, "carekeep")
		if runtime.GOOS == "windows" {
			path += ".exe"
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "github.com/carekeep/carekeep/examples/carekeep")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build of our command: %w\n%s", err, out)
		}
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &program{path: path, version: "built with " + info.GoVersion}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			p.version += ", revision " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			p.version += " with changes"
		}
	}
	return p, nil
}

// place is where a contender works during a run.
type place struct{ home, src, out string }

// expand fills in the folders.
func (t *contender) expand(s string, p place) string {
	return os.Expand(s, func(name string) string {
		switch name {
		case "W":
			return p.home
		case "SRC":
			return p.src
		case "OUT":
			return p.out
		case "BIN":
			return t.path
		}
		return "$" + name
	})
}

// spec makes a command ready to run. Nothing of the caller's environment reaches the program but what
// programs need to start.
func (t *contender) spec(c command, p place) spec {
	s := spec{Program: t.path, Dir: t.expand(c.dir, p), Log: filepath.Join(p.home, "log")}
	for _, a := range c.args[1:] {
		s.Args = append(s.Args, t.expand(a, p))
	}
	for _, k := range []string{"PATH", "SYSTEMROOT", "PATHEXT"} {
		if v, ok := os.LookupEnv(k); ok {
			s.Env = append(s.Env, k+"="+v)
		}
	}
	tmp := filepath.Join(p.home, "tmp")
	s.Env = append(s.Env, "HOME="+filepath.Join(p.home, "home"), "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp, "LANG=C.UTF-8")
	for _, e := range append(append([]string{}, t.env...), c.env...) {
		s.Env = append(s.Env, t.expand(e, p))
	}
	if s.Dir == "" {
		s.Dir = p.home
	}
	return s
}
