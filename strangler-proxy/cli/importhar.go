package cli

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/har"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

// importHAR reads an archive, redacts it, and distils a contract from it.
func (e *env) importHAR(data []byte, f importFlags) (imported, error) {
	cfg, err := e.load()
	if err != nil && (f.capability != "" || !errors.Is(err, fs.ErrNotExist)) {
		return imported{}, err
	}
	if err != nil {
		cfg = &config.Config{}
	}
	c, err := f.chooser(cfg)
	if err != nil {
		return imported{}, err
	}
	redactor, err := importRedactor(cfg)
	if err != nil {
		return imported{}, err
	}
	traffic, err := har.Read(bytes.NewReader(data), c.choose)
	if err != nil {
		return imported{}, err
	}
	if len(c.hosts) > 1 {
		return imported{}, fmt.Errorf("it holds traffic of several hosts: name one with --host, of %s", strings.Join(slices.Sorted(maps.Keys(c.hosts)), ", "))
	}
	for n := range traffic.Exchanges {
		traffic.Exchanges[n] = redactor.Redact(traffic.Exchanges[n])
	}
	provider := f.capability
	for host := range c.hosts {
		if provider == "" {
			provider = host
		}
	}
	if len(traffic.Exchanges) == 0 {
		return imported{}, fmt.Errorf("it holds no exchange that is wanted (left out: %s)", cmp.Or(counted(traffic.Left), "none"))
	}
	d := tape.Distill(traffic.Exchanges, tape.Options{Consumer: "clients", Provider: provider, Cover: 1})
	if d.Skipped.Failed > 0 {
		traffic.Left["answered with 5xx"] = d.Skipped.Failed
	}
	return imported{contract: d.Contract, left: traffic.Left}, nil
}

// importRedactor is the redactor of recordings. Where no strangler has served
// yet there is no token, and pseudonyms are those of this import only.
func importRedactor(cfg *config.Config) (*tape.Redactor, error) {
	if cfg.Path == "" {
		return tape.NewRedactor([]byte(rand.Text()), nil), nil
	}
	token, err := control.Token(cfg)
	if errors.Is(err, fs.ErrNotExist) {
		token, err = rand.Text(), nil
	}
	return tape.NewRedactor([]byte(token), cfg.Redact), err
}

// chooser chooses from an archive, and notes the hosts of what it chose.
type chooser struct {
	host  string
	table *route.Table // nil: all
	hosts map[string]int
}

func (f importFlags) chooser(cfg *config.Config) (*chooser, error) {
	c := &chooser{host: strings.ToLower(f.host), hosts: map[string]int{}}
	var routes []route.Route
	if f.capability != "" {
		p, ok := cfg.Capability(f.capability)
		if !ok {
			return nil, api.NoCapability(f.capability, cfg.Names())
		}
		routes = p.Routes
	}
	for _, pattern := range f.routes {
		r, err := route.Parse(pattern)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	if len(routes) == 0 {
		return c, nil
	}
	table, problems := route.Compile(routes, cfg.Paths())
	if len(problems) > 0 {
		return nil, errors.New(problems[0].Text)
	}
	c.table = table
	return c, nil
}

func (c *chooser) choose(r *http.Request) (pattern string, asks []string, wanted bool) {
	host := strings.ToLower(r.Host)
	if c.host != "" && host != c.host && (&url.URL{Host: host}).Hostname() != c.host {
		return "", nil, false
	}
	if c.table != nil {
		path, err := route.Canonical(r.URL.EscapedPath())
		if err == nil {
			path, _, err = c.table.Normal(path)
		}
		if err != nil {
			return "", nil, false
		}
		found, err := c.table.Lookup(route.Request{Method: r.Method, Host: r.Host, Path: path, Query: r.URL.RawQuery, Header: fieldsOf(r.Header)})
		if err != nil || found == nil {
			return "", nil, false
		}
		pattern, asks = found.ID, found.Predicates()
	}
	c.hosts[host]++
	return pattern, asks, true
}

// fieldList is a header as routes look at it.
type fieldList [][2]string

func fieldsOf(header http.Header) fieldList {
	var list fieldList
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			list = append(list, [2]string{name, value})
		}
	}
	return list
}

// Fields implements [route.Header].
func (l fieldList) Fields() int { return len(l) }

// Field implements [route.Header].
func (l fieldList) Field(i int) (name, value string) { return l[i][0], l[i][1] }
