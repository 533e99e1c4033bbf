package contract

import "stranglerfig/contract-tests/match"

// Identifiers are the places of a route's requests and answers that hold
// identifiers which each side may choose, but keeps. Those of one scope are
// numbered together.
type Identifiers struct {
	// Named are the answers' places that rules call so, by status: they may
	// differ wherever the sides are compared.
	Named map[int]match.Rules
	// Made are these and the places that chains capture from or expect a captured
	// value in, by status: they differ where each side makes its own, such as on a
	// store of its own.
	Made map[int]match.Rules
	// Uses are where requests say one that an answer made; Name is its scope.
	Uses []Use
}

// Identifiers finds them for each route. Interactions that name no route are
// left out.
func (c Contract) Identifiers() map[string]Identifiers {
	scopes := c.scopes()
	all := map[string]Identifiers{}
	for _, i := range c.Interactions {
		if i.Route == "" {
			continue
		}
		ids, ok := all[i.Route]
		if !ok {
			ids = Identifiers{Named: map[int]match.Rules{}, Made: map[int]match.Rules{}}
		}
		status := i.Response.Status
		named := onlyIDs(i.Response.Rules)
		ids.Named[status] = together(ids.Named[status], named)
		made := together(ids.Made[status], named)
		for _, place := range i.places() {
			made = called(made, place.In, scopes[place.Name])
		}
		ids.Made[status] = made
		for _, u := range i.Chain.Uses {
			ids.Uses = append(ids.Uses, Use{Name: scopes[u.Name], In: u.In})
		}
		all[i.Route] = ids
	}
	return all
}

// places are where an interaction's answer makes an identifier or says one.
func (i Interaction) places() []Use {
	var all []Use
	for _, c := range i.Chain.Captures {
		all = append(all, Use{Name: c.Name, In: c.From})
	}
	return append(all, i.Chain.Returns...)
}

// scopes finds what the captured values of a chain are numbered with: what the
// same place of a route's answers has is of one kind, however many interactions
// capture it; a rule for that place may name the scope.
func (c Contract) scopes() map[string]string {
	of, places := map[string]string{}, map[[2]string]string{}
	for _, i := range c.Interactions {
		for _, capture := range i.Chain.Captures {
			place := [2]string{i.Route, capture.From}
			if _, known := places[place]; !known {
				places[place] = c.scope(place, "chain "+capture.Name)
			}
			of[capture.Name] = places[place]
		}
	}
	return of
}

// scope is the one that a rule names for a place of a route's answers, or else
// another.
func (c Contract) scope(place [2]string, otherwise string) string {
	for _, i := range c.Interactions {
		if i.Route != place[0] || !i.Response.Rules.NamesIDs() {
			continue
		}
		if m, ok := ruleAt(i.Response.Rules, place[1]).Get(match.ID); ok {
			return m.Scope
		}
	}
	return otherwise
}

// ruleAt is the rule of a place of an answer.
func ruleAt(rules match.Rules, place string) match.Found {
	p, err := parseSpot(place)
	if err != nil {
		return match.Found{}
	}
	if p.part == "header" {
		return match.Found{List: rules.Header(p.keys[0].(string))}
	}
	return rules.For(bodyPath(place))
}

// bodyPath is the path within the body of a place of it.
func bodyPath(place string) match.Path {
	path, err := match.ParsePath(place)
	if err != nil || len(path) == 0 {
		return nil
	}
	return path[1:]
}

// lastOfPath finds the last segment of a URL's path, as [Capture.Take] does.
const lastOfPath = `(?:[^?#]*/)?([^/?#]+)/*(?:[?#].*)?`

// called are the rules with a place that holds an identifier of a scope, unless
// a rule says so already.
func called(rules match.Rules, place, scope string) match.Rules {
	p, err := parseSpot(place)
	if err != nil || ruleAt(rules, place).Has(match.ID) {
		return rules
	}
	if p.part == "header" {
		return rules.WithHeader(p.keys[0].(string), match.Must(match.Matcher{Kind: match.ID, Scope: scope, Value: lastOfPath}))
	}
	return rules.WithBody(bodyPath(place), match.Must(match.Matcher{Kind: match.ID, Scope: scope}))
}

// onlyIDs are the rules of an answer that call a value an identifier.
func onlyIDs(rules match.Rules) match.Rules {
	var out match.Rules
	if !rules.NamesIDs() {
		return out
	}
	for _, rule := range rules.Body() {
		if m, ok := (match.Found{List: rule.List}).Get(match.ID); ok {
			out = out.WithBody(rule.Path, m)
		}
	}
	for _, name := range rules.HeaderNames() {
		if m, ok := (match.Found{List: rules.Header(name)}).Get(match.ID); ok {
			out = out.WithHeader(name, m)
		}
	}
	return out
}

// together are the rules of both; where they are about one place, the first's.
func together(a, b match.Rules) match.Rules {
	for _, rule := range a.Body() {
		b = b.WithBody(rule.Path, rule.Matchers...)
	}
	for _, name := range a.HeaderNames() {
		b = b.WithHeader(name, a.Header(name).Matchers...)
	}
	return b
}
