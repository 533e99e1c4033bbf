package control

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAProfileIsForToolsAndForThoseWithTheToken(t *testing.T) {
	c := newShop(t).start()
	for _, row := range []struct {
		path, token string
		status      int
		says        string
	}{
		{"cpu?seconds=1", c.token, http.StatusOK, "\x1f\x8b"}, // as pprof writes it
		{"heap", c.token, http.StatusOK, "\x1f\x8b"},
		{"goroutine", c.token, http.StatusOK, "\x1f\x8b"},
		{"heap", "", http.StatusUnauthorized, "the admin token is missing or wrong"},
		{"nosuch", c.token, http.StatusConflict, "accepted are cpu, heap"},
		{"cpu?seconds=301", c.token, http.StatusConflict, "is no number from 1 to 300"},
		{"cpu?seconds=soon", c.token, http.StatusConflict, "is no number from 1 to 300"},
	} {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Admin+"/v1/profile/"+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Header.Set("Authorization", "Bearer "+row.token)
		res, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != row.status || !strings.Contains(string(text), row.says) {
			t.Errorf("%s: %d, %.80q, %v", row.path, res.StatusCode, text, err)
		}
	}
}
