package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

var screenshots = flag.String("screenshots", "", "keep a picture of each report in this folder")

// chromium finds a browser; without one the test is left out, unless it is
// required.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.Missing(t, "browser", "no Chromium is installed (apt-get install chromium)")
	return ""
}

// browser starts one, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	// Chromium sets no sandbox up for root, nor in most containers; what it opens
	// is ours.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox)
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// seen is what a browser tells of a page.
type seen struct {
	mu       sync.Mutex
	problems []string // of its console
	asked    []string // addresses
}

func (s *seen) note(list *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, text)
}

// told is what was noted until now. Nothing may be asked of the browser under
// the lock, because its events are noted under it.
func (s *seen) told() (problems, asked []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems), slices.Clone(s.asked)
}

// patience is how long a page may take for one thing.
const patience = time.Minute

// open opens a file at a width, and tells what happened on the way.
func open(t *testing.T, ctx context.Context, path string, width int64) (context.Context, *seen) {
	t.Helper()
	var s seen
	tab, cancel := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			s.note(&s.problems, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			s.note(&s.problems, fmt.Sprintf("console.%s", e.Type))
		case *log.EventEntryAdded:
			s.note(&s.problems, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			s.note(&s.asked, e.Request.URL)
		}
	}))
	t.Cleanup(cancel)
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	listen := chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, errLog := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		_, errNetwork := cdp.Call(ctx, tab, network.Enable, network.EnableParams{})
		return errors.Join(errLog, errNetwork)
	})
	if err := chromedp.Do(tab); err != nil { // without a bound, which would be the tab's
		t.Fatal(err)
	}
	bounded, end := context.WithTimeout(tab, patience)
	defer end()
	err = chromedp.Do(bounded, listen, chromedp.EmulateViewport(width, 900), chromedp.Navigate("file://"+absolute))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return tab, &s
}

// ask evaluates an expression in a page.
func ask[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	bounded, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	out, err := chromedp.Run(bounded, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return out
}

// picture keeps what the page looks like, where a folder is given.
func picture(t *testing.T, tab context.Context, name string) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// hostile is what somebody who knows of the report would have a side answer.
// Whatever of it comes alive asks the address, or says so.
func hostile(address string) string {
	return strings.NewReplacer("ADDRESS", address).Replace(
		`</td></table></details><script>window.alive=1</script><img src="ADDRESS/pixel" onerror="window.alive=2"><iframe src="ADDRESS/frame"></iframe>` +
			`<svg onload="window.alive=3"><style>@import url(ADDRESS/style)</style><link rel=stylesheet href="ADDRESS/link"><base href="ADDRESS"><meta http-equiv=refresh content="0;url=ADDRESS/gone">` +
			"<a href=\"javascript:window.alive=4\">x</a>{{.}} \u202e]]> --> ' \" " + strings.Repeat("unbroken", 4_000))
}

// reports makes the three pages there are, of sides whose answers are hostile,
// and returns their files.
func reports(t *testing.T, address string) []string {
	t.Helper()
	newStage(t, "verify", func(side string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			title := "Emma"
			if side == "service" {
				title = hostile(address)
				w.Header().Set("Location", "javascript:alert(1)")
			}
			raw, err := json.Marshal(map[string]any{"books": []any{}, "title": title, "year": 1815, "note": hostile(address)})
			if err != nil {
				t.Error(err)
			}
			w.Write(raw)
		}
	})
	pact, err := json.Marshal(map[string]any{
		"consumer": map[string]string{"name": "reader <script>window.alive=5</script>"}, "provider": map[string]string{"name": "shelf"},
		"interactions": []any{
			map[string]any{"description": "all books " + hostile(address), "request": map[string]any{"method": "GET", "path": "/books"},
				"response": map[string]any{"status": 200, "headers": map[string]string{"Content-Type": "application/json"}, "body": map[string]any{"books": []any{}, "title": "Emma", "year": 1815}}},
			map[string]any{"description": "one book", "request": map[string]any{"method": "GET", "path": "/books/1"},
				"response": map[string]any{"status": 200, "headers": map[string]string{"Content-Type": "application/json"}, "body": map[string]any{"year": 1815}}},
		},
		"metadata": map[string]any{"pactSpecification": map[string]string{"version": "3.0.0"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("shelf.pact.json", pact, 0o600); err != nil {
		t.Fatal(err)
	}
	strangler(t, "contract", "verify", "shelf", "--html", "verify.html")
	strangler(t, "contract", "report", "shelf", "--html", "report.html")
	admit(t, address)
	if said := strangler(t, "evidence", "pack", "shelf", "--out", "pack.html"); strings.Contains(said, "error") {
		t.Fatal(said)
	}
	return []string{"verify.html", "report.html", "pack.html"}
}

// admit writes into the ledger what a cutover leaves there.
func admit(t *testing.T, address string) {
	t.Helper()
	l, err := ledger.Open("strangler-state", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	detail, err := json.Marshal(api.Admitted{
		Admission: api.Admission{Capability: "shelf", Answer: api.AnswerYes, Owner: "monolith", Findings: []api.Finding{
			{Gate: "health", Verdict: api.Pass, Text: "the service answers"}, {Gate: "contract", Verdict: api.Waived, Text: hostile(address)}}},
		Contract: "c", Config: "d", MonolithBuild: hostile(address), ServiceBuild: "s1",
		Shadow: []api.Shadow{{Route: "GET /books", Compared: 40, Differences: []api.Difference{{Times: 2, Kind: "value", Path: "$.body.title", Expected: `"Emma"`, Actual: hostile(address), Example: "GET /books?q=" + hostile(address)}}}},
	})
	if err == nil {
		_, err = l.Append(t.Context(), ledger.Entry{At: time.Now(), Capability: "shelf", Kind: control.AdmissionKind, Actor: "ada", Text: "cutover admitted " + hostile(address), Detail: detail})
	}
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReportsAreReadableAndInertInABrowser opens each of the pages in a real
// browser, wide and as narrow as a telephone.
func TestReportsAreReadableAndInertInABrowser(t *testing.T) {
	ctx := browser(t)
	var hits atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		io.WriteString(w, "window.alive=6")
	}))
	t.Cleanup(trap.Close)
	for _, path := range reports(t, trap.URL) {
		for _, width := range []int64{1280, 360} {
			t.Run(fmt.Sprintf("%s at %d", path, width), func(t *testing.T) {
				tab, s := open(t, ctx, path, width)
				picture(t, tab, fmt.Sprintf("%s-%d", strings.TrimSuffix(path, ".html"), width))
				if path != "pack.html" {
					sideBySide(t, tab)
				}
				ask[bool](t, tab, `document.querySelectorAll("details").forEach(d => d.open = true), true`)
				picture(t, tab, fmt.Sprintf("%s-%d-open", strings.TrimSuffix(path, ".html"), width))
				if wide := ask[int64](t, tab, `document.documentElement.scrollWidth`); wide > width {
					t.Errorf("it is %d pixels wide: %s", wide, ask[string](t, tab, widest))
				}
				if alive := ask[string](t, tab, `String(window.alive) + document.querySelectorAll("script,img,iframe,svg,link,base,object,embed,a[href^=javascript],meta[http-equiv=refresh i]").length`); alive != "undefined0" {
					t.Errorf("something in it came alive: %s", alive)
				}
				problems, asked := s.told()
				if len(problems) > 0 {
					t.Errorf("the console says %q", problems)
				}
				if len(asked) != 1 || !strings.HasPrefix(asked[0], "file://") {
					t.Errorf("it asked for %q", asked)
				}
			})
		}
	}
	if n := hits.Load(); n > 0 {
		t.Errorf("a page asked for something elsewhere %d times", n)
	}
	// The same, not escaped: otherwise the test would notice nothing.
	if err := os.WriteFile("careless.html", []byte("<!doctype html><body>"+hostile(trap.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, s := open(t, ctx, "careless.html", 360)
	if _, asked := s.told(); len(asked) < 2 || hits.Load() == 0 {
		t.Errorf("a careless page asked for no more than %q", asked)
	}
}

// widest names what is wider than the page.
const widest = `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className).slice(0, 5).join(" ")`

// sideBySide checks that a failing interaction shows what was expected beside
// what was answered, without anything having been clicked.
func sideBySide(t *testing.T, tab context.Context) {
	t.Helper()
	type cell struct {
		Text                     string
		Left, Right, Top, Bottom float64
	}
	rows := ask[[][]cell](t, tab, `[...document.querySelectorAll(".diff tr")].filter(r => r.querySelector(".wrong")).map(r => [...r.cells].map(c => {
		const b = c.getBoundingClientRect();
		return {Text: c.innerText, Left: b.left, Right: b.right, Top: b.top, Bottom: b.bottom}}))`)
	if len(rows) == 0 {
		t.Fatal("no difference is shown")
	}
	for _, r := range rows {
		if len(r) < 2 || r[0].Right > r[1].Left+1 || r[0].Right-r[0].Left < 100 || r[1].Right-r[1].Left < 100 || r[0].Bottom-r[0].Top < 10 {
			t.Errorf("a difference is not side by side: %+v", r)
		}
	}
	if !strings.Contains(rows[0][0].Text+rows[0][1].Text, "title") {
		t.Errorf("the first one is %+v", rows[0])
	}
}
