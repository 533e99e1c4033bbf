package cli

import (
	"fmt"
	"strings"

	"stranglerfig/strangler-proxy/control/api"
)

// backends shows how the monolith and the services are doing: one line for
// each endpoint, and one more for each backend that has trouble.
func (e *env) backends(all []api.Backend) {
	fmt.Fprintln(e.out)
	e.table([]string{"BACKEND", "ENDPOINT", "STATE", "BREAKER", "UNDER WAY", "WELL", "BAD", "CONNECTIONS"}, func(row func(...string)) {
		for _, b := range all {
			for i, n := range b.Endpoints {
				name, breaker, connections := b.Name, b.Breaker, fmt.Sprintf("%d (%d idle)", b.Connections, b.Idle)
				if i > 0 {
					name, breaker, connections = "", "", ""
				}
				row(name, n.URL, n.State, breaker, fmt.Sprint(n.UnderWay), fmt.Sprint(n.Outcomes["well"]), fmt.Sprint(n.Failures()), connections)
			}
		}
	})
	for _, b := range all {
		if text := trouble(b); text != "" {
			fmt.Fprintf(e.out, "  %s: %s\n", b.Name, text)
		}
	}
}

// trouble lists what went wrong with a backend; "" where nothing did.
func trouble(b api.Backend) string {
	var failed, slow, unreachable, ejections, ill int64
	for _, n := range b.Endpoints {
		failed += n.Outcomes["failed"]
		slow += n.Outcomes["slow"]
		unreachable += n.Outcomes["unreachable"]
		ejections += n.Ejections
		ill += n.ChecksIll
	}
	var said []string
	for _, n := range []struct {
		what  string
		count int64
	}{
		{"failed", failed}, {"slow", slow}, {"unreachable", unreachable}, {"breaker opened", b.BreakerOpened}, {"refused while it was open", b.Refused["breaker"]},
		{"refused for too many requests", b.Refused["requests"]}, {"refused for want of a connection", b.Refused["connections"]}, {"waiting for a connection", b.Waiting},
		{"fallbacks", b.Fallbacks}, {"retries", b.Retries}, {"retries refused", b.RetriesRefused}, {"ejections", ejections}, {"checks that failed", ill},
	} {
		if n.count > 0 {
			said = append(said, fmt.Sprintf("%s %d", n.what, n.count))
		}
	}
	return strings.Join(said, ", ")
}
