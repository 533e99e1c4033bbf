package control

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"stranglerfig/strangler-proxy/control/api"
)

// journal keeps a log.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// samples reads what the metrics say, by name and labels.
func (s *server) samples() map[string]string {
	s.t.Helper()
	res, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			all[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return all
}

// read asks for something and returns the status.
func (s *server) read(path string) int {
	s.t.Helper()
	res, err := http.Get(s.URL + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode
}

// TestHowBackendsDoIsMeasuredShownAndLogged has a service answer, break down and
// come back.
func TestHowBackendsDoIsMeasuredShownAndLogged(t *testing.T) {
	s := newShop(t)
	s.more = "    waive: [{gate: contract, reason: none is needed here, by: the test, until: 2099-01-01}, {gate: shadow, reason: none is needed here, by: the test, until: 2099-01-01}]\n"
	s.wants("service")
	s.sayOfBilling(", breaker: {failures: 3, pause: 1ms}")
	said := &journal{}
	c := s.startLogging(slog.New(slog.NewTextHandler(said, nil)))
	for range 5 {
		c.read("/invoices")
	}
	s.breaks.Store(true)
	for n := 0; c.backend("the service billing").BreakerOpened == 0; n++ {
		if got := c.read("/invoices"); got != http.StatusOK || n > 1000 {
			t.Fatalf("read %d was answered %d", n, got)
		}
	}
	for range 20 {
		c.read("/invoices") // refused, or a trial that fails
	}
	ill := c.backend("the service billing")
	if ill.Fallbacks < 22 || ill.Endpoints[0].Outcomes["failed"] < 3 || ill.Breaker == "closed" {
		t.Errorf("while it breaks down: %+v", ill)
	}
	s.breaks.Store(false)
	for n := 0; c.backend("the service billing").Breaker != "closed"; n++ {
		if c.read("/invoices"); n > 100_000 {
			t.Fatal("the breaker does not close")
		}
	}
	for n := 0; c.backend("the service billing").UnderWay+c.backend("the monolith").UnderWay > 0; n++ {
		if n > 100_000 { // a request is accounted for a moment after its client has the answer
			t.Fatal("requests stay under way")
		}
	}
	got, samples := c.backend("the service billing"), c.samples()
	endpoint := `backend="the service billing",endpoint="` + s.service.URL + `"`
	for name, want := range map[string]int64{
		`strangler_backend_requests_total{` + endpoint + `,outcome="well"}`:                                         got.Endpoints[0].Outcomes["well"],
		`strangler_backend_requests_total{` + endpoint + `,outcome="failed"}`:                                       got.Endpoints[0].Outcomes["failed"],
		`strangler_backend_requests_total{` + endpoint + `,outcome="slow"}`:                                         0,
		`strangler_backend_requests_total{backend="the monolith",endpoint="` + s.monolith.URL + `",outcome="well"}`: got.Fallbacks,
		`strangler_backend_fallbacks_total{backend="the service billing"}`:                                          got.Fallbacks,
		`strangler_backend_refused_total{backend="the service billing",reason="breaker"}`:                           got.Refused["breaker"],
		`strangler_backend_breaker_changes_total{backend="the service billing",to="open"}`:                          1,
		`strangler_backend_breaker_changes_total{backend="the service billing",to="closed"}`:                        1,
		`strangler_backend_breaker{backend="the service billing",state="closed"}`:                                   1,
		`strangler_backend_breaker{backend="the service billing",state="open"}`:                                     0,
		`strangler_backend_endpoint{` + endpoint + `,state="usable"}`:                                               1,
		`strangler_backend_under_way{backend="the service billing"}`:                                                0,
		`strangler_backend_connections_idle{backend="the service billing"}`:                                         int64(got.Idle),
		`strangler_backend_connections{backend="the service billing"}`:                                              got.Connections,
		`strangler_backend_retries_total{backend="the service billing"}`:                                            got.Retries,
	} {
		if samples[name] != fmt.Sprint(want) {
			t.Errorf("%s is %q, want %d", name, samples[name], want)
		}
	}
	for _, line := range []string{"a backend is not tried for a moment", "a backend is asked again"} {
		if n := strings.Count(said.String(), `msg="`+line+`" backend="the service billing"`); n != 1 {
			t.Errorf("%q was logged %d times:\n%s", line, n, said)
		}
	}
}

// TestNumbersOutliveAReloadThatMakesABackendAnew scrapes while two backends of
// one name are there.
func TestNumbersOutliveAReloadThatMakesABackendAnew(t *testing.T) {
	s := newShop(t)
	c := s.start()
	for n := range 20 {
		s.save()
		s.sayOfBilling(fmt.Sprintf(", breaker: {failures: %d}", n+2))
		c.reload()
		if n := len(c.samples()); n < 50 {
			t.Fatalf("%d samples", n)
		}
		if all := c.Status(t.Context()).Backends; len(all) != 2 || all[0].Name != "the monolith" || all[1].Name != "the service billing" {
			t.Fatalf("the backends are %+v", all)
		}
	}
}

func (s *server) backend(name string) api.Backend {
	s.t.Helper()
	for _, b := range s.Status(s.t.Context()).Backends {
		if b.Name == name {
			return b
		}
	}
	s.t.Fatalf("there is no %s", name)
	return api.Backend{}
}
