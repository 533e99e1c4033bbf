package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"stranglerfig/migrations/mapping"
	"stranglerfig/strangler-proxy/route"
)

func (p *parser) capabilities(n *yaml.Node) {
	if n.Tag == "!!null" {
		return
	}
	p.pairs("capabilities", n, func(key, v *yaml.Node) {
		if !capabilityName.MatchString(key.Value) {
			p.problem(key.Line, fmt.Sprintf("capability %q: a name is lower-case letters, digits and hyphens", key.Value), "")
		}
		p.cfg.Capabilities = append(p.cfg.Capabilities, p.capability(key, v))
	})
}

var capabilityName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (p *parser) capability(key, n *yaml.Node) Capability {
	c := Capability{Name: key.Value, Line: key.Line}
	where := "capabilities." + c.Name
	var data *yaml.Node
	givenUp := false
	p.each(where, n, field{
		"service": func(_, v *yaml.Node) { c.Service = p.backend(where+".service", v) },
		"canary": func(_, v *yaml.Node) {
			p.each(where+".canary", v, field{"by": func(_, v *yaml.Node) { c.CanaryBy = p.canaryBy(where+".canary.by", v) }})
		},
		"routes":   func(_, v *yaml.Node) { c.Routes = p.routes(c.Name, where+".routes", v) },
		"data":     func(_, v *yaml.Node) { data = v },
		"contract": func(_, v *yaml.Node) { c.Contract = p.cfg.Resolve(p.text(where+".contract", v)) },
		"rollback": p.either(where+".rollback", &givenUp, "kept", "given-up"),
		"copy": func(_, v *yaml.Node) {
			p.each(where+".copy", v, field{
				"workers": p.workers(where+".copy.workers", &c.Copy.Workers), "rows_per_second": number(p, where+".copy.rows_per_second", &c.Copy.RowsPerSecond),
				"max_lag": p.duration(where+".copy.max_lag", &c.Copy.MaxLag),
			})
		},
		"log_budget": p.size(where+".log_budget", &c.LogBudget),
		"writers":    func(_, v *yaml.Node) { c.Writers = p.list(where+".writers", v) },
		"shadow":     func(_, v *yaml.Node) { p.capabilityShadow(where+".shadow", v, &c) },
		"pair":       func(_, v *yaml.Node) { c.Pair = p.pair(where+".pair", v) },
		"waive":      func(_, v *yaml.Node) { c.Waivers = p.waivers(where+".waive", v) },
	})
	if c.Service.URL == "" && n.Kind == yaml.MappingNode && !p.mentions(where+".service") {
		p.problem(key.Line, where+": service is missing", "service: {url: http://127.0.0.1:9102}")
	}
	if data != nil {
		p.moving[c.Name] = true
		c.Data = p.data(c.Name, where, data, givenUp)
	}
	p.checkWrites(where, c)
	return c
}

// maxWorkers is how many parts of a table may be copied side by side.
const maxWorkers = 16

func (p *parser) workers(where string, to *int) func(_, v *yaml.Node) {
	return func(k, v *yaml.Node) {
		if number(p, where, to)(k, v); *to > maxWorkers {
			p.problem(v.Line, fmt.Sprintf("%s: %d is more than %d", where, *to, maxWorkers), "")
		}
	}
}

// mentions reports whether a problem already speaks of a place.
func (p *parser) mentions(where string) bool {
	return slices.ContainsFunc(p.problems, func(q Problem) bool { return strings.HasPrefix(q.Text, where) })
}

func (p *parser) canaryBy(where string, n *yaml.Node) string {
	text := p.text(where, n)
	kind, name, named := strings.Cut(text, ":")
	if text == "client-ip" || named && name != "" && (kind == "cookie" || kind == "header") {
		return text
	}
	p.problem(n.Line, fmt.Sprintf("%s: %q: accepted are cookie:NAME, header:NAME, client-ip", where, text), "")
	return ""
}

func (p *parser) routes(capability, where string, n *yaml.Node) []route.Route {
	all := make([]route.Route, 0, len(meant(n).Content)/2)
	p.pairs(where, n, func(key, v *yaml.Node) {
		r, err := route.Parse(key.Value)
		if err != nil {
			p.problem(key.Line, where+": "+err.Error(), "")
			return
		}
		r.Capability, r.Line = capability, key.Line
		word := v
		if v.Kind == yaml.MappingNode {
			word = nil
			p.each(where+" "+r.ID, v, field{
				"owner":         func(_, v *yaml.Node) { word = v },
				"writes":        p.either(where+" "+r.ID+" writes", &r.Writes, "false", "true"),
				"shadow":        func(_, v *yaml.Node) { p.routeShadow(where+" "+r.ID+" shadow", v, r.ID) },
				"encoded_slash": p.either(where+" "+r.ID+" encoded_slash", &r.EncodedSlash, "false", "true"),
			})
			if word == nil {
				p.problem(key.Line, fmt.Sprintf("route %q has no owner: accepted are %s", r.ID, route.AcceptedOwners), "")
				return
			}
		}
		owner, err := route.ParseOwner(p.text(where+" "+r.ID, word))
		if err != nil {
			p.problem(word.Line, fmt.Sprintf("route %q: %v", r.ID, err), "")
			return
		}
		r.Owner = owner
		all = append(all, r)
	})
	return all
}

// checkWrites sees that the write routes of a capability agree.
func (p *parser) checkWrites(where string, c Capability) {
	var first *route.Route
	for i, r := range c.Routes {
		if !r.Writes {
			continue
		}
		if r.Owner.Stage == route.Shadow || r.Owner.Stage == route.Canary {
			p.problem(r.Line, fmt.Sprintf("route %q writes, so its owner cannot be %q: accepted are monolith, service", r.ID, r.Owner), "a write must reach one owner only")
			continue
		}
		if first == nil {
			first = &c.Routes[i]
			continue
		}
		if p.moving[c.Name] && r.Owner != first.Owner {
			p.problem(r.Line, fmt.Sprintf("%s: write route %q is owned by %q, but %q (line %d) by %q: routes that write the same tables move together", where, r.ID, r.Owner, first.ID, first.Line, first.Owner),
				"give them the same owner, or run: strangler cutover "+c.Name)
		}
	}
}

func (p *parser) waivers(where string, n *yaml.Node) []Waiver {
	if n.Kind != yaml.SequenceNode {
		p.problem(n.Line, where+": expected a list of waivers", "waive: [{gate: shadow, reason: …, by: …, until: 2030-01-31}]")
		return nil
	}
	var all []Waiver
	for _, item := range n.Content {
		var w Waiver
		var until string
		p.each(where, item, field{
			"gate": p.into(where+".gate", &w.Gate), "reason": p.into(where+".reason", &w.Reason),
			"by": p.into(where+".by", &w.By), "until": p.into(where+".until", &until),
		})
		if !slices.Contains(Gates, w.Gate) {
			p.problem(item.Line, fmt.Sprintf("%s: gate %q: accepted are %s", where, w.Gate, strings.Join(Gates, ", ")), "")
		}
		if w.Reason == "" || w.By == "" {
			p.problem(item.Line, where+": a waiver names its reason and who answers for it (by)", "")
		}
		var err error
		if w.Until, err = ParseUntil(until); err != nil {
			p.problem(item.Line, fmt.Sprintf("%s: until %q: accepted are a date such as 2030-01-31 and a time such as 2030-01-31T12:00:00Z", where, until), "")
		}
		all = append(all, w)
	}
	return all
}

// ParseUntil reads a date, which lasts to its end in UTC, or a time.
func ParseUntil(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	return time.Parse(time.RFC3339, text)
}

func (p *parser) data(capability, where string, n *yaml.Node, givenUp bool) *mapping.Plan {
	spec := mapping.Spec{Capability: capability, GiveUpRollback: givenUp}
	before := len(p.problems)
	p.pairs(where+".data", n, func(key, v *yaml.Node) {
		spec.Tables = append(spec.Tables, p.table(where+".data."+key.Value, key, v))
	})
	told := p.problems[before:]
	plan, problems := mapping.Compile(spec)
	for _, q := range problems {
		line := q.Line
		if line == 0 {
			line = n.Line
		}
		if slices.ContainsFunc(told, func(have Problem) bool { return have.Line == line }) {
			continue // a part that could not be read, and is therefore missing
		}
		p.problem(line, where+".data: "+q.String(), q.Hint)
	}
	return plan
}

func (p *parser) table(where string, key, n *yaml.Node) mapping.TableSpec {
	t := mapping.TableSpec{To: key.Value, Line: key.Line}
	p.each(where, n, field{
		"from":    p.into(where+".from", &t.From),
		"key":     func(_, v *yaml.Node) { t.Key = p.list(where+".key", v) },
		"columns": func(_, v *yaml.Node) { t.Columns = p.columns(where+".columns", v) },
	})
	return t
}

// list reads one value, or a list of them.
func (p *parser) list(where string, n *yaml.Node) []string {
	var all []string
	for _, item := range items(n) {
		all = append(all, p.text(where, item))
	}
	return all
}

// items returns the nodes of a list, or the one value that stands alone.
func items(n *yaml.Node) []*yaml.Node {
	if meant(n).Kind == yaml.SequenceNode {
		return meant(n).Content
	}
	return []*yaml.Node{n}
}

func (p *parser) columns(where string, n *yaml.Node) []mapping.ColumnSpec {
	var all []mapping.ColumnSpec
	p.pairs(where, n, func(key, v *yaml.Node) {
		c := mapping.ColumnSpec{To: key.Value, Line: key.Line}
		at := where + "." + key.Value
		if v.Kind == yaml.ScalarNode {
			c.From = p.text(at, v)
			all = append(all, c)
			return
		}
		p.each(at, v, field{
			"from": p.into(at+".from", &c.From), "time": p.into(at+".time", &c.Time),
			"zone": p.into(at+".zone", &c.Zone), "cast": p.into(at+".cast", &c.Cast),
			"constant": func(_, v *yaml.Node) { text := p.text(at+".constant", v); c.Constant = &text },
			"scale": func(_, v *yaml.Node) {
				scale, err := strconv.Atoi(p.text(at+".scale", v))
				if err != nil {
					p.problem(v.Line, fmt.Sprintf("%s.scale: %s is not a whole number", at, describe(v)), "")
				}
				c.Scale = &scale
			},
			"enum": func(_, v *yaml.Node) {
				p.pairs(at+".enum", v, func(key, value *yaml.Node) {
					c.Enum = append(c.Enum, mapping.EnumPair{From: key.Value, To: p.text(at+".enum", value)})
				})
			},
		})
		all = append(all, c)
	})
	return all
}
