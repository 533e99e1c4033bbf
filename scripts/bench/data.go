package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The names of the competitors.
const (
	ours  = "strangler"
	plain = "attach-insert-select"
)

// smallRows is the size against which the memory of the full copy is held.
const smallRows = 100_000

// dataBench measures the copy of the shop's invoices on SQLite.
type dataBench struct {
	ctx     context.Context
	log     io.Writer // what is going on, for people
	root    string    // of the repository
	dir     string    // for the databases
	rows    int
	rounds  int
	profile string
	worlds  int // folders made so far
}

// data runs the bench of the data half. On SQLite: the rate of the copy beside
// one plain statement, its memory, and its resumption after a kill. On
// PostgreSQL: the cases of [postgresCases].
func data(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	b := dataBench{ctx: ctx, log: errs}
	flags := flag.NewFlagSet("data", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.IntVar(&b.rows, "rows", 1_000_000, "invoices to copy")
	flags.IntVar(&b.rounds, "rounds", 3, "timed rounds of each competitor")
	flags.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of our first round to this `file`")
	database := flags.String("database", "sqlite", "what is moved: sqlite or postgres")
	dsn := flags.String("dsn", "", "PostgreSQL server to use; default: one of its own, from the binaries on this machine")
	cases := flags.String("case", "", "PostgreSQL: only these cases, with commas between them")
	asJSON := flags.Bool("json", false, "print one JSON object a line")
	within := flags.String("dir", "", "`folder` for the databases, which are removed at the end (default: the system's for temporary files)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || b.rows < smallRows || b.rounds < 1 {
		return fmt.Errorf("data takes no arguments, --rows of at least %d and --rounds of at least 1", smallRows)
	}
	if b.root, err = repository(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*within, "strangler-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var measures []measure
	switch *database {
	case "sqlite":
		measures, err = b.measure()
	case "postgres":
		measures, err = measurePostgres(ctx, errs, *dsn, b.dir, b.rows, b.rounds, *cases)
	default:
		err = fmt.Errorf("--database %q: accepted are sqlite, postgres", *database)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(out, measures)
	}
	return printTable(out, measures)
}

// measure runs every case.
func (b *dataBench) measure() ([]measure, error) {
	monolith, err := b.fill(b.rows)
	if err != nil {
		return nil, err
	}
	copied, full, err := b.copyRounds(monolith)
	if err != nil {
		return nil, err
	}
	memory, err := b.memory(full)
	if err != nil {
		return nil, err
	}
	resumed, err := b.resume(monolith)
	return append(append(copied, memory...), resumed...), err
}

// fill makes a monolith's database with so many invoices, once.
func (b *dataBench) fill(rows int) (path string, err error) {
	path = filepath.Join(b.dir, "monolith-"+strconv.Itoa(rows)+".db")
	if _, err := os.Stat(path); err == nil {
		return path, nil // another case has filled it
	}
	r, _, err := runStep(b.ctx, step{Do: "fill", Root: b.root, Monolith: path, Rows: rows})
	b.say("filled a monolith with %d invoices in %s", rows, r.Took.Round(time.Millisecond))
	return path, err
}

// world is a step on a service's database and a ledger that are new.
func (b *dataBench) world(do, monolith string) (s step, remove func() error, err error) {
	b.worlds++
	dir := filepath.Join(b.dir, strconv.Itoa(b.worlds))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return step{}, nil, err
	}
	return step{
		Do: do, Root: b.root, Monolith: monolith,
		Service: filepath.Join(dir, "service.db"), State: filepath.Join(dir, "state"),
	}, func() error { return os.RemoveAll(dir) }, nil
}

// round runs one competitor on a new service's database, and returns its rate
// in rows per second and its peak memory in bytes.
func (b *dataBench) round(do, monolith string, rows int, profile string) (rate float64, peak int64, err error) {
	s, remove, err := b.world(do, monolith)
	if err != nil {
		return 0, 0, err
	}
	s.Profile = profile
	r, peak, err := runStep(b.ctx, s)
	if err := errors.Join(err, remove()); err != nil {
		return 0, 0, err
	}
	if r.Rows != int64(rows) {
		return 0, 0, fmt.Errorf("%s stored %d rows of %d", do, r.Rows, rows)
	}
	rate = float64(rows) / r.Took.Seconds()
	b.say("%s: %d rows in %s (%s of processor time), %.0f rows/s, peak %s",
		do, rows, r.Took.Round(time.Millisecond), r.CPU.Round(time.Millisecond), rate, mebibytes(peak))
	return rate, peak, nil
}

// copyRounds lets both competitors copy in turn. It also returns the largest
// memory that our copies had.
func (b *dataBench) copyRounds(monolith string) (found []measure, peak int64, err error) {
	var mine, theirs []float64
	for i := range b.rounds {
		profile := ""
		if i == 0 {
			profile = b.profile
		}
		rate, memory, err := b.round("copy", monolith, b.rows, profile)
		if err != nil {
			return nil, 0, err
		}
		mine, peak = append(mine, rate), max(peak, memory)
		if rate, _, err = b.round("plain", monolith, b.rows, ""); err != nil {
			return nil, 0, err
		}
		theirs = append(theirs, rate)
	}
	first := spread("copy", ours, "rows/s", b.rows, mine)
	first.RatioTo = map[string]float64{plain: median(mine) / median(theirs)}
	first.Ratios = ratios(mine, theirs)
	return []measure{first, spread("copy", plain, "rows/s", b.rows, theirs)}, peak, nil
}

// memory holds the peak of the full copies against that of a small one.
func (b *dataBench) memory(full int64) ([]measure, error) {
	monolith, err := b.fill(smallRows)
	if err != nil {
		return nil, err
	}
	_, small, err := b.round("copy", monolith, smallRows, "")
	if err != nil {
		return nil, err
	}
	most := single("peak memory", ours, "bytes", b.rows, float64(full))
	most.RatioTo = map[string]float64{strconv.Itoa(smallRows) + " rows": float64(full) / float64(small)}
	return []measure{single("peak memory", ours, "bytes", smallRows, float64(small)), most}, nil
}

// resume kills a copy halfway and lets a new process go on.
func (b *dataBench) resume(monolith string) ([]measure, error) {
	s, remove, err := b.world("copy", monolith)
	if err != nil {
		return nil, err
	}
	if err := b.killHalfway(s); err != nil {
		return nil, err
	}
	s.Do = "resume"
	r, _, err := runStep(b.ctx, s)
	if err := errors.Join(err, remove()); err != nil {
		return nil, err
	}
	b.say("resumed at %d rows and went on for %s; %d rows compared, %d differ", r.Before, r.Took.Round(time.Millisecond), r.Verified, r.Differ)
	return []measure{
		single("resume after SIGKILL", "loaded at restart", "rows", b.rows, float64(r.Before)),
		single("resume after SIGKILL", "loaded after restart", "rows", b.rows, float64(r.Recorded-r.Before)),
		single("resume after SIGKILL", "in the target", "rows", b.rows, float64(r.Rows)),
		single("resume after SIGKILL", "compared", "rows", b.rows, float64(r.Verified)),
		single("resume after SIGKILL", "differ", "rows", b.rows, float64(r.Differ)),
	}, b.resumedWell(r)
}

// killHalfway starts a copy and kills it when half of the rows are loaded.
func (b *dataBench) killHalfway(s step) error {
	p, err := startStep(b.ctx, s)
	if err != nil {
		return err
	}
	for rows, ok := p.next(); ok; rows, ok = p.next() {
		if rows >= int64(b.rows)/2 {
			b.say("killing the copy, which told of %d rows", rows)
			return p.kill()
		}
	}
	_, _, err = p.wait()
	return errors.Join(err, errors.New("the copy ended before it was half done: raise --rows"))
}

// resumedWell says what is wrong with a resumed copy.
func (b *dataBench) resumedWell(r result) error {
	total := int64(b.rows)
	switch {
	case r.Before < total/2 || r.Before >= total:
		return fmt.Errorf("%d of %d rows were loaded at the restart, though the copy was killed halfway", r.Before, total)
	case r.Recorded != total:
		return fmt.Errorf("both processes together loaded %d rows of %d: the second one did not go on where the first one was", r.Recorded, total)
	case r.Rows != total || r.Verified != total || r.Differ != 0:
		return fmt.Errorf("the target has %d rows of %d; %d were compared and %d differ", r.Rows, total, r.Verified, r.Differ)
	}
	return nil
}

func (b *dataBench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }
