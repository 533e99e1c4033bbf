package control

import (
	"errors"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/control/api"
)

func TestWhatAPairWroteCountsForTheBuildsThatServeOnly(t *testing.T) {
	s := newShop(t)
	s.old.Store("m1")
	c := s.start()
	p, _ := c.config().Capability("billing")
	good := api.Effects{MonolithBuild: "m1", ServiceBuild: "v1", Verdict: "pass", Rows: map[string]int64{"invoices": 2}}
	with := func(change func(*api.Effects)) *api.Effects {
		e := good
		change(&e)
		return &e
	}
	if err := c.judgeEffects(t.Context(), p, &good); err != nil {
		t.Error(err)
	}
	if err := c.judgeEffects(t.Context(), p, nil); err != nil {
		t.Error(err)
	}
	if err := c.judgeEffects(t.Context(), p, with(func(e *api.Effects) { e.Verdict, e.Rows = "fail", nil })); err != nil {
		t.Errorf("a failure is filed as one: %v", err)
	}
	for says, e := range map[string]*api.Effects{
		"other builds":      with(func(e *api.Effects) { e.ServiceBuild = "v2" }),
		"wrote a row":       with(func(e *api.Effects) { e.Rows = nil }),
		"3 got no answer":   with(func(e *api.Effects) { e.Verdict, e.Summary = "insufficient", "3 got no answer" }),
		"builds than those": with(func(e *api.Effects) { e.MonolithBuild = "" }),
	} {
		var refused *api.Error
		if err := c.judgeEffects(t.Context(), p, e); !errors.As(err, &refused) || refused.Code != api.ExitNotEnough || !strings.Contains(refused.Text, says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}
