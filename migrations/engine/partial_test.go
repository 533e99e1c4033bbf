package engine_test

import (
	"context"
	"testing"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
)

// watched verifies, and returns the invoices it told of; with stop it is
// interrupted once it has told of some.
func (w *world) watched(q engine.VerifyRequest, stop bool) (told int64, clean bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	report, err := w.engine.Verify(ctx, "billing", q, func(p change.Progress) {
		if p.Table == "inv" {
			told = max(told, p.Done)
		}
		if stop && told > 0 {
			cancel()
		}
	})
	if stop == (err == nil) {
		w.t.Fatalf("interrupted: %v, and the verification ended with %v", stop, err)
	}
	if err == nil && report.Rows != 2*6000 {
		w.t.Errorf("%d rows were compared", report.Rows)
	}
	return told, report.Clean
}

// TestAVerificationThatWasInterruptedGoesOnWhereItWas, in another process too,
// and begins anew where that is asked for.
func TestAVerificationThatWasInterruptedGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t, 6000)
	ctx := context.Background()
	must(t, w.engine.Prepare(ctx, "billing"))
	must(t, w.engine.Copy(ctx, "billing", nil))
	if told, _ := w.watched(engine.VerifyRequest{}, true); told >= 6000 {
		t.Fatalf("%d rows were compared before the interruption", told)
	}
	w.restart(engine.Options{Bounds: patient})
	if told, clean := w.watched(engine.VerifyRequest{}, false); told >= 6000 || !clean {
		t.Errorf("%d rows of a table were compared again", told)
	}
	if told, clean := w.watched(engine.VerifyRequest{}, false); told != 6000 || !clean {
		t.Errorf("the next one compared %d rows", told)
	}
	w.watched(engine.VerifyRequest{}, true)
	if told, clean := w.watched(engine.VerifyRequest{Anew: true}, false); told != 6000 || !clean {
		t.Errorf("one that was to begin anew compared %d rows", told)
	}
}

// TestWhatWasTouchedSinceAnInterruptedVerificationBeganIsVerifiedBeforeASwitch:
// rows behind the point that it goes on from change, and are not forgotten.
func TestWhatWasTouchedSinceAnInterruptedVerificationBeganIsVerifiedBeforeASwitch(t *testing.T) {
	w := newWorld(t, 6000)
	ctx := context.Background()
	must(t, w.engine.Prepare(ctx, "billing"))
	must(t, w.engine.Copy(ctx, "billing", nil))
	w.watched(engine.VerifyRequest{}, true)
	exec(t, w.monolith, "UPDATE inv SET st = 2 WHERE id = 1")
	w.watched(engine.VerifyRequest{}, false)
	r, err := w.engine.Switch(ctx, "billing", change.Service, "", nil)
	must(t, err)
	if r.Epoch != 2 || w.rows("SELECT count(*) FROM invoices WHERE id = 1 AND status = 'paid'") != 1 {
		t.Errorf("%+v", r)
	}
}

// TestADifferenceBeforeAnInterruptionIsNotForgotten: the next verification goes
// on from before it.
func TestADifferenceBeforeAnInterruptionIsNotForgotten(t *testing.T) {
	w := newWorld(t, 6000)
	ctx := context.Background()
	must(t, w.engine.Prepare(ctx, "billing"))
	must(t, w.engine.Copy(ctx, "billing", nil))
	exec(t, w.service, "UPDATE strangler_context SET applier = 1")
	exec(t, w.service, "UPDATE invoices SET amount_cents = -1 WHERE id = 5")
	exec(t, w.service, "UPDATE strangler_context SET applier = 0")
	w.watched(engine.VerifyRequest{}, true)
	if _, clean := w.watched(engine.VerifyRequest{}, false); clean {
		t.Error("the difference is forgotten")
	}
}
