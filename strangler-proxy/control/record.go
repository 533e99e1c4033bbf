package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"stranglerfig/contract-tests/tape"
	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/loop"
	"stranglerfig/strangler-proxy/proxy"
	"stranglerfig/strangler-proxy/route"
)

// recorder lets a tape listen to the proxy while someone records.
type recorder struct {
	mu         sync.Mutex
	capability string
	tape       *tape.Recorder
	path       string
}

// Wants implements [proxy.Observer]. Only the monolith's answers are recorded:
// they are what the contract is about.
func (k *recorder) Wants(r *route.Route, d route.Decision) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tape != nil && r != nil && r.Capability == k.capability && d.Side == change.Monolith
}

// Observe implements [proxy.Observer].
func (k *recorder) Observe(x *proxy.Exchange, _ *loop.Task) {
	k.mu.Lock()
	to := k.tape
	k.mu.Unlock()
	if to == nil {
		return
	}
	to.Offer(tape.Exchange{
		At: x.At, Route: x.Route.ID, Asks: x.Route.Predicates(), Capability: x.Route.Capability, Owner: string(x.Decision.Side), Epoch: x.Decision.Epoch,
		Request:   tape.Request{Method: x.Method, Path: x.Path, Query: x.Query, Header: x.Header.Map(), Body: x.Body},
		Response:  tape.Response{Status: x.Status, Header: x.Answer.Map(), Body: x.AnswerBody},
		Truncated: x.Truncated,
	})
}

func (k *recorder) begin(capability, path string, t *tape.Recorder) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tape != nil {
		return &api.Error{Text: "the traffic of " + k.capability + " is being recorded already", Hint: "wait for that recording to end", Code: api.ExitNo}
	}
	k.capability, k.tape, k.path = capability, t, path
	return nil
}

// recording is the tape that is being written, "" where none is.
func (k *recorder) recording() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tape == nil {
		return ""
	}
	return k.path
}

func (k *recorder) end() {
	k.mu.Lock()
	k.tape = nil
	k.mu.Unlock()
}

const maxRecording = time.Hour

// Record records a capability's live traffic for a while and distils a
// contract from it. The tape stays in the state's folder, redacted.
func (c *Control) Record(ctx context.Context, q api.RecordRequest, tell func(string)) (api.Recorded, error) {
	cfg := c.config()
	p, ok := cfg.Capability(q.Capability)
	if !ok {
		return api.Recorded{}, api.NoCapability(q.Capability, cfg.Names())
	}
	if q.For <= 0 || q.For > maxRecording {
		return api.Recorded{}, &api.Error{Text: fmt.Sprintf("%s is not a time to record for: accepted are 1s to %s", q.For, maxRecording), Code: api.ExitNo}
	}
	if q.Sample < 0 || q.Sample > 1 || q.Cover < 0 || q.Cover > 1 {
		return api.Recorded{}, &api.Error{Text: "sample and cover are shares: accepted are above 0, up to 1", Code: api.ExitNo}
	}
	dir := Tapes(cfg)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return api.Recorded{}, err
	}
	path := filepath.Join(dir, p.Name+"-"+time.Now().UTC().Format("20060102T150405.000")+".ndjson")
	t, err := tape.NewRecorder(path, tape.NewRedactor([]byte(c.token), cfg.Redact), tape.RecorderOptions{Sample: q.Sample, Count: q.Count, Bytes: q.Bytes})
	if err != nil {
		return api.Recorded{}, err
	}
	if err := c.recorder.begin(p.Name, path, t); err != nil {
		return api.Recorded{}, err
	}
	defer c.recorder.end()
	if err := t.Start(); err != nil {
		return api.Recorded{}, err
	}
	listenFor(ctx, c.ctx, q.For, func() (more bool) {
		tell(fmt.Sprintf("%d exchanges", t.Stats().Written))
		return !t.Full()
	})
	c.recorder.end()
	if err := t.Stop(); err != nil {
		return api.Recorded{}, fmt.Errorf("record: %w", err)
	}
	return distilled(p.Name, path, t.Stats(), q.Cover)
}

// Tapes is the folder where a config's recordings are kept.
func Tapes(cfg *config.Config) string { return filepath.Join(cfg.Resolve(cfg.State), "tapes") }

// listenFor waits, telling every second, until the time is up, there is nothing
// more to wait for, or one of the contexts ends.
func listenFor(ctx, life context.Context, d time.Duration, tell func() (more bool)) {
	end := time.NewTimer(d)
	defer end.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-ctx.Done():
			return
		case <-life.Done():
			return
		case <-second.C:
			if !tell() {
				return
			}
		}
	}
}

func distilled(capability, path string, stats tape.Stats, cover float64) (api.Recorded, error) {
	r := api.Recorded{Exchanges: int64(stats.Written), Dropped: int64(stats.Dropped), Unsampled: int64(stats.Unsampled), Beyond: int64(stats.Beyond), Tape: path}
	exchanges, _, err := tape.Load(path)
	if err != nil {
		return r, fmt.Errorf("read the tape: %w", err)
	}
	if len(exchanges) == 0 {
		return r, &api.Error{
			Text: "no traffic of " + capability + " passed while recording, so there is no contract to write",
			Hint: "record for longer, or while clients are active: --for 1m", Code: api.ExitNotEnough,
		}
	}
	d := tape.Distill(exchanges, tape.Options{Consumer: "clients", Provider: capability, Cover: cover})
	r.Counted, r.Covered = d.Weight, d.Covered
	if r.Left, err = json.Marshal(d.Left); err != nil {
		return r, err
	}
	if r.Loose, err = json.Marshal(d.Loose); err != nil {
		return r, err
	}
	var text bytes.Buffer
	if err := d.Contract.Write(&text); err != nil {
		return r, fmt.Errorf("write the contract: %w", err)
	}
	r.Contract = text.Bytes()
	return r, nil
}
