package servertest

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// GCS starts a server of the Google Cloud Storage interface (fake-gcs-server) that ends with the test, makes a
// bucket in EUROPE-WEST3, and returns the URL by which gcsblob opens it. Through the environment of the test it
// sends all clients of Google Cloud Storage there.
func GCS(t testing.TB) string {
	program := need(t, "fake-gcs-server", "go install github.com/fsouza/fake-gcs-server@v1.56.1")
	const bucket = "practice"
	addr := start(t, t.TempDir(), func(host, port string) *exec.Cmd {
		return exec.Command(program, "-backend", "memory", "-scheme", "http", "-host", host, "-port", port,
			"-public-host", host+":"+port, "-location", "EUROPE-WEST3", "-log-level", "error")
	})
	ready(t, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/storage/v1/b?project=test",
			strings.NewReader(`{"name":"`+bucket+`"}`))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return nil
	})
	setenv(t, "STORAGE_EMULATOR_HOST", addr)
	return "gs://" + bucket
}
