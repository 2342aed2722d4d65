package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/carekeep/carekeep/internal/servertest"
)

// keepOneADay keeps the first point of a day; the newest of each lineage stays by itself.
const keepOneADay = `{"rules":[{"lineages":["*"],"tiers":[{"period":"daily","count":1,"within":"1d"}]}],"budget":{"points":10,"per":"1d"}}`

const keepAll = `{"rules":[{"lineages":["*"],"tiers":[{"period":"every","count":100,"within":"30d"}]}],"budget":{"points":10,"per":"1d"}}`

func file(t *testing.T, content string) string {
	name := filepath.Join(t.TempDir(), "file.json")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// records reads the lines of --json.
func records(t *testing.T, out string) (all []map[string]any) {
	for line := range strings.Lines(out) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		if m["type"] != "progress" {
			all = append(all, m)
		}
	}
	return all
}

// last is the last record of a type.
func last(t *testing.T, out, kind string) map[string]any {
	all := records(t, out)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i]["type"] == kind {
			return all[i]
		}
	}
	require.Fail(t, "no record of type "+kind, out)
	return nil
}

// threeSnapshots makes a repository of three nights, each with a file that the next does not have.
func threeSnapshots(t *testing.T, repo string) *caller {
	c := &caller{t: t, repo: repo, host: t.TempDir()}
	c.password("secret")
	c.run(exitComplete, "init")
	dir := tree(t)
	for i := range 3 {
		name := filepath.Join(dir, "night")
		require.NoError(t, os.WriteFile(name, noise(100_000, byte(i)), 0o600))
		c.run(exitComplete, "backup", dir, "--label", "lineage=ehr")
	}
	return c
}

// noise is content that does not compress, another for each seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestRetention(t *testing.T) {
	retention(t, filepath.Join(t.TempDir(), "repository"))
}

func TestRetentionOnS3(t *testing.T) {
	retention(t, servertest.S3(t))
}

// TestRetentionOnGCS and TestRetentionOnAzure delete on the other two interfaces as well.
func TestRetentionOnGCS(t *testing.T) {
	onlyLong(t)
	retention(t, servertest.GCS(t))
}

func TestRetentionOnAzure(t *testing.T) {
	onlyLong(t)
	retention(t, servertest.Azure(t))
}

func retention(t *testing.T, repo string) {
	c := threeSnapshots(t, repo)
	policy, all := file(t, keepOneADay), file(t, keepAll)

	// Without a check nothing counts as verified, and nothing goes.
	out, _ := c.run(exitComplete, "forget", "--policy", policy, "--no-check", "--dry-run")
	require.Contains(t, out, "to keep 3 snapshots (")
	require.Contains(t, out, "no point of the lineage is verified")

	out, _ = c.run(exitComplete, "forget", "--policy", policy, "--dry-run")
	require.Equal(t, 2, strings.Count(out, "\nkeep")+strings.Count(out[:4], "keep"), out)
	require.Equal(t, 1, strings.Count(out, "\nrelease"), out)
	require.Contains(t, out, "checked     ehr")
	require.Contains(t, out, "first verified point of the day, for 1d; until ")
	require.Contains(t, out, "the newest verified point of its lineage")
	require.Contains(t, out, "another point has it")
	require.Regexp(t, `as of .*: to keep 2 snapshots \(976\.6 KiB\), to release 1 \(488\.3 KiB\)`, out)
	require.NotContains(t, out, "forgot")
	out, _ = c.run(exitComplete, "forget", "--policy", policy, "--diff", all)
	require.Equal(t, 1, strings.Count(out, "would go"), out)
	require.Contains(t, out, "lets go 1 snapshot that the old one keeps")
	out, _ = c.run(exitComplete, "snapshots")
	require.Equal(t, 3, strings.Count(out, "\n"), "showing forgets nothing")

	out, _ = c.run(exitComplete, "compact", "--dry-run")
	require.Contains(t, out, "not needed: 0 objects, 0 B; nothing was changed")

	// A hold keeps what the policy lets go, until two people have ended it.
	out, _ = c.run(exitComplete, "hold", "place", "H-1", "--by", "Dr Ada", "--matter", "court 7", "--lineage", "ehr")
	require.Contains(t, out, "H-1  stands")
	c.run(exitUsage, "hold", "place", "H-1", "--by", "Dr Ada")
	out, _ = c.run(exitComplete, "forget", "--policy", policy)
	require.Contains(t, out, "hold H-1")
	require.Contains(t, out, "forgot 0 snapshots")
	c.run(exitComplete, "hold", "release", "H-1", "--by", "Dr Ada")
	_, errs := c.run(exitFailed, "hold", "release", "H-1", "--by", "dr  ada")
	require.Contains(t, errs, "a second one has to")
	out, _ = c.run(exitComplete, "hold", "release", "H-1", "--by", "Mr Babbage")
	require.Contains(t, out, "H-1  ended")
	out, _ = c.run(exitComplete, "hold", "list", "--json")
	require.Equal(t, false, last(t, out, "hold")["stands"])
	require.Len(t, last(t, out, "hold")["releases"], 2)

	out, _ = c.run(exitComplete, "forget", "--policy", policy, "--read-all", "--json")
	require.EqualValues(t, 1, last(t, out, "forgotten")["snapshots"])
	require.EqualValues(t, 1, last(t, out, "plan")["releases"])
	points := 0
	for _, r := range records(t, out) {
		if r["type"] == "point" {
			require.Equal(t, "readBack", r["verified"])
			points++
		}
	}
	require.Equal(t, 3, points)
	out, _ = c.run(exitComplete, "snapshots")
	require.Equal(t, 2, strings.Count(out, "\n"))

	// Space comes back in two steps.
	out, _ = c.run(exitComplete, "compact")
	require.Regexp(t, `condemned: [1-9]\d* objects?, .*; deleted: 0 objects`, out)
	require.Regexp(t, `waiting for the grace of 24h0m0s to pass: [1-9]`, out)
	out, _ = c.run(exitComplete, "compact", "--grace", "0s", "--json")
	require.Positive(t, last(t, out, "compacted")["deleted"])
	require.Zero(t, last(t, out, "compacted")["waiting"])
	out, _ = c.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "checked 2 snapshots")
	to := t.TempDir()
	c.run(exitComplete, "restore", "latest", "--to", to)
	b, err := os.ReadFile(filepath.Join(to, "night"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(noise(100_000, 2), b))
}

func TestShred(t *testing.T) {
	c := threeSnapshots(t, filepath.Join(t.TempDir(), "repository"))
	c.run(exitComplete, "forget", "--policy", file(t, keepOneADay))
	out, _ := c.run(exitComplete, "compact", "--shred", "--grace", "0s")
	require.Contains(t, out, "keys destroyed: of ")
	out, _ = c.run(exitComplete, "check", "--read-all")
	require.Contains(t, out, "0 findings")
}

// TestDamageAndForget: damage keeps everything, unless told otherwise; then what can be restored counts as
// verified and what cannot does not, and the status tells.
func TestDamageAndForget(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repository")
	c := threeSnapshots(t, repo)
	packs := func() []string {
		all, err := filepath.Glob(filepath.Join(repo, "p", "*", "*"))
		require.NoError(t, err)
		return all
	}
	before := packs()
	dir := tree(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "night"), noise(100_000, 9), 0o600))
	c.run(exitComplete, "backup", dir, "--label", "lineage=ehr")
	for _, name := range packs() {
		if !slices.Contains(before, name) {
			require.NoError(t, os.Remove(name)) // what the newest snapshot alone has
		}
	}
	kept := func() (sequences []any) {
		out, _ := c.run(exitComplete, "snapshots", "--json")
		for _, s := range records(t, out) {
			sequences = append(sequences, s["sequence"])
		}
		return sequences
	}
	all := kept()
	require.Len(t, all, 4)
	policy := file(t, keepOneADay)
	out, errs := c.run(exitFailed, "forget", "--policy", policy)
	require.Contains(t, errs, "nothing was forgotten; pass --damaged to go on")
	require.Equal(t, 1, strings.Count(out, "unverified"), out)
	require.Equal(t, all, kept())
	_, errs = c.run(exitFailed, "forget", "--policy", policy, "--damaged")
	require.Contains(t, errs, "carekeep check shows them")
	require.Equal(t, []any{all[0], all[2], all[3]}, kept(), "the newest that can be restored stays, and what came after it")
}

func TestWrongPolicies(t *testing.T) {
	c := &caller{t: t, repo: filepath.Join(t.TempDir(), "r"), host: t.TempDir()}
	c.password("secret")
	_, errs := c.run(exitUsage, "forget")
	require.Contains(t, errs, "--policy")
	_, errs = c.run(exitUsage, "forget", "--policy", filepath.Join(t.TempDir(), "gone"))
	require.Contains(t, errs, "gone")
	for policy, reason := range map[string]string{
		"{":           "not valid JSON",
		`{"rule":[]}`: "unknown field",
		`{"rules":[{"lineages":["*"],"tiers":[{"period":"daily","count":7,"within":"7d"}]}]}`:                                  "budget",
		`{"rules":[{"lineages":["*"],"tiers":[{"period":"daily","count":0,"within":"7d"}]}],"budget":{"points":1,"per":"1d"}}`: "count 0",
	} {
		_, errs = c.run(exitUsage, "forget", "--policy", file(t, policy))
		require.Contains(t, errs, reason)
		_, errs = c.run(exitUsage, "forget", "--policy", "policy.json", "--diff", file(t, policy))
		require.Contains(t, errs, reason)
	}
	c.run(exitUsage, "forget", "--policy", "policy.json", "--no-check", "--read-all")
	c.run(exitFailed, "forget", "--policy", "policy.json") // the policy is good, and there is no repository
	c.run(exitUsage, "compact", "--grace", "soon")
	c.run(exitUsage, "compact", "--grace", "-1h")
	c.run(exitUsage, "hold", "place", "H-1")
	c.run(exitUsage, "hold", "place", "H-1", "--by", "x", "--from", "yesterday")
	c.repo = ""
	_, errs = c.run(exitUsage, "compact")
	require.Contains(t, errs, "--repo")
}

// TestObjectLock lets a real server lock what is to be deleted.
func TestObjectLock(t *testing.T) {
	practice := servertest.S3(t)
	plainBucket, err := blob.OpenBucket(t.Context(), practice)
	require.NoError(t, err)
	defer plainBucket.Close()
	var client *s3.Client
	require.True(t, plainBucket.As(&client))
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("locked"), ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(t, err)
	u, err := url.Parse(practice)
	require.NoError(t, err)
	u.Host = "locked"
	u.RawQuery += "&prefix=clinic/"
	c := threeSnapshots(t, u.String())
	c.run(exitComplete, "forget", "--policy", file(t, keepOneADay))
	out, _ := c.run(exitComplete, "compact")
	require.Regexp(t, `waiting for the grace of 24h0m0s to pass: [1-9]`, out)

	keys := func() (all []string) {
		l, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("locked")})
		require.NoError(t, err)
		for _, o := range l.Contents {
			all = append(all, *o.Key)
		}
		return all
	}
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, k := range keys() {
		_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: aws.String("locked"), Key: &k,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until}})
		require.NoError(t, err)
	}
	// A person's hold has no end, and comes before the date.
	hold := func(key string, status types.ObjectLockLegalHoldStatus) {
		_, err := client.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: aws.String("locked"), Key: &key,
			LegalHold: &types.ObjectLockLegalHold{Status: status}})
		require.NoError(t, err)
	}
	before := keys()
	out, _ = c.run(exitComplete, "compact", "--grace", "0s", "--json")
	require.Zero(t, last(t, out, "compacted")["deleted"])
	delayed := last(t, out, "compacted")["delayed"].([]any)
	require.NotEmpty(t, delayed)
	for _, d := range delayed {
		require.Equal(t, until.UTC().Format(time.RFC3339), d.(map[string]any)["until"])
	}
	require.Subset(t, keys(), before, "nothing was hidden")
	hold("clinic/"+delayed[0].(map[string]any)["object"].(string), types.ObjectLockLegalHoldStatusOn)
	out, _ = c.run(exitComplete, "compact", "--grace", "0s")
	require.Contains(t, out, "deleted: 0 objects")
	require.Regexp(t, `locked by the store: [1-9]\d* objects?, some by a legal hold, until it is lifted`, out)

	// Not asked, the server hides what is locked and says that it was deleted: that is why it is asked.
	out, _ = c.run(exitComplete, "compact", "--grace", "0s", "--no-locks", "--json")
	require.EqualValues(t, len(delayed), last(t, out, "compacted")["deleted"])
	require.NotSubset(t, keys(), before)
}

// TestBackupDuringForget adds a snapshot when the check has just ended. It is not verified, so a policy of days has
// no place for it; but that it was not seen is no reason to let the newest go.
func TestBackupDuringForget(t *testing.T) {
	c := threeSnapshots(t, filepath.Join(t.TempDir(), "repository"))
	dir := tree(t)
	other := &caller{t: t, repo: c.repo, host: t.TempDir()}
	var out, errs bytes.Buffer
	added := false
	stdout := writerFunc(func(p []byte) (int, error) {
		if !added && bytes.Contains(p, []byte(`"done":true`)) {
			added = true
			other.run(exitComplete, "backup", dir, "--label", "lineage=ehr")
		}
		return out.Write(p)
	})
	args := []string{"forget", "--policy", file(t, keepOneADay), "--json", "--repo", c.repo, "--host-dir", c.host}
	require.Equal(t, exitComplete, runIn(t.Context(), world{time.Now, quick}, args, strings.NewReader(""), stdout, &errs), "%s%s", &out, &errs)
	require.True(t, added)
	list, _ := c.run(exitComplete, "snapshots")
	require.Equal(t, 3, strings.Count(list, "\n"), "what was added after the check is not verified, and stays")
	list, _ = c.run(exitComplete, "forget", "--policy", file(t, keepOneADay))
	require.Contains(t, list, "forgot 1 snapshot")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
