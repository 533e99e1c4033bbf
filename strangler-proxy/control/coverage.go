package control

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/strangler-proxy/config"
)

// coverages remembers how much of a capability's last recording its contract
// covers: the gates are asked every second, and both files change seldom.
type coverages struct {
	mu    sync.Mutex
	known map[string]coverage // by capability and route
}

type coverage struct {
	of    string // names both files as they were
	found tape.Coverage
	err   error
}

// namedSorts is how many sorts a gate names.
const namedSorts = 3

// coverage says what the contract lacks of the traffic that was recorded last,
// of a route or of the whole capability, and the command that would settle it.
// What only pending interactions cover is held against nobody, and lacks as well.
// Where nothing was recorded nothing is asked for.
func (c *Control) coverage(p *config.Capability, digest, routeID string) (text, command string, enough bool) {
	path := c.lastTape(p)
	if path == "" {
		return "", "", true
	}
	found, err := c.coverages.of(p, path, digest, routeID)
	pending := fmt.Sprintf("%d of the %d requests recorded last are covered by pending interactions only, which are held against nobody", found.Pending, found.Weight)
	switch {
	case err != nil:
		return "what the contract covers cannot be told: " + err.Error(), "strangler contract record " + p.Name, false
	case found.Share() < tape.DefaultCover:
		return fmt.Sprintf("the contract covers %.2f %% of the %d requests recorded last, %.1f %% are asked for; it lacks %s",
				100*found.Share(), found.Weight, 100*tape.DefaultCover, listSorts(found.Unseen)),
			fmt.Sprintf("strangler contract distill %s --merge %s --out NEW.pact.json", path, p.Contract), false
	case found.Held() < tape.DefaultCover:
		return fmt.Sprintf("%s: %s. Give them a provider state or another example, and take `pending` off; or waive %s",
			pending, listSorts(found.Unheld), config.Coverage), "strangler contract verify " + p.Name + " --unsafe --states", false
	case found.Pending > 0:
		return pending, "", true
	}
	return "", "", true
}

// listSorts lists sorts of traffic, the first ones by name.
func listSorts(all []tape.Sort) string {
	var names []string
	for _, s := range all[:min(namedSorts, len(all))] {
		names = append(names, fmt.Sprintf("%s answers %d (%d times, such as %s)", s.Route, s.Status, s.Weight, s.Example))
	}
	if more := len(all) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// lastTape is the last finished recording of a capability, "" where there is
// none.
func (c *Control) lastTape(p *config.Capability) string {
	paths, _ := filepath.Glob(filepath.Join(Tapes(c.config()), p.Name+"-*.ndjson"))
	now := ""
	if c.recorder != nil {
		now = c.recorder.recording()
	}
	slices.Sort(paths) // their names tell when they were begun
	for _, path := range slices.Backward(paths) {
		rest := strings.TrimPrefix(filepath.Base(path), p.Name+"-")
		if path != now && rest != "" && rest[0] >= '0' && rest[0] <= '9' { // not another capability of a longer name
			return path
		}
	}
	return ""
}

func (k *coverages) of(p *config.Capability, path, digest, routeID string) (tape.Coverage, error) {
	info, err := os.Stat(path)
	if err != nil {
		return tape.Coverage{}, err
	}
	of := fmt.Sprint(path, info.Size(), info.ModTime().UnixNano(), digest)
	about := p.Name + "\n" + routeID
	k.mu.Lock()
	defer k.mu.Unlock()
	if have, ok := k.known[about]; ok && have.of == of {
		return have.found, have.err
	}
	if k.known == nil {
		k.known = map[string]coverage{}
	}
	found, err := measured(p.Contract, path, routeID)
	k.known[about] = coverage{of, found, err}
	return found, err
}

func measured(contractPath, tapePath, routeID string) (tape.Coverage, error) {
	c, err := contract.Load(contractPath)
	if err != nil {
		return tape.Coverage{}, err
	}
	exchanges, _, err := tape.Load(tapePath)
	if err != nil {
		return tape.Coverage{}, err
	}
	return tape.Cover(c, exchanges, func(e tape.Exchange) bool { return routeID == "" || e.Route == routeID }), nil
}
