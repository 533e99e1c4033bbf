package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/postgres"
)

// The competitors that read and apply a log.
const (
	recvlogical  = "pg_recvlogical"
	subscription = "native-subscription"
)

// backlogTransactions is how many of pgbench's transactions make the log that is
// read and applied in each round.
const backlogTransactions = 40_000

// pgbenchTables are those of pgbench's tables that have a key.
var pgbenchTables = []change.Table{
	{Name: "pgbench_branches", Columns: []string{"bid", "bbalance", "filler"}, Key: []int{0}},
	{Name: "pgbench_tellers", Columns: []string{"tid", "bid", "tbalance", "filler"}, Key: []int{0}},
	{Name: "pgbench_accounts", Columns: []string{"aid", "bid", "abalance", "filler"}, Key: []int{0}},
}

// backlog is a database in which pgbench has run since a slot was created.
type backlog struct {
	dsn  string
	from change.Position // where the log begins
	slot string          // our slot, and our publication
	end  string          // of the log
	base string          // a database as it was at the beginning
}

// backlog makes the log that both competitors read.
func (b *postgresBench) backlog() (l backlog, err error) {
	if l.dsn, err = b.database("pgbench"); err != nil {
		return l, err
	}
	if l.base, err = b.database("base"); err != nil {
		return l, err
	}
	for _, dsn := range []string{l.dsn, l.base} {
		if err := pgbench(b.ctx, "-i", "-s", "5", "-q", dsn); err != nil {
			return l, err
		}
	}
	db, err := postgres.Open(b.ctx, l.dsn, capability, change.Monolith, pgbenchTables)
	if err != nil {
		return l, err
	}
	defer db.Close()
	if err := db.Prepare(b.ctx, change.Leading); err != nil {
		return l, err
	}
	if l.from, err = db.Head(b.ctx); err != nil {
		return l, err
	}
	b.say("running %d transactions of pgbench", backlogTransactions)
	if err := pgbench(b.ctx, "-c", "8", "-j", "2", "-t", fmt.Sprint(backlogTransactions/8), "-n", l.dsn); err != nil {
		return l, err
	}
	if l.slot, err = query[string](b.ctx, l.dsn, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"); err != nil {
		return l, err
	}
	l.end, err = query[string](b.ctx, l.dsn, "SELECT pg_current_wal_lsn()::text")
	return l, err
}

// let drops the slot.
func (b *postgresBench) let(l backlog) error {
	return execute(b.ctx, l.dsn, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
}

func pgbench(ctx context.Context, args ...string) error {
	path, err := tool("pgbench")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	return nil
}

// copied runs a function with a copy of the backlog's slot, which it may use up.
func (b *postgresBench) copied(l backlog, run func(slot string) error) error {
	const name = "strangler_bench_copy"
	if err := execute(b.ctx, l.dsn, fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%s')", l.slot, name)); err != nil {
		return err
	}
	if err := run(name); err != nil {
		return err
	}
	// Whoever used it may take a moment to let go.
	var err error
	for range 100 {
		if err = execute(b.ctx, l.dsn, fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", name)); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (b *postgresBench) decodeRounds() ([]measure, error) {
	l, err := b.backlog()
	if err != nil {
		return nil, err
	}
	path, err := tool("pg_recvlogical")
	if err != nil {
		return nil, err
	}
	rates := map[string][]float64{}
	for i := range b.rounds {
		for _, who := range inTurn(i, ours, recvlogical) {
			var took time.Duration
			var err error
			if who == ours {
				took, err = b.decode(l)
			} else {
				err = b.copied(l, func(slot string) error {
					begun := time.Now()
					out, err := exec.CommandContext(b.ctx, path, "-d", l.dsn, "--slot="+slot, "--start", "-o", "proto_version=1",
						"-o", `publication_names="`+l.slot+`"`, "-o", "messages=true", "-f", "/dev/null", "-F", "0", "--endpos="+l.end).CombinedOutput()
					took = time.Since(begun)
					if err != nil {
						return fmt.Errorf("pg_recvlogical: %w\n%s", err, out)
					}
					return nil
				})
			}
			if err != nil {
				return nil, err
			}
			rates[who] = append(rates[who], backlogTransactions/took.Seconds())
			b.say("%s read %d transactions in %s", who, backlogTransactions, took.Round(time.Millisecond))
		}
	}
	return versus("decode", recvlogical, "transactions/s", backlogTransactions, rates[ours], rates[recvlogical]), b.let(l)
}

// decode reads the whole backlog into rows.
func (b *postgresBench) decode(l backlog) (time.Duration, error) {
	db, err := postgres.Open(b.ctx, l.dsn, capability, change.Monolith, pgbenchTables)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	begun := time.Now()
	for at := l.from; ; {
		batch, err := db.Read(b.ctx, at, 2000)
		if err != nil || batch.To == at {
			return time.Since(begun), err
		}
		at = batch.To
	}
}

func (b *postgresBench) applyRounds() ([]measure, error) {
	l, err := b.backlog()
	if err != nil {
		return nil, err
	}
	sum, err := query[int64](b.ctx, l.dsn, "SELECT sum(abalance) FROM pgbench_accounts")
	if err != nil {
		return nil, err
	}
	rates := map[string][]float64{}
	for i := range b.rounds {
		for _, who := range inTurn(i, ours, subscription) {
			if err := execute(b.ctx, l.dsn, "DROP DATABASE IF EXISTS strangler_bench_follower WITH (FORCE)",
				"CREATE DATABASE strangler_bench_follower TEMPLATE "+databaseOf(l.base)); err != nil {
				return nil, err
			}
			follower := strings.Replace(l.base, databaseOf(l.base), "strangler_bench_follower", 1)
			var took time.Duration
			if who == ours {
				took, err = b.apply(l, follower)
			} else {
				err = b.copied(l, func(slot string) (err error) { took, err = b.subscribe(l, follower, slot, sum); return err })
			}
			if err != nil {
				return nil, err
			}
			got, err := query[int64](b.ctx, follower, "SELECT sum(abalance) FROM pgbench_accounts")
			if err != nil || got != sum {
				return nil, fmt.Errorf("%s arrived at %d instead of %d (%v)", who, got, sum, err)
			}
			rates[who] = append(rates[who], backlogTransactions/took.Seconds())
			b.say("%s applied %d transactions in %s", who, backlogTransactions, took.Round(time.Millisecond))
		}
	}
	return versus("apply", subscription, "transactions/s", backlogTransactions, rates[ours], rates[subscription]),
		execute(b.ctx, l.dsn, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database LIKE 'strangler_bench_%'",
			"DROP DATABASE strangler_bench_follower WITH (FORCE)")
}

// apply reads the backlog and applies it.
func (b *postgresBench) apply(l backlog, follower string) (time.Duration, error) {
	from, err := postgres.Open(b.ctx, l.dsn, capability, change.Monolith, pgbenchTables)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	to, err := postgres.Open(b.ctx, follower, capability, change.Service, pgbenchTables)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	if err := to.Prepare(b.ctx, change.Following); err != nil {
		return 0, err
	}
	if _, err := to.TakeStream(b.ctx, "bench", "bench", l.from); err != nil {
		return 0, err
	}
	begun := time.Now()
	for at := l.from; ; {
		batch, err := from.Read(b.ctx, at, 2000)
		if err != nil {
			return 0, err
		}
		if batch.To == at {
			return time.Since(begun), to.Unprepare(b.ctx, false)
		}
		if err := to.Apply(b.ctx, "bench", "bench", batch); err != nil {
			return 0, err
		}
		at = batch.To
	}
}

// subscribe lets PostgreSQL itself apply the backlog.
func (b *postgresBench) subscribe(l backlog, follower, slot string, sum int64) (time.Duration, error) {
	err := execute(b.ctx, follower, fmt.Sprintf(`CREATE SUBSCRIPTION bench CONNECTION '%s' PUBLICATION "%s" WITH (create_slot = false, slot_name = '%s', copy_data = false)`, l.dsn, l.slot, slot))
	if err != nil {
		return 0, err
	}
	// The server starts its worker when it pleases; that is not counted.
	for working := false; !working; {
		if working, err = query[bool](b.ctx, follower, "SELECT EXISTS (SELECT 1 FROM pg_stat_subscription WHERE pid IS NOT NULL)"); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for got := sum + 1; got != sum; {
		if got, err = query[int64](b.ctx, follower, "SELECT sum(abalance) FROM pgbench_accounts"); err != nil {
			return 0, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(begun)
	return took, execute(b.ctx, follower, "ALTER SUBSCRIPTION bench DISABLE", "ALTER SUBSCRIPTION bench SET (slot_name = NONE)", "DROP SUBSCRIPTION bench")
}
