package servertest

import (
	"context"
	"net/url"
	"os/exec"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"
)

// Azure starts a server of the Azure Blob Storage interface (Azurite) that ends with the test, makes a container,
// and returns the URL by which azureblob opens it. It sets the credentials in the environment of the test.
func Azure(t testing.TB) string {
	program := need(t, "azurite-blob", `npm install -g --prefix "$(go env GOPATH)" azurite@3.37.0`)
	// The account and the key are Azurite's own, which its manual gives.
	const account, name = "devstoreaccount1", "practice"
	const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	addr := start(t, t.TempDir(), func(host, port string) *exec.Cmd {
		// The check of the version would refuse a client that is newer than the server.
		return exec.Command(program, "--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck",
			"--blobHost", host, "--blobPort", port)
	})
	cred, err := container.NewSharedKeyCredential(account, key)
	require.NoError(t, err)
	client, err := container.NewClientWithSharedKeyCredential("http://"+addr+"/"+account+"/"+name, cred, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}, // ready tries again itself, and sooner
	})
	require.NoError(t, err)
	ready(t, func(ctx context.Context) error {
		_, err := client.Create(ctx, nil)
		return err
	})
	setenv(t, "AZURE_STORAGE_ACCOUNT", account)
	setenv(t, "AZURE_STORAGE_KEY", key)
	q := url.Values{"domain": {addr}, "protocol": {"http"}, "localemu": {"true"}, "storage_account": {account}}
	return "azblob://" + name + "?" + q.Encode()
}
