package seal_test

import (
	"crypto/des" // only to see that it is refused
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/carekeep/carekeep/internal/seal"
)

const fipsEnv = "CAREKEEP_TEST_FIPS"

// TestFIPS runs the tests of the package again, in a child process, under Go's FIPS 140-3 modes: both
// suites when it is on, F1 and what the suites share when nothing else is allowed.
func TestFIPS(t *testing.T) {
	if os.Getenv(fipsEnv) != "" {
		t.Skip("this is the child process")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	const tests = "^(TestInFIPSMode|TestDerive|TestPRF|TestSigner|TestSlot|TestVectorsCommon|TestVectors|TestSecret|" +
		"TestWrap|TestKDFDefaults|TestKDFStretch|TestStreamAgainstTink|TestStreamBorders|TestStreamRandomAccess)$"
	for mode, suites := range map[string]string{"on": "^(T1|F1)$", "only": "^F1$"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), exe, "-test.v", "-test.run", tests+"/"+suites)
			cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode, fipsEnv+"="+mode)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			for _, ran := range []string{"TestInFIPSMode", "TestStreamAgainstTink/F1", "TestWrap/F1", "TestVectors/F1", "TestKDFStretch/F1"} {
				require.Contains(t, string(out), "--- PASS: "+ran+" ")
			}
			if mode == "on" {
				require.Contains(t, string(out), "--- PASS: TestWrap/T1 ")
			}
			require.NotContains(t, string(out), "--- SKIP")
		})
	}
}

// TestInFIPSMode holds the child to the mode that it was started for. In the strict mode T1 gives errors.
func TestInFIPSMode(t *testing.T) {
	mode := os.Getenv(fipsEnv)
	if mode == "" {
		t.SkipNow()
	}
	require.True(t, fips140.Enabled())
	_, err := des.NewCipher(make([]byte, 8))
	require.Equal(t, mode == "only", err != nil)
	_, err = seal.T1.SealStream(nil, testHeader, fixed("k"), nil, pattern(10))
	require.Equal(t, mode == "only", err != nil)
	_, err = seal.T1.Seal(fixed("k"), nil, pattern(10))
	require.Equal(t, mode == "only", err != nil)
}
