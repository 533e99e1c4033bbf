package cli

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// complete draws what the flags leave to chance, refuses those that contradict
// each other, and returns the sides to ask.
func (f *verifyFlags) complete(cfg *config.Config, p *config.Capability) ([]verify.Target, error) {
	known := map[string]string{"monolith": cfg.Monolith.URL, "service": p.Service.URL}
	if f.pair {
		if p.Pair == nil {
			return nil, noPair(p)
		}
		known = map[string]string{"monolith": p.Pair.Monolith.URL, "service": p.Pair.Service.URL}
		f.unsafe, f.states = true, true
	}
	f.states = f.states || f.teardown || len(f.statesURL) > 0
	if f.concurrency < 0 || f.concurrency > 1 && (f.unsafe || f.states) {
		return nil, &api.Error{Text: fmt.Sprintf("--concurrency %d: accepted are 1 and more, and only 1 with --unsafe or --states, because interactions share the sides' data", f.concurrency), Code: api.ExitNo}
	}
	for f.seed == 0 {
		f.seed = rand.Uint64()
	}
	var all []verify.Target
	for _, item := range strings.Split(f.target, ",") {
		name, base, given := strings.Cut(strings.TrimSpace(item), "=")
		if !given {
			base = known[name]
		}
		if base == "" || (name != "monolith" && name != "service") {
			return nil, &api.Error{Text: fmt.Sprintf("--target %q: accepted are monolith, service, monolith=URL, service=URL", item), Code: api.ExitNo}
		}
		if !isAddress(base) {
			return nil, &api.Error{Text: fmt.Sprintf("--target %q: accepted are addresses such as http://127.0.0.1:9900 and https://…", item), Code: api.ExitNo}
		}
		if slices.ContainsFunc(all, func(t verify.Target) bool { return t.Name == name }) {
			return nil, &api.Error{Text: fmt.Sprintf("--target %q: %s is named twice", f.target, name), Code: api.ExitNo}
		}
		t := verify.Target{Name: name, BaseURL: strings.TrimSuffix(base, "/"), Header: map[string]string{}}
		if f.pair {
			maps.Copy(t.Header, p.Pair.Headers)
			t.States = t.BaseURL + p.Pair.States
		}
		for _, fill := range []func(*verify.Target) error{f.header, f.statesAt, f.rate} {
			if err := fill(&t); err != nil {
				return nil, err
			}
		}
		all = append(all, t)
	}
	return all, nil
}

// isAddress reports whether an application can be asked there.
func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// fieldName is what a header may be called (RFC 9110, 5.6.2).
var fieldName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// header adds the headers that are meant for a target.
func (f *verifyFlags) header(t *verify.Target) error {
	for _, h := range f.headers {
		key, value, ok := strings.Cut(h, ":")
		if !ok {
			return &api.Error{Text: fmt.Sprintf("--header %q: expected \"Name: value\"", h), Code: api.ExitNo}
		}
		if only, header, scoped := strings.Cut(key, "/"); scoped {
			if only != "monolith" && only != "service" {
				return &api.Error{Text: fmt.Sprintf("--header %q: %q is no side: accepted are monolith/ and service/ before the name", h, only), Code: api.ExitNo}
			}
			if only != t.Name {
				continue
			}
			key = header
		}
		if !fieldName.MatchString(strings.TrimSpace(key)) {
			return &api.Error{Text: fmt.Sprintf("--header %q: %q is no header's name: accepted are letters, digits and dashes", h, strings.TrimSpace(key)), Code: api.ExitNo}
		}
		missing := ""
		t.Header[strings.TrimSpace(key)] = os.Expand(strings.TrimSpace(value), func(name string) string {
			text, set := os.LookupEnv(name)
			if !set {
				missing = name
			}
			return text
		})
		if missing != "" {
			return &api.Error{Text: fmt.Sprintf("--header %q: the environment variable %s is not set", h, missing), Hint: "export " + missing + "=…", Code: api.ExitNo}
		}
	}
	return nil
}

// scoped takes TARGET=VALUE apart; a value without a target is for all.
func scoped(item, target string) (value string, mine bool) {
	for _, name := range []string{"monolith", "service"} {
		if value, ok := strings.CutPrefix(item, name+"="); ok {
			return value, name == target
		}
	}
	return item, true
}

// statesAt says where a target sets up provider states.
func (f *verifyFlags) statesAt(t *verify.Target) error {
	for _, item := range f.statesURL {
		value, mine := scoped(item, t.Name)
		switch {
		case !mine:
		case strings.HasPrefix(value, "/"):
			t.States = t.BaseURL + value
		case strings.HasPrefix(value, "http://"), strings.HasPrefix(value, "https://"):
			t.States = value
		default:
			return &api.Error{Text: fmt.Sprintf("--states-url %q: accepted are a path such as /_pact/states, http://… or https://…, and monolith=… or service=… before it", item), Code: api.ExitNo}
		}
	}
	return nil
}

// rate says how many requests a second a target may be sent.
func (f *verifyFlags) rate(t *verify.Target) error {
	for _, item := range f.rates {
		value, mine := scoped(item, t.Name)
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n > 0) {
			return &api.Error{Text: fmt.Sprintf("--rate %q: accepted are a number above 0, and monolith=N or service=N", item), Code: api.ExitNo}
		}
		if mine {
			t.Rate = n
		}
	}
	return nil
}
