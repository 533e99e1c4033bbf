package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/route"
)

func (e *env) initVerb() *cobra.Command {
	var monolith, log string
	cmd := verb("init", "Write a first strangler.yaml",
		"init writes a file under which everything still goes to the monolith. From an access log\nin the common format it suggests routes, which are written as comments to choose from.", cobra.NoArgs,
		func(*cobra.Command, []string) error {
			var routes []suggestion
			if log != "" {
				var err error
				if routes, err = suggest(log); err != nil {
					return err
				}
			}
			text, err := startable(e.config, monolith, routes)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(e.config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return &api.Error{Text: e.config + " exists already", Hint: "name another file with -c", Code: api.ExitNo}
			}
			if err != nil {
				return err
			}
			_, err = f.WriteString(text)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			if e.json {
				e.print(map[string]any{"config": e.config, "suggested": len(routes)})
				return nil
			}
			fmt.Fprintf(e.out, "wrote %s (%s suggested)\nnext: strangler serve -c %s\n", e.config, numbered(len(routes), "route", "routes"), e.config)
			return nil
		})
	cmd.Flags().StringVar(&monolith, "monolith", "", "the monolith's URL, such as http://127.0.0.1:9000")
	cmd.Flags().StringVar(&log, "access-log", "", "an access log in the common log format")
	if err := cmd.MarkFlagRequired("monolith"); err != nil {
		panic(err) // the flag is declared two lines above
	}
	return cmd
}

// startable is a first file that is valid. Where the monolith has the port that
// would be listened on, it is the next one; nothing else but the address can be
// wrong.
func startable(path, monolith string, routes []suggestion) (text string, err error) {
	for _, listen := range []string{":8080", ":8081"} {
		text = starter(listen, monolith, routes)
		if _, err = config.Parse(path, []byte(text), os.LookupEnv); err == nil {
			return text, nil
		}
	}
	var wrong *config.Error
	if errors.As(err, &wrong) {
		p := wrong.Problems[0]
		err = &api.Error{Text: "--monolith: " + p.Text, Hint: p.Hint, Code: api.ExitNo}
	}
	return "", err
}

// suggestion is a route seen in a log.
type suggestion struct {
	id    string
	times int
}

// suggest reads routes from an access log: numbers and long ids in a path
// become wildcards.
func suggest(path string) ([]suggestion, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the access log: %w", err)
	}
	defer f.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		_, after, ok := strings.Cut(lines.Text(), `"`)
		request, _, ok2 := strings.Cut(after, `"`)
		fields := strings.Fields(request)
		if !ok || !ok2 || len(fields) < 2 {
			continue
		}
		target, _, _ := strings.Cut(fields[1], "?")
		target, err := route.Canonical(target)
		if err != nil {
			continue
		}
		id := fields[0] + " " + generalize(target)
		if _, err := route.Parse(id); err == nil {
			seen[id]++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the access log: %w", err)
	}
	if len(seen) == 0 {
		return nil, &api.Error{Text: path + " holds no request in the common log format", Code: api.ExitNo}
	}
	all := make([]suggestion, 0, len(seen))
	for id, n := range seen {
		all = append(all, suggestion{id, n})
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].times > all[j].times || all[i].times == all[j].times && all[i].id < all[j].id
	})
	return all[:min(len(all), 200)], nil
}

func generalize(path string) string {
	segments := strings.Split(path, "/")
	n := 0
	for i, s := range segments {
		digits := strings.Count(s, "") - 1 - len(strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, s))
		if s != "" && (digits == len(s) || len(s) >= 16 && digits >= 4) {
			n++
			segments[i] = "{id}"
			if n > 1 {
				segments[i] = fmt.Sprintf("{id%d}", n)
			}
		}
	}
	return strings.Join(segments, "/")
}

func starter(listen, monolith string, routes []suggestion) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Who owns what. Saving this file reloads it; strangler check looks at it first.
listen: %s
admin: {listen: 127.0.0.1:8079}
state: ./strangler-state
monolith: {url: %s}   # for data moves also: database: sqlite:<path>

# Everything that is not listed goes to the monolith.
capabilities:
`, listen, monolith)
	if len(routes) == 0 {
		b.WriteString("#  billing:\n#    service: {url: http://127.0.0.1:9102}\n#    routes:\n#      GET /invoices/{id}: monolith   # then: shadow, canary 10%, service\n")
		return b.String()
	}
	b.WriteString("# Seen in the access log, the most frequent first: group them by capability.\n")
	for _, r := range routes {
		fmt.Fprintf(&b, "#      %s: monolith   # %d requests\n", r.id, r.times)
	}
	return b.String()
}
