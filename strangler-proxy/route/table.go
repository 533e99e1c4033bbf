package route

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"unicode"
)

// Route is one declared route of a capability.
type Route struct {
	// ID is the route as it was declared, "GET /invoices/{id}".
	ID         string
	Capability string
	Owner      Owner // what the proxy obeys
	Writes     bool
	// EncodedSlash admits %2F within a path segment.
	EncodedSlash bool

	// What every request touches stands together.
	place      int32 // among the routes of its table
	next       int32 // the route to look at after this one, where a path ends; of a table only
	fan        int32 // from 1 on, of the routes of this path, if this is the first of them; 0: they are not filed
	method     string
	owned      string // see ownedBy; "" outside of a table
	predicates []predicate

	Line     int // in the file it was declared in
	host     string
	segments []segment // as the table is keyed by them
	declared []segment // of a table
	capitals bool      // a literal has letters in upper case
}

// segment is one part of a pattern: a literal, {name}, or {name...}.
type segment struct {
	text string // canonical, for a literal
	kind segmentKind
}

type segmentKind uint8

const (
	literal segmentKind = iota
	single
	rest
)

// Problem is something a set of routes has wrong.
type Problem struct {
	Line int
	Text string
	Hint string
}

// Parse reads a declaration "[METHOD ][HOST]/PATH[ PREDICATE]…", up to the
// predicates in the syntax of Go's http.ServeMux. Writes is set by the method:
// all but GET, HEAD and OPTIONS.
func Parse(id string) (Route, error) {
	words := strings.Fields(id)
	r := Route{ID: strings.Join(words, " ")}
	target := ""
	if len(words) > 0 {
		target, words = words[0], words[1:]
	}
	if method := target; len(words) > 0 && !strings.Contains(method, "/") {
		r.method, target, words = method, words[0], words[1:]
		if method != strings.ToUpper(method) {
			return r, fmt.Errorf("route %q: the method is written in capitals, such as GET", id)
		}
		if strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
			return r, fmt.Errorf("route %q: %q is not a method", id, method)
		}
	}
	slash := strings.IndexByte(target, '/')
	if slash < 0 {
		return r, fmt.Errorf("route %q: expected \"METHOD /path\", such as \"GET /invoices/{id}\"", id)
	}
	r.host = strings.ToLower(target[:slash])
	if r.host != bareHost(r.host) || strings.ContainsAny(r.host, "{}") {
		return r, fmt.Errorf("route %q: %q is not a host: write a name without a port", id, r.host)
	}
	r.Writes = !Reads(r.method)
	segments, err := parsePattern(target[slash:])
	if err != nil {
		return r, fmt.Errorf("route %q: %w", id, err)
	}
	r.segments = segments
	if r.predicates, err = parsePredicates(words); err != nil {
		return r, fmt.Errorf("route %q: %w", id, err)
	}
	return r, nil
}

// Reads reports whether a method only reads. A route without a method counts
// as writing.
func Reads(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

func parsePattern(path string) ([]segment, error) {
	if len(path) > MaxPath {
		return nil, fmt.Errorf("the path is longer than %d bytes, which no request is", MaxPath)
	}
	names := map[string]bool{}
	parts := strings.Split(path[1:], "/")
	all := make([]segment, 0, len(parts))
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "" && last:
			all = append(all, segment{kind: rest}) // "/files/" is everything below
		case part == "":
			return nil, errors.New("an empty segment: write / once")
		case part == "{$}" && last:
			all = append(all, segment{kind: literal})
		case strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}"):
			name, many := strings.CutSuffix(part[1:len(part)-1], "...")
			if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c != '_' && c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
				return nil, fmt.Errorf("%q is not a wildcard: write {name} or, at the end, {name...}; a name is of letters, digits, - and _", part)
			}
			if names[name] {
				return nil, fmt.Errorf("wildcard {%s} appears twice", name)
			}
			names[name] = true
			if many && !last {
				return nil, fmt.Errorf("{%s...} must be the last segment", name)
			}
			kind := single
			if many {
				kind = rest
			}
			all = append(all, segment{kind: kind})
		case strings.ContainsAny(part, "{}"):
			return nil, fmt.Errorf("%q mixes text and a wildcard: a wildcard is a whole segment", part)
		default:
			text, err := Canonical("/" + part)
			if err != nil {
				return nil, err
			}
			if text == "/" {
				return nil, fmt.Errorf("%q is a dot segment, which no request keeps", part)
			}
			all = append(all, segment{text: text[1:]})
		}
	}
	return all, nil
}

// Table is a compiled, immutable set of routes. Looking up costs one step for
// each path segment at which routes part, whatever the number of routes.
//
// It is laid out for the memory: what a step needs is found in one place, a way
// that only one more pattern goes is one comparison of text, and nothing but
// the routes themselves has pointers.
type Table struct {
	profile  Profile
	hosts    map[string]int32 // the root of each host's routes
	anywhere int32            // the root of the routes without a host; none: there is none
	nodes    []node
	edges    []edge // by hash; as many as a power of two, at most half of them taken
	seed     maphash.Seed
	text     string   // the literals, see [tree.write]
	routes   []Route  // in the order they were declared
	asks     bool     // some route has predicates
	fanned   []fan    // of paths with many routes that ask for values
	writing  []string // see [Table.Writing]
	depth    int      // segments of the longest route
	slashed  bool     // some route meets paths that end with a slash
}

// node is a place where routes part.
type node struct {
	single   place // behind a wildcard; its zero value: there is none
	here     int32 // the first of the routes that end here, or none
	rest     int32 // the first of the routes that end in {name...} here, or none
	literals bool  // literal segments follow
}

// place is where a segment leads: a node, or the only way on from here, whose
// text says what is left of it.
type place struct {
	text int32 // where the text begins
	to   int32 // a node, or the complement of the first route at the end of the only way; 0: nowhere
}

// edge leads from a node to a place by a literal segment, which is at the
// beginning of the place's text.
type edge struct {
	from int32
	hash uint32
	place
}

const none = -1

// In the text of a way these stand for what a path cannot hold.
const (
	anySegment = '\x00'
	anyRest    = '\x01'
)

// Compile builds a table, or returns every problem: routes that are declared
// twice, and pairs that meet the same request with neither being narrower.
func Compile(routes []Route, profile Profile) (*Table, []Problem) {
	return CompileAside(routes, profile, func() {})
}

// CompileAside does what Compile does beside other work: it calls pause between
// any two routes, which may take its time.
func CompileAside(routes []Route, profile Profile, pause func()) (*Table, []Problem) {
	t := newTree(routes, profile, pause)
	if problems := t.conflicts(pause); len(problems) > 0 {
		return nil, problems
	}
	return t.table(pause), nil
}

// WithOwners returns the same table with other owners: those that owner names,
// by a route's ID. That costs a small part of compiling it, and next to nothing
// where they are the owners that it has.
func (t *Table) WithOwners(owner func(id string) Owner) *Table {
	made := t
	for i := range t.routes {
		is := owner(t.routes[i].ID)
		if is == t.routes[i].Owner {
			continue
		}
		if made == t {
			made = new(*t)
			made.routes = slices.Clone(t.routes)
		}
		made.routes[i].Owner = is
		made.routes[i].sayOwner()
	}
	return made
}

// Place is where a route that was looked up stands among those of its table,
// see [Table.Routes].
func (r *Route) Place() int { return int(r.place) }

// Routes returns the routes in the order they were declared.
func (t *Table) Routes() []*Route {
	all := make([]*Route, len(t.routes))
	for i := range t.routes {
		all[i] = &t.routes[i]
	}
	return all
}

// Len returns the number of routes.
func (t *Table) Len() int { return len(t.routes) }

// Asks reports whether a route of the table has predicates, so that a request's
// header and query matter.
func (t *Table) Asks() bool { return t.asks }
