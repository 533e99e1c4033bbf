package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/contract"
)

// uncaptured says why an interaction cannot be played: what it uses was not
// captured from every target, because the answer did not have it or the request
// was not sent.
func (r *runner) uncaptured(i contract.Interaction) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range i.Chain.Uses {
		for n, t := range r.Targets {
			if _, ok := r.captured[n][u.Name]; ok {
				continue
			}
			by := ""
			for _, other := range r.Contract.Interactions {
				for _, c := range other.Chain.Captures {
					if c.Name == u.Name {
						by = other.Request.Method + " " + other.Request.Path
					}
				}
			}
			return fmt.Sprintf("it uses %q, which was not captured from the %s's answer to %s: see that interaction", u.Name, t.Name, by)
		}
	}
	return ""
}

// chained is the request with what the nth target has answered before.
func (r *runner) chained(n int, i contract.Interaction, q contract.Request) (contract.Request, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, u := range i.Chain.Uses {
		if q, err = u.Put(q, r.captured[n][u.Name]); err != nil {
			return q, fmt.Errorf("use %q: %w", u.Name, err)
		}
	}
	return q, nil
}

// capture takes what others use from the nth target's answer, and reports what
// is missing there or is another value than the one captured.
func (r *runner) capture(n int, i contract.Interaction, answer compare.Message) []compare.Difference {
	if i.Chain.Empty() || answer.Status != i.Response.Status {
		return nil // the status says it already
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var said []compare.Difference
	for _, c := range i.Chain.Captures {
		value, ok := c.Take(answer.Header, answer.Body)
		if !ok {
			said = append(said, compare.Difference{Path: c.From, Kind: compare.Missing, Expected: "a value to capture as " + c.Name, Rule: "chain"})
			continue
		}
		r.captured[n][c.Name] = value
	}
	for _, u := range i.Chain.Returns {
		want, known := r.captured[n][u.Name]
		if got, _ := u.Says(answer.Header, answer.Body); known && got != want {
			said = append(said, compare.Difference{Path: u.In, Kind: compare.Value, Expected: want, Actual: got, Rule: "chain " + u.Name})
		}
	}
	return said
}

// expected is the interaction's example as the nth target is to give it: where
// the answer is a text or a header, values that were captured stand in the
// place of the recorded ones.
func (r *runner) expected(n int, i contract.Interaction) compare.Message {
	m := compare.Message{Status: i.Response.Status, Header: i.Response.Header, Body: i.Response.Body}
	if i.Chain.Empty() {
		return m
	}
	r.mu.Lock()
	now := maps.Clone(r.captured[n])
	r.mu.Unlock()
	return replaced(m, r.recorded(i), now)
}

// aligned is the nth target's answer with the first one's values in the place
// of its own, so that the two can be compared.
func (r *runner) aligned(n int, i contract.Interaction, answer compare.Message) compare.Message {
	if i.Chain.Empty() {
		return answer
	}
	r.mu.Lock()
	from, to := map[string]string{}, map[string]string{}
	for name := range r.recorded(i) {
		from[name], to[name] = r.captured[n][name], r.captured[0][name]
	}
	r.mu.Unlock()
	return replaced(answer, from, to)
}

// recorded are the values of an interaction's chain as they were in the
// examples they were captured from.
func (r *runner) recorded(i contract.Interaction) map[string]string {
	ours := map[string]bool{}
	for _, c := range i.Chain.Captures {
		ours[c.Name] = true
	}
	for _, u := range slices.Concat(i.Chain.Uses, i.Chain.Returns) {
		ours[u.Name] = true
	}
	values := map[string]string{}
	for _, other := range r.Contract.Interactions {
		for _, c := range other.Chain.Captures {
			if value, ok := c.Take(other.Response.Header, other.Response.Body); ok && ours[c.Name] {
				values[c.Name] = value
			}
		}
	}
	return values
}

// replaced puts values in the place of others, as whole words, in headers and in
// a body that is text. In JSON their places are known: see Chain.Returns.
func replaced(m compare.Message, from, to map[string]string) compare.Message {
	text := !json.Valid(m.Body)
	for name, old := range from {
		value, known := to[name]
		if !known || old == value || old == "" {
			continue
		}
		word, err := regexp.Compile(`(^|[^\pL\pN])` + regexp.QuoteMeta(old) + `($|[^\pL\pN])`)
		if err != nil {
			continue // quoted, it always compiles
		}
		with := "${1}" + strings.ReplaceAll(value, "$", "$$") + "${2}"
		header := map[string][]string{}
		for key, values := range m.Header {
			for _, v := range values {
				header[key] = append(header[key], word.ReplaceAllString(v, with))
			}
		}
		m.Header = header
		if text && m.Body != nil {
			m.Body = word.ReplaceAll(m.Body, []byte(with))
		}
	}
	return m
}
