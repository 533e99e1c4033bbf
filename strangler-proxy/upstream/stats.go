package upstream

import "time"

// Stats are a backend's numbers at a moment. Those that only grow begin anew
// with each backend, as they do with each process.
type Stats struct {
	Breaker        State
	Opened, Closed int64 // times, of the breaker

	InFlight    int64 // requests
	Connections int64 // open
	Waiting     int64 // requests that need a connection, and may not have one more

	RefusedRequests    int64 // refused because as many as may be were under way
	RefusedConnections int64 // refused because they waited in vain for a connection
	RefusedOpen        int64 // refused because the breaker was open

	Retries        int64
	RetriesRefused int64 // because the budget was used up
	Fallbacks      int64 // requests that another backend answered in this one's place

	Endpoints []EndpointStats
}

// EndpointStats are an endpoint's numbers at a moment.
type EndpointStats struct {
	URL       string
	State     EndpointState
	InFlight  int64
	Idle      int                       // connections that HTTP/1.1 is spoken on directly
	Outcomes  [outcomes]int64           // of requests, by [Outcome]
	Ejections int64                     // times that it was left out because requests to it failed
	Checks    struct{ Well, Ill int64 } // what it was found when it was asked
}

// EndpointState says whether an endpoint is asked.
type EndpointState string

// The states of endpoints.
const (
	Usable  EndpointState = "usable"
	Sick    EndpointState = "sick"    // its checks fail
	Ejected EndpointState = "ejected" // requests to it failed
)

// Stats returns the backend's numbers.
func (b *Backend) Stats() Stats {
	s := Stats{
		Breaker: b.breaker.state(), Opened: b.opened.Load(), Closed: b.closed.Load(),
		InFlight: b.inFlight.Load(), Connections: b.connections.Load(), Waiting: b.waiting.Load(),
		RefusedRequests: b.refusedRequests.Load(), RefusedConnections: b.refusedConnections.Load(), RefusedOpen: b.refusedOpen.Load(),
		Retries: b.budget.used.Load(), RetriesRefused: b.budget.denied.Load(), Fallbacks: b.fallbacks.Load(),
	}
	now := time.Now()
	for _, e := range b.endpoints {
		s.Endpoints = append(s.Endpoints, e.stats(now))
	}
	return s
}

func (e *endpoint) stats(now time.Time) EndpointStats {
	s := EndpointStats{URL: e.url.String(), State: e.state(now), InFlight: e.inFlight.Load(), Ejections: e.ejections.Load()}
	s.Checks.Well, s.Checks.Ill = e.well.Load(), e.ill.Load()
	for o := range s.Outcomes {
		s.Outcomes[o] = e.outcomes[o].Load()
	}
	e.mu.Lock()
	s.Idle = len(e.idle)
	e.mu.Unlock()
	return s
}

func (e *endpoint) state(now time.Time) EndpointState {
	switch {
	case e.sick.Load():
		return Sick
	case e.ejected.Load() > now.UnixNano():
		return Ejected
	}
	return Usable
}

// FellBack counts a request that another backend answers in this one's place.
func (b *Backend) FellBack() { b.fallbacks.Add(1) }

// Open reports whether the backend is not being tried at the moment.
func (b *Backend) Open() bool { return !b.breaker.calm.Load() && b.breaker.state() != Closed }
