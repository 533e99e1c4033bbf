package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Pair is a second monolith and a second service, of the builds that serve, with
// databases of their own: contracts that write are replayed on them.
type Pair struct {
	Monolith, Service Instance
	Headers           map[string]string // of every request that is sent to them
	States            string            // path at which both set up provider states
}

// Instance is one application of a pair.
type Instance struct{ URL, Database string }

// side is an instance and what the file calls it.
type side struct {
	Instance
	name string
}

func (p *Pair) both() []side { return []side{{p.Monolith, "monolith"}, {p.Service, "service"}} }

func (p *parser) pair(where string, n *yaml.Node) *Pair {
	pair := Pair{States: "/_states"}
	p.each(where, n, field{
		"monolith": func(_, v *yaml.Node) { pair.Monolith = p.instance(where+".monolith", v) },
		"service":  func(_, v *yaml.Node) { pair.Service = p.instance(where+".service", v) },
		"headers":  func(_, v *yaml.Node) { pair.Headers = p.header(where+".headers", v) },
		"states":   p.into(where+".states", &pair.States),
	})
	for _, i := range pair.both() {
		if (i.URL == "" || i.Database == "") && !p.mentions(where+"."+i.name) {
			p.problem(n.Line, fmt.Sprintf("%s.%s: url and database are both needed", where, i.name), i.name+": {url: http://127.0.0.1:9900, database: sqlite:pair.db}")
		}
	}
	if pair.States == "" || pair.States[0] != '/' {
		p.problem(n.Line, fmt.Sprintf("%s.states: %q is no path", where, pair.States), "states: /_states")
	}
	return &pair
}

func (p *parser) instance(where string, n *yaml.Node) Instance {
	var i Instance
	p.each(where, n, field{
		"url": func(_, v *yaml.Node) {
			if urls := p.urls(where+".url", v); len(urls) > 0 {
				i.URL = urls[0]
			}
		},
		"database": p.into(where+".database", &i.Database),
	})
	i.Database = p.database(where, n.Line, i.Database)
	return i
}

// checkPairs sees that nothing that serves clients is written to.
func (p *parser) checkPairs() {
	for _, k := range p.cfg.Capabilities {
		if k.Pair == nil {
			continue
		}
		where := "capabilities." + k.Name + ".pair"
		for _, i := range k.Pair.both() {
			for _, b := range append(p.services(), p.cfg.Monolith) {
				if i.URL != "" && i.URL == b.URL {
					p.problem(k.Line, where+"."+i.name+": "+i.URL+" serves clients", "start a second monolith and a second service with databases of their own")
				}
			}
			if i.Database != "" && p.cfg.Serves(i.Database) {
				p.problem(k.Line, where+"."+i.name+".database: that is a database that serves clients", "start a second monolith and a second service with databases of their own")
			}
		}
	}
}

func (p *parser) services() []Backend {
	var all []Backend
	for _, k := range p.cfg.Capabilities {
		all = append(all, k.Service)
	}
	return all
}
