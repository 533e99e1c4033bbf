package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/upstream"
)

const (
	settleFile = 20 * time.Millisecond // an editor's several writes count as one
	lookAgain  = time.Second           // gates are asked again
	openWait   = 5 * time.Second       // for a move's recovery at start
)

// watch reloads the file when it changes and looks at the gates again now and
// then: evidence may have come in since.
func (c *Control) watch() {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		// The folder, because editors replace the file.
		err = w.Add(filepath.Dir(c.o.Config))
		defer w.Close()
	}
	var events chan fsnotify.Event // nil, which never speaks, without a watcher
	var failures chan error
	if err != nil {
		c.o.Log.Warn("the config is looked at once a second only", "error", err)
	} else {
		events, failures = w.Events, w.Errors
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	settled := time.NewTimer(settleFile)
	for {
		select {
		case <-c.ctx.Done():
			return
		case e := <-events:
			if filepath.Base(e.Name) == filepath.Base(c.o.Config) {
				settled.Reset(settleFile)
			}
			continue
		case err := <-failures:
			c.o.Log.Warn("changes of the config may have been missed; it is looked at once a second", "error", err)
			continue
		case <-c.nudge:
		case <-settled.C:
		case <-tick.C:
		}
		// Reload says itself why a file is not in force.
		_ = c.Reload(c.ctx)
	}
}

// Reload brings the file on disk into force, if it is good and has changed,
// and asks the gates again.
func (c *Control) Reload(ctx context.Context) error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	switches := c.switches()
	var aside pace
	raw, sight, err := c.look()
	if err != nil {
		c.setProblem(fmt.Sprintf("the config cannot be read, so the last good one stays in force: %v", err))
		return err
	}
	c.mu.Lock()
	cfg, same := c.cfg, bytes.Equal(raw, c.raw)
	c.mu.Unlock()
	if !same {
		c.mu.Lock()
		clear(c.unwritten) // a person has written since
		c.mu.Unlock()
		if cfg, err = config.ParseAside(c.o.Config, raw, os.LookupEnv, aside.pause); err == nil {
			err = c.fixed(ctx, cfg)
		}
	}
	if err == nil {
		err = c.reconcile(ctx, cfg, !same, switches)
	}
	if err != nil {
		c.setProblem(err.Error())
		return err
	}
	c.setProblem("")
	if !same {
		c.warn(cfg, aside.pause)
	}
	c.mu.Lock()
	c.raw = raw
	c.mu.Unlock()
	c.seen = sight
	return nil
}

// sight is what a look at the file showed.
type sight struct {
	file os.FileInfo
	at   time.Time
}

// young is how long a file may be changed without its time telling so.
const young = 2 * time.Second

// look reads the file, unless its times say that it is the one in force.
func (c *Control) look() ([]byte, sight, error) {
	now := sight{at: time.Now()}
	var err error
	if now.file, err = os.Stat(c.o.Config); err != nil {
		return nil, sight{}, err
	}
	if was := c.seen.file; was != nil && os.SameFile(was, now.file) && was.Size() == now.file.Size() && was.ModTime().Equal(now.file.ModTime()) && c.seen.at.Sub(was.ModTime()) > young {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.raw, c.seen, nil
	}
	raw, err := os.ReadFile(c.o.Config)
	return raw, now, err
}

// switches returns how many switches have named their owners.
func (c *Control) switches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.publications
}

// fixed refuses changes that only a restart can bring about, and the removal of
// what the databases still need.
func (c *Control) fixed(ctx context.Context, cfg *config.Config) error {
	now := c.config()
	for what, changed := range map[string]bool{
		"tls": cfg.TLS != now.TLS, "trusted_proxies": !slices.Equal(cfg.Trusted, now.Trusted), "forwarded": cfg.Forwarded != now.Forwarded,
		"request_id": cfg.RequestID != now.RequestID, "tracing": !reflect.DeepEqual(cfg.Tracing, now.Tracing), "limits": cfg.Limits != now.Limits,
		"listen": cfg.Listen != now.Listen, "admin": cfg.Admin != now.Admin, "state": cfg.State != now.State,
		"hold": cfg.Hold != now.Hold, "access_log": cfg.AccessLog != now.AccessLog, "io_uring": cfg.IOUring != now.IOUring,
		"shadow.queue": cfg.Shadow.Queue != now.Shadow.Queue, "shadow.body": cfg.Shadow.Body != now.Shadow.Body,
		"shadow.timeout": cfg.Shadow.Timeout != now.Shadow.Timeout, "chaos.links": !slices.Equal(cfg.Links, now.Links),
	} {
		if changed {
			return fmt.Errorf("%s cannot change while serving; restart to bring the new file into force", what)
		}
	}
	return c.abandoned(ctx, cfg)
}

// abandoned refuses a file that no longer declares data whose move has left
// something in the databases: fences would go on refusing, with nobody to lift
// them.
func (c *Control) abandoned(ctx context.Context, cfg *config.Config) error {
	moves, err := c.ledger.Moves(ctx)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if m.State == "planned" || m.State == "cancelled" || m.State == "complete" {
			continue
		}
		if p, ok := cfg.Capability(m.Capability); !ok || p.Data == nil {
			return &api.Error{
				Text: fmt.Sprintf("the data of %s is %s, so capabilities.%s.data cannot be taken out of the file", m.Capability, m.State, m.Capability),
				Hint: fmt.Sprintf("put it back; then strangler data cancel %s, or complete, ends the move", m.Capability), Code: api.ExitNo,
			}
		}
	}
	return nil
}

// warn logs what a file that is in force can hardly mean.
func (c *Control) warn(cfg *config.Config, pause func()) {
	for _, w := range cfg.WarningsAside(pause) {
		c.o.Log.Warn("a route has no effect", "line", w.Line, "problem", w.Text, "hint", w.Hint)
	}
}

func (c *Control) setProblem(text string) {
	c.mu.Lock()
	changed := c.problem != text
	c.problem = text
	c.mu.Unlock()
	if changed && text != "" {
		c.o.Log.Warn("the config on disk is not in force", "problem", text)
	}
}

// reconcile brings actual owners to the wanted ones as far as the gates admit
// it. saved says that a person has just saved the file: only then may write
// words start a switch, and only if there has been none since the file was
// read, when there had been so many of them.
func (c *Control) reconcile(ctx context.Context, cfg *config.Config, saved bool, switches int) error {
	c.reconciling.Lock()
	defer c.reconciling.Unlock()
	before := c.config()
	if cfg != before {
		if err := c.connect(cfg); err != nil {
			return err
		}
	}
	first := before == nil
	if first {
		c.enforce(cfg)
		c.obey(cfg) // so that reads flow while moves are being recovered
	}
	if err := c.openMoves(ctx, cfg); err != nil && !first {
		c.forgetBackends(before)
		return err // the file before it stays in force, whole
	} else if err != nil {
		// One capability must not keep the business from being served. Its own
		// requests wait and are refused until somebody has looked.
		c.o.Log.Error("a move could not be opened; its capability is held", "error", err)
	}
	c.enforce(cfg)
	c.admit(ctx, cfg)
	c.obey(cfg)
	c.lookAtShadows(ctx, cfg)
	if cfg != before {
		c.forgetBackends(cfg)
		c.keepStores(cfg)
	}
	if saved && !first {
		c.followWriteWords(before, cfg, switches)
	}
	return nil
}

// named is a backend of the config, with what to call it.
type named struct {
	config.Backend
	name string
}

// namedBackends lists the backends that a config names by their keys. One that
// several share is called by the first of them.
func namedBackends(cfg *config.Config) map[string]named {
	all := map[string]named{}
	add := func(b config.Backend, name string) {
		if _, shared := all[b.Key()]; !shared {
			all[b.Key()] = named{b, name}
		}
	}
	add(cfg.Monolith, "the monolith")
	for _, p := range cfg.Capabilities {
		add(p.Service, "the service "+p.Name)
		if p.Isolated != nil {
			add(*p.Isolated, "the isolated store of "+p.Name)
		}
	}
	return all
}

// connect makes the backends that are new.
func (c *Control) connect(cfg *config.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range namedBackends(cfg) {
		if c.backends[key] != nil {
			continue
		}
		b, err := newBackend(n, c.o.Log)
		if err != nil {
			return err
		}
		c.backends[key] = b
	}
	return nil
}

// forgetBackends lets go of the backends that the config in force does not name.
func (c *Control) forgetBackends(cfg *config.Config) {
	all := namedBackends(cfg)
	var gone []*upstream.Backend
	c.mu.Lock()
	for key, b := range c.backends {
		if _, stays := all[key]; !stays {
			gone = append(gone, b)
			delete(c.backends, key)
		}
	}
	c.mu.Unlock()
	for _, b := range gone {
		b.Close() // requests under way end on what they have
	}
}

// openMoves puts the data of every capability under the engine's care.
func (c *Control) openMoves(ctx context.Context, cfg *config.Config) error {
	var errs []error
	for _, p := range cfg.Capabilities {
		if p.Data == nil {
			continue
		}
		c.proxy.Know(p.Name)
		bounded, cancel := context.WithTimeout(ctx, openWait)
		err := c.engine.Open(bounded, engine.Spec{
			Capability: p.Name, Plan: p.Data, Monolith: cfg.Monolith.Database, Service: p.Service.Database, LogBudget: p.LogBudget,
			Copy: engine.CopyLimits{Workers: p.Copy.Workers, RowsPerSecond: float64(p.Copy.RowsPerSecond), MaxLag: p.Copy.MaxLag},
		})
		cancel()
		c.mu.Lock()
		delete(c.unopened, p.Name)
		if err != nil {
			c.unopened[p.Name] = err.Error()
			errs = append(errs, err)
		}
		c.mu.Unlock()
	}
	return errors.Join(errs...)
}
