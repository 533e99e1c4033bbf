// Package control brings what the config wants about: it admits owners through
// gates, hands the proxy what to obey, runs the engine's moves, files evidence,
// and answers the admin API.
//
// Start at [Start]; one reconciliation is [Control.reconcile].
package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stranglerfig/contract-tests/chaos"
	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/listener"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
	"stranglerfig/strangler-proxy/shadow"
	"stranglerfig/strangler-proxy/trace"
	"stranglerfig/strangler-proxy/upstream"
)

// Options are what a control is made of.
type Options struct {
	Config string       // path of strangler.yaml
	Log    *slog.Logger // the control's own log
	Access io.Writer    // where access_log: stdout goes
	// At is told the named points of operations; see [engine.Points].
	At func(point string)
}

// Control is a running strangler.
type Control struct {
	o          Options
	started    time.Time
	token      string
	ledger     *ledger.Ledger
	engine     *engine.Engine
	proxy      *proxy.Proxy
	shadow     *shadow.Shadow
	recorder   *recorder
	links      *chaos.Links
	registry   *prometheus.Registry
	tracer     *trace.Tracer // nil where there are no spans
	probes     *probes
	coverages  coverages
	identities identities
	stores     stores
	faults     *faults

	reloading   sync.Mutex // so that a file read earlier is not in force later
	reconciling sync.Mutex // one reconciliation at a time
	seen        sight      // of the file in force; guarded by reloading

	found atomic.Pointer[found] // the backends of the config in force; nil: there is none

	mu       sync.Mutex // guards everything below
	cfg      *config.Config
	raw      []byte                       // the text that cfg was parsed from
	problem  string                       // why the file on disk is not in force
	backends map[string]*upstream.Backend // by their keys in the config
	actual   map[string]route.Owner
	why      map[string]string // route -> why actual is not what is wanted
	owners   uint64            // counts the changes of actual
	obeyed   struct {          // what the proxy was told last
		config *config.Config
		owners uint64
	}
	looked   looked            // what admit need not look at again
	unopened map[string]string // capability -> why its move could not be opened
	// publications counts the switches whose owners were named; unwritten marks
	// those whose words could not be saved in the file.
	publications int
	unwritten    map[string]bool
	retired      map[string]bool          // capability -> its move is, or is being, completed
	calibrations map[string]calibrated    // capability -> the last one
	excusing     map[string]*string       // capability -> the monolith's build that it was last asked for
	allowances   map[string]api.Allowance // difference -> the last word about it

	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup
	access *proxy.AccessLog // nil where it is off
	logged io.Closer        // the file it is written to
	public *listener.Server
	loops  *loop.Group // of clients' connections; nil: there are none
	admin  *http.Server
	URL    string        // where clients are served
	Admin  string        // where the admin API is
	nudge  chan struct{} // tells watch to look again now
	failed chan error
}

// Start reads the config, takes the state and the ports, resumes what an
// earlier process left, and serves. Everything is running when it returns.
func Start(ctx context.Context, o Options) (*Control, error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(o.Config)
	if err != nil {
		return nil, err
	}
	led, err := ledger.Open(cfg.Resolve(cfg.State), time.Now)
	if err != nil {
		return nil, err
	}
	c := newControl(o, led)
	c.raw = raw
	c.ctx, c.stop = context.WithCancel(context.Background())
	if err := c.begin(ctx, cfg); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	c.warn(cfg, func() {})
	return c, nil
}

// newControl makes a control that knows nothing yet.
func newControl(o Options, led *ledger.Ledger) *Control {
	return &Control{
		o: o, started: time.Now(), ledger: led, registry: prometheus.NewRegistry(), probes: newProbes(), links: chaos.NewLinks(),
		backends: map[string]*upstream.Backend{}, actual: map[string]route.Owner{}, why: map[string]string{}, unopened: map[string]string{}, unwritten: map[string]bool{},
		retired: map[string]bool{}, allowances: map[string]api.Allowance{}, calibrations: map[string]calibrated{}, excusing: map[string]*string{},
		nudge: make(chan struct{}, 1), failed: make(chan error, 2),
	}
}

// rememberAll reads from the ledger what an earlier process left.
func (c *Control) rememberAll(ctx context.Context, cfg *config.Config) error {
	return errors.Join(c.remember(ctx, cfg), c.rememberAllowances(ctx), c.rememberCalibrations(ctx))
}

func (c *Control) begin(ctx context.Context, cfg *config.Config) error {
	var err error
	if c.token, err = adminToken(cfg); err != nil {
		return err
	}
	if err := c.abandoned(ctx, cfg); err != nil {
		return err
	}
	secure, err := c.certificates(cfg.TLS)
	if err != nil {
		return err
	}
	public, err := listen("listen", cfg.Listen)
	if err != nil {
		return err
	}
	admin, err := listen("admin.listen", cfg.Admin.Listen)
	if err != nil {
		return errors.Join(err, public.Close())
	}
	metrics := proxy.NewMetrics(c.registry)
	if err := c.openAccessLog(cfg, metrics); err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	if err := c.openTracer(cfg.Tracing); err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	c.build(cfg, metrics)
	if err := c.rememberAll(ctx, cfg); err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	for _, l := range cfg.Links {
		if _, err := c.links.Open(l.Name, l.Listen, l.To); err != nil {
			return errors.Join(fmt.Errorf("chaos.links: %w", err), public.Close(), admin.Close())
		}
	}
	c.serve(cfg, public, admin, secure)
	if err := c.reconcile(ctx, cfg, true, 0); err != nil {
		return err
	}
	c.wg.Go(c.watch)
	c.wg.Go(c.tend)
	return nil
}

// build makes the parts and wires them.
func (c *Control) build(cfg *config.Config, metrics *proxy.Metrics) {
	c.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBackendMetrics(c.inForce))
	bounds := engine.Bounds{Requests: cfg.Hold.Requests, Bytes: cfg.Hold.Bytes, Wait: cfg.Hold.Wait}
	c.recorder = &recorder{}
	c.faults = &faults{control: c, active: map[string]*fault{}}
	c.shadow = c.newShadow(cfg, false)
	c.proxy = proxy.New(proxy.Options{
		Log: c.access, Metrics: metrics, Key: []byte(c.token), Bounds: bounds,
		Limits: proxy.Limits{
			Requests: int64(cfg.Limits.Requests), Head: int(cfg.Limits.Head), Body: cfg.Limits.Body, HeadTimeout: cfg.Limits.HeadTimeout, BodyTimeout: cfg.Limits.BodyTimeout,
		},
		Panicked:   c.panicked,
		Forwarding: proxy.Forwarding{Trusted: cfg.Trusted, Style: proxy.Style(cfg.Forwarded), RequestID: cfg.RequestID},
		Synced:     func(capability string, from change.Side) time.Time { return c.engine.Synced(capability, from) },
		Observers:  []proxy.Observer{c.shadow, c.recorder}, Capture: int(max(cfg.Shadow.Body, recorded)), Tracer: c.tracer,
	})
	c.engine = engine.New(engine.Options{
		Ledger: c.ledger, Routes: c.proxy, Log: c.o.Log, Bounds: bounds, At: c.o.At, Published: c.published,
	})
}

// panicked tells of a defect of ours that has ended a client's connection.
func (c *Control) panicked(reason any, stack []byte) {
	c.o.Log.Error("a request could not be handled, and its connection was ended; please report this", "reason", fmt.Sprint(reason), "stack", string(stack))
}

// certificates reads what clients are proved with who this is; nil in clear
// text.
func (c *Control) certificates(t config.TLS) (*listener.Certificates, error) {
	if t == (config.TLS{}) {
		return nil, nil
	}
	found, err := listener.LoadCertificates(listener.CertificateOptions{
		Certificate: t.Certificate, Key: t.Key, ClientCA: t.ClientCA,
		Failed: func(err error) { c.o.Log.Error("the new certificate is not used", "error", err) },
	})
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return found, nil
}

// listen takes a port, or says who else might have it.
func listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &api.Error{
			Text: fmt.Sprintf("%s: the address %s is taken by another process", what, addr),
			Hint: "stop that process, or change " + what + " in strangler.yaml", Code: api.ExitFailed,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return l, nil
}

// tokenFile is where the admin token lies when the config names none.
const tokenFile = "admin-token"

// adminToken returns the config's token, or one made up at the first start.
func adminToken(cfg *config.Config) (string, error) {
	if cfg.Admin.Token != "" {
		return cfg.Admin.Token, nil
	}
	path := filepath.Join(cfg.Resolve(cfg.State), tokenFile)
	raw, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(raw))) > 0 {
		return strings.TrimSpace(string(raw)), nil
	}
	token := rand.Text()
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the admin token: %w", err)
	}
	return token, nil
}

// Token returns the admin token that a config's server uses, for its clients.
func Token(cfg *config.Config) (string, error) {
	if cfg.Admin.Token != "" {
		return cfg.Admin.Token, nil
	}
	raw, err := os.ReadFile(filepath.Join(cfg.Resolve(cfg.State), tokenFile))
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

const (
	headerTimeout = 10 * time.Second
	maxHeader     = 64 << 10
	adminWait     = 5 * time.Second // for admin requests under way at the end
	spansWait     = 2 * time.Second // for the collector to take the last spans
)

// serve starts both servers.
func (c *Control) serve(cfg *config.Config, public, admin net.Listener, secure *listener.Certificates) {
	c.URL, c.Admin = "http://"+public.Addr().String(), "http://"+admin.Addr().String()
	if secure != nil {
		c.URL = "https://" + public.Addr().String()
	}
	var err error
	if c.loops, err = loop.Start(loop.Options{Loops: loop.Processors(), OneByOne: !cfg.IOUring}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		c.o.Log.Warn("clients are served without event loops, which costs more", "error", err)
	}
	if why := c.loops.NoRing(); why != nil {
		c.o.Log.Info("each read and write is a call of the kernel of its own, which costs more", "because", why)
	}
	c.public = listener.New(listener.Options{
		Loops: c.loops, HTTP1: c.proxy.ServeHTTP1, HTTP2: c.proxy, Refused: c.proxy.Refused, TLS: secure,
		Limits: listener.Limits{
			Connections: cfg.Limits.Connections, Head: cfg.Limits.HeadTimeout, Idle: cfg.Limits.Idle, Stall: cfg.Limits.BodyTimeout, HeadBytes: int(cfg.Limits.Head),
		},
		Panicked: func(reason any, stack []byte) {
			c.proxy.Refused("panic")
			c.panicked(reason, stack)
		},
	})
	c.admin = &http.Server{Handler: c.handler(), ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: maxHeader}
	c.wg.Go(func() { c.ended(c.public.Serve(public)) })
	c.wg.Go(func() { c.ended(c.admin.Serve(admin)) })
}

// ended reports a server that was not told to end.
func (c *Control) ended(err error) {
	if !errors.Is(err, http.ErrServerClosed) {
		c.failed <- err
	}
}

// Failed reports a server that ended by itself.
func (c *Control) Failed() <-chan error { return c.failed }

// Close drains: no new connection is taken, requests under way are finished
// for as long as the config says, then everything ends. A switch under way is
// finished or undone by the next start.
func (c *Control) Close(ctx context.Context) error {
	c.stop()
	var errs []error
	if c.public != nil {
		drain := 10 * time.Second
		if cfg := c.config(); cfg != nil {
			drain = cfg.Drain
		}
		bounded, cancel := context.WithTimeout(ctx, drain)
		if err := c.public.Shutdown(bounded); err != nil {
			c.o.Log.Warn("some requests did not end in time and are cut off", "drain", drain.String())
			errs = append(errs, c.public.Close())
		}
		cancel()
	}
	if c.faults != nil {
		c.faults.close()
	}
	if c.engine != nil {
		errs = append(errs, c.engine.Close())
	}
	if c.admin != nil {
		// After the engine: its operations are what admin requests wait for.
		bounded, cancel := context.WithTimeout(ctx, adminWait)
		if c.admin.Shutdown(bounded) != nil {
			errs = append(errs, c.admin.Close())
		}
		cancel()
	}
	if c.shadow != nil {
		c.shadow.Close()
	}
	c.keepStores(nil) // after the shadow, which uses them
	c.wg.Wait()
	c.mu.Lock()
	backends := slices.Collect(maps.Values(c.backends))
	c.mu.Unlock()
	for _, b := range backends {
		b.Close()
	}
	if c.loops != nil {
		c.loops.Close() // after the backends, some of whose connections are there
	}
	errs = append(errs, c.links.Close(), c.ledger.Close())
	if c.tracer != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), spansWait)
		errs = append(errs, c.tracer.Close(bounded))
		cancel()
	}
	if c.access != nil {
		c.access.Close()
	}
	if c.logged != nil {
		errs = append(errs, c.logged.Close())
	}
	return errors.Join(errs...)
}

// config returns the config in force.
func (c *Control) config() *config.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg
}
