package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"stranglerfig/migrations/change"
)

// doom ends the connection that runs a statement, counted from now on, which
// changes the schema, after it was run and before it is committed.
const doom = `CREATE SEQUENCE public.steps; CREATE TABLE public.doom (at bigint); INSERT INTO public.doom VALUES (0);
	CREATE FUNCTION public.meet_doom() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
		IF nextval('public.steps') = (SELECT at FROM public.doom) THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; END$$;
	CREATE EVENT TRIGGER doom ON ddl_command_end EXECUTE FUNCTION public.meet_doom();
	ALTER EVENT TRIGGER doom ENABLE ALWAYS`

// TestALoadThatDiesAtAnyOfItsStatementsLosesNoIndex: the next engine goes on, and
// in the end everything is there that was there before.
func TestALoadThatDiesAtAnyOfItsStatementsLosesNoIndex(t *testing.T) {
	unlessShort(t)
	c := newCopied(t, 10)
	exec(t, c.follower.app, doom)
	before := c.definitions()
	deaths := 0
	for at := 1; ; at++ {
		exec(t, c.follower.app, "UPDATE public.doom SET at = $1 + (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.steps)", at)
		// dies runs a step, and again as the next engine does where it died.
		died := false
		dies := func(step func() error) {
			t.Helper()
			err := step()
			if err != nil && !strings.Contains(err.Error(), "57P01") {
				t.Fatalf("at statement %d: %v", at, err)
			}
			if err != nil {
				died = true
				c.follower.db.Close()
				c.follower.db = opened(t, c.follower.dsn, change.Monolith, tables(c.plan, change.Service))
				must(t, step())
			}
		}
		dies(func() error { return c.follower.db.BeginLoad(t.Context()) })
		if during := c.definitions(); len(during) > len(before)-4 {
			t.Errorf("at statement %d: little was set aside: %v", at, during)
		}
		must(t, c.run(t.Context(), nil))
		dies(func() error { return c.follower.db.FinishLoad(t.Context()) })
		c.compare()
		if after := c.definitions(); !slices.Equal(before, after) {
			t.Errorf("at statement %d: before %v\nafter %v", at, before, after)
		}
		exec(t, c.follower.app, "UPDATE public.doom SET at = 0")
		must(t, c.follower.db.Unprepare(t.Context(), true))
		must(t, c.follower.db.Prepare(t.Context(), change.Following))
		if !died {
			break
		}
		deaths++
	}
	// Each of five is dropped, and built again.
	if deaths < 10 {
		t.Errorf("a load consists of only %d statements", deaths)
	}
}
