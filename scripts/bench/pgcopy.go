package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/engine"
	"stranglerfig/migrations/ledger"
)

// copyPipe is the competitor of the copy: COPY … TO STDOUT (FORMAT binary) piped
// into COPY … FROM STDIN (FORMAT binary), as many at once as our copy has
// workers, without any transform.
const copyPipe = "copy-pipe"

// copyWorkers is how many parts are copied side by side, by both.
const copyWorkers = 4

func (b *postgresBench) copyRounds() ([]measure, error) {
	orders, err := b.orders()
	if err != nil {
		return nil, err
	}
	rates := map[string][]float64{}
	var peak int64
	for i := range b.rounds {
		for _, who := range inTurn(i, "pg-copy", "pg-pipe") {
			service, err := b.database("sales")
			if err != nil {
				return nil, err
			}
			s, err := b.world(who, orders, service)
			if err != nil {
				return nil, err
			}
			r, memory, err := runStep(b.ctx, s)
			if err != nil {
				return nil, err
			}
			if r.Rows != int64(b.rows) {
				return nil, fmt.Errorf("%s stored %d rows of %d", who, r.Rows, b.rows)
			}
			if who == "pg-copy" {
				peak = max(peak, memory)
			}
			rates[who] = append(rates[who], float64(r.Rows)/r.Took.Seconds())
			b.say("%s: %d rows in %s (%s of our processor time), peak %s", who, r.Rows, r.Took.Round(time.Millisecond), r.CPU.Round(time.Millisecond), mebibytes(memory))
		}
	}
	return append(versus("copy", copyPipe, "rows/s", b.rows, rates["pg-copy"], rates["pg-pipe"]),
		single("peak memory", ours, "bytes", b.rows, float64(peak))), nil
}

// inTurn lets another competitor begin each round.
func inTurn(round int, a, b string) []string {
	if round%2 == 1 {
		return []string{b, a}
	}
	return []string{a, b}
}

// openOrders opens a move of the bench's orders.
func openOrders(ctx context.Context, s step) (*move, error) {
	plan, err := ordersPlan()
	if err != nil {
		return nil, err
	}
	journal, err := ledger.Open(s.State, time.Now)
	if err != nil {
		return nil, err
	}
	m := &move{ledger: journal, engine: engine.New(engine.Options{Ledger: journal, Routes: noClients{}})}
	err = m.engine.Open(ctx, engine.Spec{Capability: capability, Plan: plan, Monolith: s.Monolith, Service: s.Service})
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func pgCopyStep(ctx context.Context, s step, tell func(int64)) (r result, err error) {
	if err := execute(ctx, s.Service, salesTable, fmt.Sprintf(ordersIndex, "sales")); err != nil {
		return r, err
	}
	m, err := openOrders(ctx, s)
	if err != nil {
		return r, err
	}
	r.Took, r.CPU, err = m.copy(ctx, func(p change.Progress) { tell(p.Done) })
	if err := errors.Join(err, m.close()); err != nil {
		return r, err
	}
	r.Rows, err = query[int64](ctx, s.Service, "SELECT count(*) FROM sales")
	return r, errors.Join(err, forgetMove(ctx, s))
}

// forgetMove drops the slots that a move left, so that they keep no log.
func forgetMove(ctx context.Context, s step) error {
	for _, dsn := range []string{s.Monolith, s.Service} {
		err := execute(ctx, dsn, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database() AND NOT active",
			"DROP SCHEMA IF EXISTS strangler CASCADE", `DO $$DECLARE name text; BEGIN FOR name IN SELECT pubname FROM pg_publication LOOP EXECUTE format('DROP PUBLICATION %I', name); END LOOP; END$$`)
		if err != nil {
			return err
		}
	}
	return nil
}

func pgPipeStep(ctx context.Context, s step, _ func(int64)) (r result, err error) {
	if err := execute(ctx, s.Service, fmt.Sprintf(ordersTable, "orders")); err != nil {
		return r, err
	}
	r.Took, r.CPU, err = timed(func() error {
		workers, together := errgroup.WithContext(ctx)
		for i := range copyWorkers {
			workers.Go(func() error {
				return pipe(together, s.Monolith, s.Service, fmt.Sprintf("COPY (SELECT %s FROM orders WHERE id > %d AND id <= %d) TO STDOUT (FORMAT binary)",
					ordersColumns, i*s.Rows/copyWorkers, (i+1)*s.Rows/copyWorkers), "COPY orders FROM STDIN (FORMAT binary)")
			})
		}
		if err := workers.Wait(); err != nil {
			return err
		}
		return execute(ctx, s.Service, fmt.Sprintf(ordersIndex, "orders"), "ANALYZE orders")
	})
	if err != nil {
		return r, err
	}
	r.Rows, err = query[int64](ctx, s.Service, "SELECT count(*) FROM orders")
	return r, err
}

// pipe feeds one COPY from another.
func pipe(ctx context.Context, source, target, out, in string) error {
	from, err := pgx.Connect(ctx, source)
	if err != nil {
		return err
	}
	defer from.Close(ctx)
	to, err := pgx.Connect(ctx, target)
	if err != nil {
		return err
	}
	defer to.Close(ctx)
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(writer, 64<<10)
		_, err := from.PgConn().CopyTo(ctx, buffered, out)
		err = errors.Join(err, buffered.Flush())
		writer.CloseWithError(err)
		sent <- err
	}()
	_, err = to.PgConn().CopyFrom(ctx, reader, in)
	reader.Close()
	return errors.Join(err, <-sent)
}
