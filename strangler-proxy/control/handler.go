package control

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/cutover"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
	"stranglerfig/strangler-proxy/control/api"
)

// handler is the admin API. Everything but health and metrics asks for the
// token.
func (c *Control) handler() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = answerError
	e.Use(middleware.Recover(), middleware.BodyLimit("4M"))
	e.GET("/healthz", func(x echo.Context) error { return x.JSON(http.StatusOK, map[string]string{"status": "ok"}) })
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{})))

	v1 := e.Group("/v1", c.authorized)
	v1.GET("/status", func(x echo.Context) error { return x.JSON(http.StatusOK, c.Status(x.Request().Context())) })
	v1.GET("/playbook/:capability", c.getPlaybook)
	v1.GET("/ledger", c.getLedger)
	v1.GET("/can-cutover", c.getCanCutOver)
	v1.GET("/profile/:name", c.getProfile)
	v1.POST("/explain", c.postExplain)
	v1.POST("/reload", c.postReload)
	v1.POST("/evidence", c.postEvidence)
	v1.POST("/record", c.postRecord)
	v1.GET("/shadow/:capability", c.getShadow)
	v1.POST("/shadow/:capability/calibrate", c.postCalibrate)
	v1.POST("/shadow/:capability/restart", c.postRestart)
	v1.POST("/shadow/allow", c.postAllow)
	v1.PUT("/chaos/faults/:link", c.putFault)
	v1.DELETE("/chaos/faults/:link", func(x echo.Context) error {
		if err := c.faults.heal(x.Param("link")); err != nil {
			return err
		}
		return x.NoContent(http.StatusNoContent)
	})
	v1.POST("/capabilities/:capability/:verb", c.postOperation)
	return e
}

func (c *Control) authorized(next echo.HandlerFunc) echo.HandlerFunc {
	return func(x echo.Context) error {
		given := strings.TrimPrefix(x.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(c.token)) != 1 {
			return x.JSON(http.StatusUnauthorized, &api.Error{
				Text: "the admin token is missing or wrong", Code: api.ExitFailed,
				Hint: "it is admin.token in strangler.yaml, or else in the file " + tokenFile + " of the state's folder",
			})
		}
		return next(x)
	}
}

// answerError turns an error into its document.
func answerError(err error, x echo.Context) {
	if x.Response().Committed {
		return
	}
	e, status := document(err), http.StatusConflict
	var echoed *echo.HTTPError
	switch {
	case errors.As(err, &echoed):
		e.Text, e.Code, status = fmt.Sprint(echoed.Message), api.ExitFailed, echoed.Code
	case e.Code == api.ExitFailed:
		status = http.StatusInternalServerError
	}
	if err := x.JSON(status, e); err != nil {
		return // the client is gone
	}
}

// document says an error in the API's words, with a hint and an exit code.
func document(err error) *api.Error {
	var known *api.Error
	var step *cutover.Refused
	var preflight *engine.PreflightError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &step):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: firstOf(step.Hint, "strangler playbook shows the next step")}
	case errors.As(err, &preflight):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: strings.Join(hintsOf(preflight), "\nhint: ")}
	case errors.Is(err, engine.ErrSwitchAborted):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "nothing was lost; look at strangler status, then try again"}
	case errors.Is(err, engine.ErrUnverified):
		return &api.Error{Text: err.Error(), Code: api.ExitNotEnough, Hint: "strangler data verify CAPABILITY"}
	case errors.Is(err, engine.ErrBusy):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "strangler data status shows how it comes along; data cancel interrupts a copy or a verification"}
	case errors.Is(err, engine.ErrDiverged):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "strangler data verify CAPABILITY --repair"}
	case errors.Is(err, engine.ErrAlreadyOwner):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "nothing is to be done"}
	case errors.Is(err, engine.ErrUnconfirmed):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "add --confirm and the capability's name"}
	case errors.Is(err, fs.ErrNotExist):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "correct database: in strangler.yaml, or start the application that makes the file"}
	case errors.Is(err, engine.ErrUnknown):
		return &api.Error{Text: err.Error(), Code: api.ExitNo, Hint: "declare its data in strangler.yaml"}
	}
	return &api.Error{Text: err.Error(), Code: api.ExitFailed}
}

func hintsOf(p *engine.PreflightError) []string {
	var hints []string
	for _, side := range []change.Side{change.Monolith, change.Service} {
		for _, problem := range p.Problems[side] {
			if problem.Fatal && problem.Hint != "" {
				hints = append(hints, problem.Hint)
			}
		}
	}
	return hints
}

func (c *Control) getPlaybook(x echo.Context) error {
	book, err := c.Playbook(x.Request().Context(), x.Param("capability"))
	if err != nil {
		return err
	}
	return x.JSON(http.StatusOK, book)
}

func (c *Control) getCanCutOver(x echo.Context) error {
	a, err := c.CanCutOver(x.Request().Context(), x.QueryParam("what"))
	if err != nil {
		return err
	}
	return x.JSON(http.StatusOK, a)
}

func (c *Control) getLedger(x echo.Context) error {
	after, _ := strconv.ParseInt(x.QueryParam("after"), 10, 64)
	entries, err := c.ledger.Entries(x.Request().Context(), ledger.Filter{Capability: x.QueryParam("capability"), After: after})
	if err != nil {
		return err
	}
	return x.JSON(http.StatusOK, Entries(entries))
}

// Entries says ledger entries in the API's words.
func Entries(entries []ledger.Entry) []api.Entry {
	all := make([]api.Entry, len(entries))
	for i, e := range entries {
		all[i] = api.Entry{Seq: e.Seq, At: e.At, Capability: e.Capability, Kind: e.Kind, Actor: e.Actor, Text: e.Text, Detail: e.Detail, Hash: e.Hash}
	}
	return all
}

func (c *Control) postExplain(x echo.Context) error {
	var q api.ExplainRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	r, err := http.NewRequest(q.Method, "http://strangler.invalid/", nil)
	if err != nil {
		return &api.Error{Text: fmt.Sprintf("%q is not a method", q.Method), Code: api.ExitNo}
	}
	u, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return &api.Error{Text: fmt.Sprintf("%q is not a path: it begins with /", q.Target), Code: api.ExitNo}
	}
	r.URL, r.RequestURI, r.Host, r.RemoteAddr = u, q.Target, q.Host, "127.0.0.1:0"
	for name, values := range q.Headers {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	return x.JSON(http.StatusOK, c.proxy.Explain(r))
}

// postReload brings the file into force now and answers with the status.
func (c *Control) postReload(x echo.Context) error {
	if err := c.Reload(x.Request().Context()); err != nil {
		return &api.Error{Text: err.Error(), Code: api.ExitNo}
	}
	return x.JSON(http.StatusOK, c.Status(x.Request().Context()))
}

func (c *Control) postEvidence(x echo.Context) error {
	var q api.EvidenceRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	cfg := c.config()
	if _, ok := cfg.Capability(q.Capability); !ok {
		return api.NoCapability(q.Capability, cfg.Names())
	}
	if q.Kind != "contract" && q.Kind != "chaos" {
		return &api.Error{Text: fmt.Sprintf("evidence of kind %q cannot be filed from outside: accepted are contract, chaos", q.Kind), Code: api.ExitNo}
	}
	if _, err := c.ledger.AddEvidence(x.Request().Context(), Evidence(q, time.Now())); err != nil {
		return err
	}
	c.wake()
	return x.NoContent(http.StatusNoContent)
}

// Evidence turns a filed check into the ledger's form.
func Evidence(q api.EvidenceRequest, at time.Time) ledger.Evidence {
	return ledger.Evidence{
		Capability: q.Capability, Kind: q.Kind, Verdict: q.Verdict, Summary: q.Summary, Details: q.Details, By: q.By, At: at,
		Subject: ledger.Subject{Contract: q.Contract, Config: q.Config, MonolithBuild: q.MonolithBuild, ServiceBuild: q.ServiceBuild},
	}
}

func (c *Control) postRecord(x echo.Context) error {
	var q api.RecordRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	return stream(x, func(ctx context.Context, out *lines) (any, error) {
		return c.Record(ctx, q, func(text string) { out.send(api.Event{Text: text}) })
	})
}

func (c *Control) putFault(x echo.Context) error {
	var q api.FaultRequest
	if err := decode(x, &q); err != nil {
		return err
	}
	if err := c.faults.inject(x.Param("link"), q); err != nil {
		return err
	}
	return x.NoContent(http.StatusNoContent)
}

// decode reads a request's document; an empty body is an empty document.
func decode(x echo.Context, into any) error {
	err := json.NewDecoder(x.Request().Body).Decode(into)
	if err != nil && !errors.Is(err, io.EOF) {
		return &api.Error{Text: "the request's body is not a valid document: " + err.Error(), Hint: "docs/reference/admin-api.md", Code: api.ExitNo}
	}
	return nil
}

// lines passes the events of a long operation on, one JSON object a line. An
// operation never waits for its audience: what a slow one does not take is
// dropped, all but the end.
type lines struct {
	events chan api.Event
	w      *echo.Response
}

// audience is how many events may wait for a slow client.
const audience = 256

func (l *lines) send(e api.Event) {
	select {
	case l.events <- e:
	default:
	}
}

func (l *lines) write(e api.Event) {
	raw, err := json.Marshal(e)
	if err != nil {
		raw, _ = json.Marshal(api.Event{Error: &api.Error{Text: err.Error(), Code: api.ExitFailed}})
	}
	if _, err := l.w.Write(append(raw, '\n')); err == nil {
		l.w.Flush()
	}
}

// stream runs a long operation and answers with its events.
func stream(x echo.Context, run func(ctx context.Context, out *lines) (any, error)) error {
	x.Response().Header().Set(echo.HeaderContentType, "application/x-ndjson")
	x.Response().WriteHeader(http.StatusOK)
	x.Response().Flush()
	out := &lines{w: x.Response(), events: make(chan api.Event, audience)}
	var passing sync.WaitGroup
	passing.Go(func() {
		for e := range out.events {
			out.write(e)
		}
	})
	result, err := run(x.Request().Context(), out)
	close(out.events)
	passing.Wait()
	out.write(ending(result, err))
	return nil
}

// ending is the last event: a result or an error.
func ending(result any, err error) api.Event {
	raw, jsonErr := json.Marshal(result)
	if jsonErr != nil {
		return api.Event{Error: &api.Error{Text: jsonErr.Error(), Code: api.ExitFailed}}
	}
	empty := bytes.Equal(raw, []byte("null"))
	if err != nil {
		e := *document(err)
		if !empty {
			e.Data = raw
		}
		return api.Event{Error: &e}
	}
	if empty {
		raw = []byte("{}")
	}
	return api.Event{Result: raw}
}
