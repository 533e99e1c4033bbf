package cli

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/strangler-proxy/control/api"
)

func TestStatusShowsHowBackendsDoAndNamesOnlyWhatWentWrong(t *testing.T) {
	var out bytes.Buffer
	e := &env{out: &out}
	e.backends([]api.Backend{
		{Name: "the monolith", Breaker: "closed", UnderWay: 2, Connections: 5, Idle: 3, Endpoints: []api.Endpoint{
			{URL: "http://10.0.0.1:9000", State: "usable", UnderWay: 2, Outcomes: map[string]int64{"well": 1200, "undecided": 3}, ChecksWell: 9},
		}},
		{Name: "the service billing", Breaker: "open", BreakerOpened: 2, Waiting: 1, Refused: map[string]int64{"breaker": 7}, Retries: 4, Fallbacks: 11, Endpoints: []api.Endpoint{
			{URL: "http://10.0.0.2:9102", State: "ejected", Outcomes: map[string]int64{"well": 40, "failed": 5, "slow": 1}, Ejections: 1},
			{URL: "http://10.0.0.3:9102", State: "sick", Outcomes: map[string]int64{"unreachable": 6}, ChecksIll: 8},
		}},
	})
	want := `
BACKEND              ENDPOINT              STATE    BREAKER  UNDER WAY  WELL  BAD  CONNECTIONS
the monolith         http://10.0.0.1:9000  usable   closed   2          1200  0    5 (3 idle)
the service billing  http://10.0.0.2:9102  ejected  open     0          40    6    0 (0 idle)
                     http://10.0.0.3:9102  sick              0          0     6
  the service billing: failed 5, slow 1, unreachable 6, breaker opened 2, refused while it was open 7, waiting for a connection 1, fallbacks 11, retries 4, ejections 1, checks that failed 8
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
