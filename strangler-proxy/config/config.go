// Package config reads strangler.yaml: strictly, whole, and with the line of
// every problem. It also edits owner words in place, keeping every other byte
// of the file.
//
// Start at [Load] and [SetOwners].
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stranglerfig/migrations/mapping"
	"stranglerfig/strangler-proxy/route"
)

// Config is a whole, valid file.
type Config struct {
	Path         string // of the file; relative paths in it are resolved against its folder
	Listen       string
	TLS          TLS
	Trusted      []netip.Prefix // networks of proxies in front of this one, whose word about clients is taken
	Forwarded    string         // how backends are told about clients: x-forwarded, forwarded, both or off
	RequestID    string         // name of the header that carries a request's id, or "off"
	Tracing      Tracing
	OverrideKey  string // signs testers' overrides; empty: there are none
	Limits       Limits
	Admin        Admin
	State        string // folder of the ledger
	AccessLog    string // a file, "stdout" or "off"
	IOUring      bool   // the kernel's io_uring may be used where it is there
	Monolith     Backend
	Capabilities []Capability // in the order of the file
	Hold         Hold
	Drain        time.Duration // how long SIGTERM waits for requests under way
	Shadow       Shadow
	Evidence     Evidence
	Redact       []string // further fields and headers that a recording must not keep
	Links        []Link

	table *route.Table
}

// Admin is the control API.
type Admin struct{ Listen, Token string }

// Hold bounds what a switch may keep waiting.
type Hold struct {
	Requests int
	Bytes    int64
	Wait     time.Duration
}

// Evidence says how long a proof holds.
type Evidence struct{ MaxAge time.Duration }

// Link is a TCP link between a service and what it depends on, which chaos
// experiments may break: the service is pointed at Listen.
type Link struct{ Name, Listen, To string }

// Capability is one business capability that is being extracted.
type Capability struct {
	Name     string
	Service  Backend
	CanaryBy string // cookie:NAME, header:NAME, client-ip, or "" for a signed cookie of our own
	Routes   []route.Route
	Data     *mapping.Plan // nil where no data moves
	Copy     CopyLimits
	// LogBudget bounds the log that either database keeps for the move, in
	// bytes; 0 is the engine's default.
	LogBudget int64
	Writers   []string // applications that are known to write the data
	Contract  string   // path of the contract file; empty where there is none
	Waivers   []Waiver
	Shadow    Mirroring            // how its routes are judged
	Judged    map[string]Mirroring // route -> how it is, where it says so itself
	// Isolated is a second instance of the service with a database of its own,
	// which gets copies of writes; nil where none is declared.
	Isolated *Backend
	// Pair is where contracts that write are replayed; nil where none is declared.
	Pair *Pair
	Line int
}

// CopyLimits say how a copy spares the databases; zero is the default.
type CopyLimits struct {
	Workers       int           // parts of a table that are copied side by side
	RowsPerSecond int           // 0: as many as there are
	MaxLag        time.Duration // of standbys; 0: they are not looked at
}

// Waiver is a named person's exception from a gate, until a date.
type Waiver struct {
	Gate   string    `json:"gate"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Until  time.Time `json:"until"`
}

// Gates are the kinds of evidence that a step may need, which is what a waiver
// may name.
var Gates = []string{"health", "contract", Coverage, "data", "shadow", "verify", "rehearsal"}

// Coverage is the part of the contract's gate that asks how much of recorded
// traffic the contract covers. It can be waived apart, so that nobody has to
// waive a verification for it.
const Coverage = "coverage"

// Problem is one thing that is wrong with a file.
type Problem struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Error holds every problem of a file.
type Error struct {
	Path     string    `json:"path"`
	Problems []Problem `json:"problems"`
}

func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", e.Path, p.Line, p.Text)
		if p.Hint != "" {
			fmt.Fprintf(&b, "\n  hint: %s", p.Hint)
		}
	}
	return b.String()
}

// Load reads and checks a file. The error is an *Error when the file could be
// read but is not valid.
func Load(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	return Parse(path, raw, os.LookupEnv)
}

// Capability returns a capability by its name.
func (c *Config) Capability(name string) (*Capability, bool) {
	for i := range c.Capabilities {
		if c.Capabilities[i].Name == name {
			return &c.Capabilities[i], true
		}
	}
	return nil, false
}

// Names lists the capabilities.
func (c *Config) Names() []string {
	names := make([]string, len(c.Capabilities))
	for i, p := range c.Capabilities {
		names[i] = p.Name
	}
	return names
}

// Route returns a declared route by its ID.
func (c *Config) Route(id string) (route.Route, bool) {
	id = strings.Join(strings.Fields(id), " ")
	for i := range c.Capabilities {
		for j := range c.Capabilities[i].Routes {
			if r := &c.Capabilities[i].Routes[j]; r.ID == id {
				return *r, true
			}
		}
	}
	return route.Route{}, false
}

// AllRoutes lists the routes of every capability in the order of the file.
func (c *Config) AllRoutes() []route.Route {
	n := 0
	for i := range c.Capabilities {
		n += len(c.Capabilities[i].Routes)
	}
	all := make([]route.Route, 0, n)
	for i := range c.Capabilities {
		all = append(all, c.Capabilities[i].Routes...)
	}
	return all
}

// Table is the routes, compiled, with the owners that the file wants.
func (c *Config) Table() *route.Table { return c.table }

// Warnings lists what is no problem, and hardly what was meant: routes that can
// never be chosen, that are written as other routers have it, and those that a
// POST could be meant for which is refused.
func (c *Config) Warnings() []Problem { return c.WarningsAside(func() {}) }

// WarningsAside does what Warnings does beside other work, see [ParseAside].
func (c *Config) WarningsAside(pause func()) []Problem {
	all := []Problem{}
	found := append(c.table.Shadowed(pause), c.table.Foreign()...)
	if looks := c.looksIntoBodies(); looks != nil {
		found = append(found, c.table.Hidden(looks, pause)...)
	}
	for _, p := range found {
		all = append(all, Problem{Line: p.Line, Text: p.Text, Hint: p.Hint})
	}
	return all
}

// looksIntoBodies returns what says of a route, nil for none, whether whoever
// answers it may take the method of a POST from its body; nil where nobody does.
func (c *Config) looksIntoBodies() func(*route.Route) bool {
	some, services := c.Monolith.BodyMethod, map[string]bool{}
	for i := range c.Capabilities {
		p := &c.Capabilities[i]
		services[p.Name] = p.Service.BodyMethod
		some = some || p.Service.BodyMethod
	}
	if !some {
		return nil
	}
	return func(r *route.Route) bool { return c.Monolith.BodyMethod || r != nil && services[r.Capability] }
}

// Resolve makes a path of the file absolute.
func (c *Config) Resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	joined := filepath.Join(filepath.Dir(c.Path), path)
	if absolute, err := filepath.Abs(joined); err == nil {
		return absolute
	}
	return joined // the working folder is gone
}

// Digest names what a capability's evidence is bound to: everything declared
// about it but the owner words and the waivers, which change along the way, the
// contract, which evidence is bound to by what is in it, and how long and how
// often the service is asked, which changes nothing of what it says.
func (p *Capability) Digest() string {
	type bound struct {
		Service      spoken
		CanaryBy     string
		Routes       []string
		Writes       []bool
		EncodedSlash []bool
		Plan         string
	}
	b := bound{Service: p.Service.spoken(), CanaryBy: p.CanaryBy}
	for _, r := range p.Routes {
		b.Routes = append(b.Routes, r.ID)
		b.Writes = append(b.Writes, r.Writes)
		b.EncodedSlash = append(b.EncodedSlash, r.EncodedSlash)
	}
	if p.Data != nil {
		b.Plan = p.Data.Digest()
	}
	raw, err := json.Marshal(b)
	if err != nil {
		panic(err) // plain strings and numbers always marshal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// Waiver returns the waiver of a gate that holds at a moment.
func (p *Capability) Waiver(gate string, now time.Time) (Waiver, bool) {
	for _, w := range p.Waivers {
		if w.Gate == gate && now.Before(w.Until) {
			return w, true
		}
	}
	return Waiver{}, false
}

// WritesOwner returns what the words of the write routes say, which is one
// word for all of them; false where the capability has no write route.
func (p *Capability) WritesOwner() (route.Stage, bool) {
	for _, r := range p.Routes {
		if r.Writes {
			return r.Owner.Stage, true
		}
	}
	return route.Monolith, false
}
