package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/pair"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/shadow"
)

const (
	storeWait = 10 * time.Second // for an isolated store's database
	openAgain = 30 * time.Second // after it could not be opened
)

// stores are the databases of isolated stores whose rows are compared.
type stores struct {
	mu   sync.Mutex
	open map[string]*store // by capability
}

// store is one of them, or that it could not be opened a while ago.
type store struct {
	mu     sync.Mutex // a look at a time, and none after it was closed
	mirror *pair.Mirror
	clean  func() *tape.Redactor

	dsn, plan string
	err       error
	tried     time.Time
}

// rows returns what compares the rows that a capability's isolated store writes,
// nil where it names no database.
func (c *Control) rows(capability string) (shadow.Rows, error) {
	cfg := c.config()
	p, ok := cfg.Capability(capability)
	if !ok || !comparesRows(p) {
		return nil, nil
	}
	k := &c.stores
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.open[capability]
	if have != nil && have.is(p) && (have.err == nil || time.Since(have.tried) < openAgain) {
		return have, have.err
	}
	if have != nil {
		c.letGo(have)
	}
	have = &store{dsn: p.Isolated.Database, plan: p.Data.Digest(), tried: time.Now(), clean: c.redactor}
	ctx, cancel := context.WithTimeout(c.ctx, storeWait)
	defer cancel()
	have.mirror, have.err = pair.OpenMirror(ctx, p.Data, cfg.Monolith.Database, have.dsn)
	if have.err != nil {
		c.o.Log.Error("the rows of an isolated store cannot be compared; it is tried again in a while", "capability", capability, "error", have.err)
	}
	if k.open == nil {
		k.open = map[string]*store{}
	}
	k.open[capability] = have
	return have, have.err
}

func comparesRows(p *config.Capability) bool {
	return p.Isolated != nil && p.Isolated.Database != "" && p.Data != nil
}

// is reports whether a store is the one that a capability names.
func (s *store) is(p *config.Capability) bool {
	return s.dsn == p.Isolated.Database && s.plan == p.Data.Digest()
}

// keepStores lets go of the stores that a config does not name; of all where
// there is none.
func (c *Control) keepStores(cfg *config.Config) {
	k := &c.stores
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, have := range k.open {
		if cfg != nil {
			if p, ok := cfg.Capability(name); ok && comparesRows(p) && have.is(p) {
				continue
			}
		}
		c.letGo(have)
		delete(k.open, name)
	}
}

// letGo removes what was installed in a store's database.
func (c *Control) letGo(s *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mirror == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeWait)
	defer cancel()
	if err := s.mirror.Close(ctx); err != nil {
		c.o.Log.Error("what was installed in an isolated store's database could not be removed; the next start does it", "error", err)
	}
	s.mirror = nil
}

// tendEvery is how often the logs of stores are seen to.
const tendEvery = 10 * time.Second

// tend sees to the logs of stores until the control ends.
func (c *Control) tend() {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.tendStores()
		}
	}
}

// tendStores lets the stores' databases forget what was looked at. One that keeps
// more than a move may is let go of for a while, so that it begins anew.
func (c *Control) tendStores() {
	k := &c.stores
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, s := range k.open {
		budget := int64(engine.DefaultLogBudget)
		if p, ok := c.config().Capability(name); ok && p.LogBudget > 0 {
			budget = p.LogBudget
		}
		retained, err := s.tend(c.ctx)
		if err == nil && retained > budget {
			err = fmt.Errorf("the isolated store's database keeps %s of log, and %s are allowed", engine.Size(retained), engine.Size(budget))
		}
		if err == nil || c.ctx.Err() != nil {
			continue
		}
		c.o.Log.Error("the rows of an isolated store are not compared for a while", "capability", name, "error", err)
		c.letGo(s)
		s.err, s.tried = err, time.Now()
	}
}

func (s *store) tend(ctx context.Context) (retained int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mirror == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	return s.mirror.Tend(ctx)
}

// errLetGo is returned by a store that is not looked at any more.
var errLetGo = errors.New("the isolated store's database is not open any more")

// Mark implements shadow.Rows.
func (s *store) Mark(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mirror == nil {
		return errLetGo
	}
	return s.mirror.Mark(ctx)
}

// Written implements shadow.Rows.
func (s *store) Written(ctx context.Context, monolith, store []byte) ([]shadow.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mirror == nil {
		return nil, errLetGo
	}
	rows, err := s.mirror.Written(ctx, monolith, store)
	all := make([]shadow.Row, len(rows))
	for n, r := range rows {
		all[n] = storeRow{s, r}
	}
	return all, err
}

// storeRow is one row of a store's.
type storeRow struct {
	s   *store
	row *pair.Row
}

// Compare implements shadow.Row.
func (r storeRow) Compare(ctx context.Context) (shadow.RowFound, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.mirror == nil {
		return shadow.RowFound{}, errLetGo
	}
	c, err := r.row.Compare(ctx)
	out := shadow.RowFound{Unknown: c.Unknown, Moved: c.Moved, Made: c.Made, Alike: c.Alike}
	for n, d := range RowDifferences(c.Differences) {
		column := c.Differences[n].Column
		d.Expected, d.Actual = r.s.shown(column, d.Expected), r.s.shown(column, d.Actual)
		out.Differences = append(out.Differences, d)
	}
	return out, err
}

// longestShown bounds a value of a row that is kept as an example, in bytes.
const longestShown = 200

// shown is a value without its secrets. A whole row is not shown: its columns are
// not told apart there.
func (s *store) shown(column, value string) string {
	if column == "" && value != "" && value != "deleted" {
		return "a row"
	}
	clean := s.clean()
	if value = clean.Value(column, clean.Text(value)); len(value) > longestShown {
		value = fmt.Sprintf("%.*s… (%d bytes)", longestShown, value, len(value))
	}
	return value
}

// RowDifferences says what rows differ in, in the comparator's words: as if they
// were members of the answers called rows.
func RowDifferences(found []pair.Difference) []compare.Difference {
	all := make([]compare.Difference, len(found))
	for n, d := range found {
		path := "$.rows." + d.Table
		if d.Column != "" {
			path += "." + d.Column
		}
		all[n] = compare.Difference{Path: path, Kind: compare.Value, Expected: d.Monolith, Actual: d.Service}
		switch d.Kind {
		case "missing":
			all[n].Kind = compare.Missing
		case "extra":
			all[n].Kind = compare.Extra
		}
	}
	return all
}
