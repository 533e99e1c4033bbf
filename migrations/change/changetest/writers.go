package changetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// traffic is several writers at work, as an application has them.
type traffic struct {
	did  chan struct{} // one for every transaction that ended
	quit chan struct{}
	once sync.Once
	done sync.WaitGroup
}

// writers starts n writers, each with keys of its own to insert and all seeds
// to change. They end with stop, or with the test.
func (b *bench) writers(n int) *traffic {
	t := &traffic{did: make(chan struct{}), quit: make(chan struct{})}
	b.Cleanup(t.stop)
	for i := range n {
		w := &writer{bench: b, random: rand.New(rand.NewPCG(uint64(i), 42)), residue: int64(i + 1)}
		t.done.Go(func() { w.run(t) })
	}
	return t
}

// wait returns once n more transactions have ended.
func (t *traffic) wait(n int) {
	for range n {
		<-t.did
	}
}

// stop ends the writers and waits for them.
func (t *traffic) stop() {
	t.once.Do(func() { close(t.quit) })
	t.done.Wait()
}

// writer inserts ids of one residue modulo ten, so that writers never collide;
// seeds have the residue zero.
type writer struct {
	*bench
	random  *rand.Rand
	residue int64
	used    int64
}

func (w *writer) run(t *traffic) {
	failed := false
	for {
		if !failed {
			if err := w.transaction(); err != nil && w.ctx.Err() == nil {
				w.Errorf("a writer: %v", err)
				failed = true // but keep whoever waits for it going
			}
		}
		select {
		case t.did <- struct{}{}:
		case <-t.quit:
			return
		}
	}
}

// transaction commits a few statements, or now and then rolls them back. Only
// the first of them touches rows that others touch too, so that writers wait
// for each other but never in a circle.
func (w *writer) transaction() error {
	tx, err := w.Writer.BeginTx(w.ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	statements := []string{w.shared()}
	for range w.random.IntN(3) {
		statements = append(statements, w.insert())
	}
	for _, q := range statements {
		if _, err := tx.ExecContext(w.ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	if w.random.IntN(8) == 0 {
		return tx.Rollback()
	}
	return tx.Commit()
}

// fresh returns an id that was never used, before, between or after the seeds.
func (w *writer) fresh() int64 {
	w.used++
	if w.used < scatter {
		return w.residue + 10*(w.used*7919%scatter)
	}
	return w.residue + 10*w.used
}

// scatter is a prime: up to it, multiples of another prime are all different.
const scatter = 997

func (w *writer) insert() string {
	id := w.fresh()
	if w.random.IntN(3) == 0 {
		return fmt.Sprintf("INSERT INTO tags (item, name, weight) VALUES (%d, 'w', %d)", id, w.used)
	}
	return fmt.Sprintf("INSERT INTO items (id, code, qty) VALUES (%d, 'w-%d-%d', 1)", id, w.residue, w.used)
}

func (w *writer) shared() string {
	seed := 10 * (1 + w.random.Int64N(40))
	switch w.random.IntN(6) {
	case 0:
		return fmt.Sprintf("UPDATE items SET qty = qty + 1 WHERE id = %d", seed)
	case 1:
		return fmt.Sprintf("UPDATE items SET id = %d WHERE id = %d", w.fresh(), seed)
	case 2:
		return fmt.Sprintf("DELETE FROM items WHERE id = %d", seed)
	case 3:
		return fmt.Sprintf("UPDATE tags SET weight = %d WHERE item = %d", w.used, seed)
	case 4:
		return fmt.Sprintf("DELETE FROM tags WHERE item BETWEEN %d AND %d", seed, seed+20)
	default:
		return w.insert()
	}
}
