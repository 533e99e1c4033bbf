package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stranglerfig/contract-tests/history"
	"stranglerfig/contract-tests/shop"
	"stranglerfig/migrations/engine"
	"stranglerfig/strangler-proxy/control/api"
)

// story is the migration, told by the commands a user would type.
type story struct {
	w       *shop.World
	out     io.Writer
	traffic *traffic
	windows map[string][]window // "cutover" and "rollback" -> when they ran
	steps   []step
	shadow  shadowCount
}

// window is when a switch was under way, as its driver saw it.
type window struct{ begin, end time.Time }

type step struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	MS   int64  `json:"ms"`
}

type shadowCount struct {
	Compared   int64 `json:"compared"`
	Mismatched int64 `json:"mismatched"`
}

// tell runs the story and reports. The report is there whether an error ended
// the story early or not.
func (s *story) tell(ctx context.Context) (report, error) {
	s.windows = map[string][]window{}
	s.traffic.start(ctx)
	err := s.chapters(ctx)
	s.traffic.stop()
	r, checkErr := s.check(ctx)
	return r, errors.Join(err, checkErr)
}

func (s *story) chapters(ctx context.Context) error {
	for _, chapter := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"record live traffic and distil a contract from it", s.record("billing")},
		{"prepare, copy and follow billing's data", s.moveData("billing")},
		{"prove the contract on both sides", s.prove},
		{"learn how the monolith differs from itself", s.calibrate},
		{"shadow billing's reads", s.shadowReads("billing")},
		{"canary billing's reads", s.canary},
		{"rehearse the cutover", s.rehearse},
		{"ask whether the evidence admits it", s.admitted},
		{"cut billing over", s.switchTo("cutover")},
		{"pack what justified it", s.pack},
		{"break the link and lose answers", s.fault},
		{"roll back, keeping every write", s.switchTo("rollback")},
		{"cut billing over again", s.switchTo("cutover")},
		{"back and over once more", s.onceMore},
		{"give billing's reads back to the service", s.readsBack},
		{"distil catalog's contract from its traffic", s.record("catalog")},
		{"prepare, copy and follow catalog's data", s.moveData("catalog")},
		{"shadow catalog's reads", s.shadowCatalog},
		{"move catalog's reads route by route", s.routeByRoute},
		{"let clients go on until they have written enough", s.writeEnough},
		{"where everything stands", s.playbook},
	} {
		fmt.Fprintf(s.out, "\n── %s\n", chapter.name)
		begun := time.Now()
		err := chapter.run(ctx)
		s.steps = append(s.steps, step{Name: chapter.name, OK: err == nil, MS: time.Since(begun).Milliseconds()})
		if err != nil {
			return fmt.Errorf("%s: %w", chapter.name, err)
		}
	}
	return nil
}

// do runs a command as a user would, showing it and what it says.
func (s *story) do(ctx context.Context, args ...string) error {
	fmt.Fprintf(s.out, "$ strangler %s\n", shellWords(args))
	text, err := s.w.Strangler(ctx, args...)
	for line := range strings.Lines(text) {
		fmt.Fprint(s.out, "  ", line)
	}
	if err != nil {
		return fmt.Errorf("strangler %s: %w", shellWords(args), err)
	}
	return nil
}

func shellWords(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.ContainsAny(a, " {}$'") {
			quoted[i] = `"` + a + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// record makes a capability's contract of its own traffic and declares it in the
// place of the one that people wrote.
func (s *story) record(capability string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.do(ctx, "contract", "record", capability, "--for", "3s", "--out", capability+"-recorded.pact.json"); err != nil {
			return err
		}
		tapes, err := filepath.Glob(filepath.Join(s.w.Dir, "strangler-state", "tapes", capability+"-*.ndjson"))
		if err != nil || len(tapes) != 1 {
			return fmt.Errorf("%d tapes: %w", len(tapes), err)
		}
		tape, err := filepath.Rel(s.w.Dir, tapes[0])
		if err != nil {
			return err
		}
		written, distilled := capability+".pact.json", capability+"-distilled.pact.json"
		// What people have written stays: it shows what traffic seldom does.
		if err := s.do(ctx, "contract", "distill", tape, "--merge", written, "--out", distilled); err != nil {
			return err
		}
		return s.declare("contract: "+written, "contract: "+distilled)
	}
}

// declare changes a line of strangler.yaml, as a person would with an editor.
func (s *story) declare(old, new string) error {
	path := filepath.Join(s.w.Dir, "strangler.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if strings.Count(string(text), old) != 1 {
		return fmt.Errorf("strangler.yaml does not say %q once", old)
	}
	fmt.Fprintf(s.out, "strangler.yaml\n- %s\n+ %s\n", old, new)
	return os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o644)
}

func (s *story) moveData(capability string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, verb := range []string{"prepare", "copy", "verify"} {
			if err := s.do(ctx, "data", verb, capability); err != nil {
				return err
			}
		}
		return nil
	}
}

// prove fills the pair that the file declares, which has the same builds, made-up
// data and databases of its own, and checks the contract there, which writes as
// well.
func (s *story) prove(ctx context.Context) error {
	if err := s.do(ctx, "data", "fill", "billing"); err != nil {
		return err
	}
	return s.do(ctx, "contract", "verify", "billing", "--pair")
}

// calibrate finds out what of the monolith's answers is its own noise, so that
// the shadow does not take it for a difference.
func (s *story) calibrate(ctx context.Context) error {
	return s.do(ctx, "shadow", "calibrate", "billing", "--for", "3s")
}

func (s *story) shadowReads(capability string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.do(ctx, "own", capability, "shadow"); err != nil {
			return err
		}
		return s.awaitShadow(ctx, capability)
	}
}

// shadowWait bounds how long enough comparisons may take.
const shadowWait = 90 * time.Second

// awaitShadow waits until the stop rule says of every read route that it has
// been compared enough.
func (s *story) awaitShadow(ctx context.Context, capability string) error {
	reads, err := s.readRoutes(ctx, capability)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(shadowWait); ; {
		found, err := s.shadows(ctx, capability)
		if err != nil {
			return err
		}
		enough, count := 0, shadowCount{}
		for _, n := range found.Routes {
			count.Compared += n.Compared
			count.Mismatched += n.Mismatched
			if n.Direction == "forward" && n.Stop.Enough {
				enough++
			}
		}
		if enough >= reads {
			s.shadow.Compared += count.Compared
			s.shadow.Mismatched += count.Mismatched
			fmt.Fprintf(s.out, "  %d answers compared on %d routes, %d differ: the stop rule says enough\n", count.Compared, reads, count.Mismatched)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d routes were compared enough within %s", enough, reads, shadowWait)
		}
		rest(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// shadows asks what was mirrored; a command that says "not enough" has said so.
func (s *story) shadows(ctx context.Context, capability string) (api.Shadows, error) {
	text, err := s.w.Strangler(ctx, "shadow", "status", capability, "--json")
	var found api.Shadows
	if jsonErr := json.Unmarshal([]byte(text), &found); jsonErr != nil {
		return found, errors.Join(err, jsonErr)
	}
	return found, nil
}

// readRoutes counts a capability's read routes.
func (s *story) readRoutes(ctx context.Context, capability string) (int, error) {
	text, err := s.w.Strangler(ctx, "status", capability, "--json")
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, text)
	}
	var st api.Status
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return 0, err
	}
	reads := 0
	for _, c := range st.Capabilities {
		for _, r := range c.Routes {
			if !r.Writes {
				reads++
			}
		}
	}
	return reads, nil
}

func (s *story) canary(ctx context.Context) error {
	if err := s.do(ctx, "own", "billing", "canary 25%"); err != nil {
		return err
	}
	rest(ctx, time.Second)
	for _, session := range []string{"program-1", "program-2", "program-3"} {
		if err := s.do(ctx, "explain", "GET", "/invoices/7", "-H", "Cookie: shop_session="+session); err != nil {
			return err
		}
	}
	return s.do(ctx, "own", "billing", "service")
}

func (s *story) rehearse(ctx context.Context) error {
	return s.do(ctx, "data", "rehearse", "billing")
}

// admitted asks what a cutover would ask: it exits with anything but 0 where
// evidence is missing.
func (s *story) admitted(ctx context.Context) error { return s.do(ctx, "can-cutover", "billing") }

func (s *story) pack(ctx context.Context) error {
	return s.do(ctx, "evidence", "pack", "billing", "--out", "billing-cutover.html")
}

// switchTo runs a cutover or a rollback and notes when it ran.
func (s *story) switchTo(verb string) func(context.Context) error {
	return func(ctx context.Context) error {
		fmt.Fprintf(s.out, "$ strangler %s billing\n", verb)
		begin := time.Now()
		text, err := s.w.Strangler(ctx, verb, "billing", "--json")
		s.windows[verb] = append(s.windows[verb], window{begin, time.Now()})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, text)
		}
		var r engine.SwitchResult
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "  the %s owns writes and data at epoch %d; %d writes were held for %.1f ms\n", r.To, r.Epoch, r.Held, r.PauseMS)
		rest(ctx, time.Second) // let clients work with the new owner
		return nil
	}
}

// onceMore switches back and forth, because a switch is nothing to be afraid of.
func (s *story) onceMore(ctx context.Context) error {
	for _, verb := range []string{"rollback", "cutover", "rollback", "cutover"} {
		if err := s.switchTo(verb)(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fault breaks the link to billing in the worst way while clients go on.
func (s *story) fault(ctx context.Context) error {
	s.traffic.fault.Store(true)
	defer s.traffic.fault.Store(false)
	err := s.do(ctx, "chaos", "run", "chaos/response-lost.yaml")
	rest(ctx, tryTimeout/4) // tries that met the fault have ended by then
	return err
}

// readsBack moves the reads again, which the rollback has brought home.
func (s *story) readsBack(ctx context.Context) error { return s.do(ctx, "own", "billing", "service") }

func (s *story) shadowCatalog(ctx context.Context) error {
	if err := s.do(ctx, "contract", "verify", "catalog"); err != nil {
		return err
	}
	return s.shadowReads("catalog")(ctx)
}

func (s *story) routeByRoute(ctx context.Context) error {
	for _, route := range []string{"GET /products/{id}", "GET /products/{id}/page", "GET /products", "GET /products.csv", "GET /products/{id}/image"} {
		if err := s.do(ctx, "own", route, "service"); err != nil {
			return err
		}
	}
	return nil
}

// writeEnough lets slow machines catch up: fewer writes would prove little.
func (s *story) writeEnough(ctx context.Context) error {
	deadline := time.Now().Add(shadowWait)
	for {
		acked := 0
		for _, op := range s.traffic.log.Operations() {
			if op.Outcome == history.OK {
				acked++
			}
		}
		if acked >= minWrites {
			fmt.Fprintf(s.out, "  %d writes acknowledged\n", acked)
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("only %d writes were acknowledged", acked)
		}
		rest(ctx, 200*time.Millisecond)
	}
}

// playbook shows where everything stands, and what the reads said that were
// mirrored back to the monolith while it followed.
func (s *story) playbook(ctx context.Context) error {
	found, err := s.shadows(ctx, "billing")
	if err != nil {
		return err
	}
	back := shadowCount{}
	for _, n := range found.Routes {
		if n.Direction == "reverse" {
			back.Compared += n.Compared
			back.Mismatched += n.Mismatched
		}
	}
	s.shadow.Compared += back.Compared
	s.shadow.Mismatched += back.Mismatched
	fmt.Fprintf(s.out, "  %d of the service's answers compared with the monolith's, which follows; %d differ\n", back.Compared, back.Mismatched)
	return s.do(ctx, "playbook")
}
