package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"stranglerfig/strangler-proxy/route"
)

// readings are the words for how an application reads a difference between two
// paths, by their number.
var readings = []string{route.Refuse: "refuse", route.Distinct: "distinct", route.Same: "same"}

// undeclared stands for a reading that the file does not say, until it is known
// what the monolith's is.
const undeclared route.Reading = 255

// facets are the differences, by their keys.
func facets(p *route.Profile) map[string]*route.Reading {
	return map[string]*route.Reading{
		"trailing_slash": &p.TrailingSlash, "case": &p.Case, "double_slash": &p.DoubleSlash, "encoded_slash": &p.EncodedSlash, "parameters": &p.Parameters,
	}
}

// paths reads how an application reads paths. Without a node nothing is said.
func (p *parser) paths(where string, n *yaml.Node, to *route.Profile) {
	known := field{}
	for key, facet := range facets(to) {
		*facet = undeclared
		known[key] = func(_, v *yaml.Node) {
			text, ok := p.plain(where+"."+key, v)
			if !ok {
				return
			}
			at := slices.Index(readings, text)
			if at < 0 {
				p.problem(v.Line, fmt.Sprintf("%s.%s: %q: accepted are %s", where, key, text, strings.Join(readings, ", ")), closest(text, readings))
				return
			}
			*facet = route.Reading(at)
		}
	}
	if n != nil {
		p.each(where, n, known)
	}
}

// agree fills in what backends do not say about paths: the monolith is not
// known, and a service is made to read as the monolith does, but is not sent
// parameters that it does not ask for.
func (p *parser) agree() {
	c := p.cfg
	of := facets(&c.Monolith.Paths)
	for _, facet := range of {
		if *facet == undeclared {
			*facet = route.Refuse
		}
	}
	for i := range c.Capabilities {
		for key, facet := range facets(&c.Capabilities[i].Service.Paths) {
			switch {
			case *facet != undeclared:
			case key == "parameters" && *of[key] == route.Same:
				*facet = route.Distinct
			default:
				*facet = *of[key]
			}
		}
		for _, r := range c.Capabilities[i].Routes {
			if r.EncodedSlash && c.Monolith.Paths.EncodedSlash == route.Same {
				p.problem(r.Line, fmt.Sprintf("route %q: encoded_slash: true has no effect, because monolith.paths.encoded_slash is same", r.ID), "take out one of the two")
			}
		}
	}
}

// Paths returns the profile by which requests are routed: the monolith's, beside
// those of the services.
func (c *Config) Paths() route.Profile {
	profile := c.Monolith.Paths
	for _, capability := range c.Capabilities {
		profile = profile.Beside(capability.Service.Paths)
	}
	return profile
}
