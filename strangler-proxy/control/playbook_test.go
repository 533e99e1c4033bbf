package control

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/control/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// situation begins as a capability whose data moves and which has come
// nowhere yet.
func situation(change func(f *facts)) facts {
	missing := func(gate, command string) api.Finding {
		return api.Finding{Gate: gate, Verdict: api.Missing, Text: "no " + gate + " evidence is on file", Command: command}
	}
	f := facts{
		name: "billing", data: true,
		status: api.Capability{
			Name: "billing", WriteOwner: "monolith", Epoch: 1, Data: &api.Data{State: "planned", Owner: "monolith"},
			Routes: []api.Route{
				{ID: "GET /invoices", Wanted: "monolith", Actual: "monolith"},
				{ID: "GET /invoices/{id}", Wanted: "monolith", Actual: "monolith"},
				{ID: "POST /invoices", Writes: true, Wanted: "monolith", Actual: "monolith"},
			},
			Gates: []api.Finding{
				{Gate: "health", Verdict: api.Fail, Text: "billing at http://127.0.0.1:9102 cannot be reached", Command: "start the service at http://127.0.0.1:9102"},
				missing("contract", "strangler contract record billing --out billing.pact.json"), missing("data", "strangler data prepare billing"),
				missing("verify", "strangler data verify billing"), missing("rehearsal", "strangler data rehearse billing"),
			},
		},
		routeGates: map[string][]api.Finding{},
	}
	for _, r := range f.status.Routes[:2] {
		f.routeGates[r.ID] = []api.Finding{
			f.status.Gates[0], f.status.Gates[1], f.status.Gates[2], missing("shadow", fmt.Sprintf("strangler own %q shadow", r.ID)),
		}
	}
	change(&f)
	return f
}

// pass opens gates, of the cutover and of every route.
func pass(f *facts, gates ...string) {
	open := func(findings []api.Finding) {
		for i, have := range findings {
			for _, gate := range gates {
				if have.Gate == gate {
					findings[i] = api.Finding{Gate: gate, Verdict: api.Pass, Text: "the " + gate + " is fine"}
				}
			}
		}
	}
	open(f.status.Gates)
	for _, findings := range f.routeGates {
		open(findings)
	}
}

func reads(f *facts, actual string) {
	for i := range f.status.Routes {
		if !f.status.Routes[i].Writes {
			f.status.Routes[i].Actual = actual
		}
	}
}

func followed(f *facts) {
	f.contract = true
	f.status.Data.State, f.status.Data.Lag = "ready", 3
	pass(f, "health", "contract", "data", "verify")
}

func moved(f *facts) {
	followed(f)
	pass(f, "rehearsal", "shadow")
	reads(f, "service")
	f.status.WriteOwner, f.status.Epoch, f.status.Data.State, f.status.Data.Owner = "service", 2, "moved", change.Service
}

var situations = map[string]func(f *facts){
	"01-nothing-yet":       func(*facts) {},
	"02-service-is-up":     func(f *facts) { pass(f, "health") },
	"03-contract-recorded": func(f *facts) { pass(f, "health"); f.contract = true },
	"04-contract-fulfilled": func(f *facts) {
		pass(f, "health", "contract")
		f.contract = true
	},
	"05-prepared": func(f *facts) {
		pass(f, "health", "contract")
		f.contract, f.status.Data.State = true, "prepared"
	},
	"06-copied": func(f *facts) {
		pass(f, "health", "contract")
		f.contract, f.status.Data.State, f.status.Data.Lag = true, "catching-up", 120
	},
	"07-equal": followed,
	"08-one-read-is-shadowed": func(f *facts) {
		followed(f)
		f.status.Routes[0].Actual = "shadow"
		f.status.Shadow = []api.Shadow{{Route: "GET /invoices", Direction: "forward", Compared: 40, Stop: api.Stop{Missing: 3287}}}
	},
	"09-shadows-differ": func(f *facts) {
		followed(f)
		reads(f, "shadow")
		f.status.Shadow = []api.Shadow{{Route: "GET /invoices", Direction: "forward", Compared: 400}, {Route: "GET /invoices/{id}", Direction: "forward", Compared: 100, Mismatched: 3}}
		f.routeGates["GET /invoices"][3] = api.Finding{Gate: "shadow", Verdict: api.Pass, Text: "400 of 400 mirrored answers agree, which is enough"}
		f.routeGates["GET /invoices/{id}"][3] = api.Finding{Gate: "shadow", Verdict: api.Fail, Text: "97 of 100 mirrored answers agree", Command: "strangler shadow differences billing"}
	},
	"10-shadows-match": func(f *facts) { followed(f); reads(f, "shadow"); pass(f, "shadow") },
	"11-canary":        func(f *facts) { followed(f); reads(f, "canary 10%"); pass(f, "shadow") },
	"25-canaried-and-differ": func(f *facts) {
		followed(f)
		reads(f, "canary 10%")
		f.status.Shadow = []api.Shadow{{Route: "GET /invoices/{id}", Direction: "forward", Compared: 100, Mismatched: 3}}
		f.routeGates["GET /invoices/{id}"][3] = api.Finding{Gate: "shadow", Verdict: api.Fail, Text: "97 of 100 mirrored answers agree", Command: "strangler shadow differences billing"}
	},
	"12-reads-moved": func(f *facts) { followed(f); reads(f, "service"); pass(f, "shadow") },
	"13-rehearsed":   func(f *facts) { followed(f); reads(f, "service"); pass(f, "shadow", "rehearsal") },
	"14-moved":       moved,
	"15-complete":    func(f *facts) { moved(f); f.status.Data.State = "complete" },
	"16-the-service-is-ill": func(f *facts) {
		moved(f)
		f.status.Gates[0] = api.Finding{Gate: "health", Verdict: api.Fail, Text: "billing answers /readyz with 503", Command: "start the service at http://127.0.0.1:9102"}
	},
	"17-cancelled": func(f *facts) { followed(f); f.status.Data.State = "cancelled" },
	"18-paused": func(f *facts) {
		followed(f)
		f.status.Data.State, f.status.Data.Paused = "paused", "table inv was truncated"
		f.status.Gates[2].Command = "strangler data resume billing"
	},
	"20-without-data": func(f *facts) {
		f.data, f.status.Data, f.contract = false, nil, true
		f.status.Gates = f.status.Gates[:2]
		pass(f, "health", "contract", "data", "shadow")
		reads(f, "service")
	},
	"21-without-data-done": func(f *facts) {
		f.data, f.status.Data, f.contract = false, nil, true
		f.status.Gates = f.status.Gates[:2]
		pass(f, "health", "contract", "data", "shadow")
		reads(f, "service")
		f.status.Routes[2].Actual = "service"
	},
	"22-reads-only": func(f *facts) {
		f.data, f.status.Data, f.contract = false, nil, true
		f.status.Gates, f.status.Routes = f.status.Gates[:2], f.status.Routes[:2]
		pass(f, "health", "contract", "data")
	},
	"24-reads-differ-in-what-they-lack": func(f *facts) {
		followed(f)
		reads(f, "canary 10%")
		f.routeGates["GET /invoices/{id}"][1] = api.Finding{Gate: "contract", Verdict: api.Fail, Text: "2 interactions fail", Command: "strangler contract verify billing"}
	},
	"23-a-waiver": func(f *facts) {
		followed(f)
		reads(f, "canary 10%")
		for id := range f.routeGates {
			f.routeGates[id][3] = api.Finding{Gate: "shadow", Verdict: api.Waived, Text: "shadow waived by ana until 2030-01-31: no traffic"}
		}
	},
}

// transcript is a playbook as one reads it.
func transcript(book api.Playbook) string {
	var b strings.Builder
	for _, s := range book.Steps {
		fmt.Fprintf(&b, "%-5s %s\n", s.State, s.Name)
		if s.State == "next" {
			fmt.Fprintf(&b, "      %s\n      $ %s\n", s.Text, s.Command)
			for _, need := range book.Needs {
				fmt.Fprintf(&b, "      needs %s: %s ($ %s)\n", need.Gate, need.Text, need.Command)
			}
		}
	}
	fmt.Fprintf(&b, "command: %s\n", book.Command)
	return b.String()
}

// TestTheLadderOfEverySituation compares the playbooks with testdata/ladder.
func TestTheLadderOfEverySituation(t *testing.T) {
	for name, change := range situations {
		t.Run(name, func(t *testing.T) {
			got := transcript(ladder(situation(change)))
			golden := filepath.Join("testdata", "ladder", name+".golden")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheLadderIsTheSameEveryTime(t *testing.T) {
	for name, change := range situations {
		first := transcript(ladder(situation(change)))
		for range 20 {
			if again := transcript(ladder(situation(change))); again != first {
				t.Fatalf("%s: once\n%s\nthen\n%s", name, first, again)
			}
		}
	}
}

func TestAtMostOneStepIsNextAndItNamesItsCommand(t *testing.T) {
	for name, change := range situations {
		book := ladder(situation(change))
		next := 0
		for _, s := range book.Steps {
			if s.State != "next" {
				continue
			}
			next++
			if s.Command == "" || s.Command != book.Command {
				t.Errorf("%s: the step %q says %q, the playbook %q", name, s.Name, s.Command, book.Command)
			}
		}
		if next > 1 || (next == 0) != (book.Command == "") {
			t.Errorf("%s: %d steps are next, the command is %q", name, next, book.Command)
		}
	}
}
