package contract_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"stranglerfig/contract-tests/contract"
)

// FuzzWhatIsReadSurvives: whatever is read at all is written so that it reads
// back the same, can be exported, and its export can be read.
func FuzzWhatIsReadSurvives(f *testing.F) {
	files, err := filepath.Glob("../../strangler-proxy/cli/testdata/contract/others/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range append(files, "../shop/billing.pact.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := contract.ReadHTTP(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := contract.Read(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("written, it reads as %v\n%s", err, b.Bytes())
		}
		if again.Digest() != c.Digest() {
			var second bytes.Buffer
			if err := again.Write(&second); err != nil {
				t.Fatal(err)
			}
			t.Fatalf("written\n%s\nit reads back as\n%s", b.Bytes(), second.Bytes())
		}
		for _, version := range []int{3, 4} {
			var b bytes.Buffer
			if _, err := c.Export(&b, version); err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			if _, err := contract.Read(bytes.NewReader(b.Bytes())); err != nil {
				t.Fatalf("version %d reads as %v\n%s", version, err, b.Bytes())
			}
		}
	})
}
