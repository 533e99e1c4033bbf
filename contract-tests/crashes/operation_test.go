package crashes

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// operation does something within a transaction, and the same to the book. What
// it does was drawn before, so that it can be repeated.
type operation func(ctx context.Context, tx pgx.Tx, d dialect, b book) error

// draw draws the next operation.
func (w *client) draw() operation {
	ids := slices.Sorted(maps.Keys(w.book))
	if len(ids) < 2 {
		return w.insertion()
	}
	one, other := ids[w.dice.IntN(len(ids))], ids[w.dice.IntN(len(ids))]
	cents := 1 + w.dice.Int64N(9999)
	switch w.dice.IntN(9) {
	case 0, 1:
		return w.insertion()
	case 2:
		return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error { // a payment between two
			if err := b.credit(ctx, tx, d, one, cents); err != nil {
				return err
			}
			return b.credit(ctx, tx, d, other, -cents)
		}
	case 3:
		status := statuses[w.dice.IntN(len(statuses))]
		return changing(one, func(a *account) { a.status = status }, func(d dialect) string { return d.status }, status)
	case 4:
		memo := w.memo()
		return changing(one, func(a *account) { a.memo = memo }, func(d dialect) string { return d.memo }, memo)
	case 5:
		return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error { // a key that changes, and cascades
			a := b[one]
			delete(b, one)
			b[-one] = a
			_, err := tx.Exec(ctx, d.negate, one)
			return err
		}
	case 6:
		return changing(one, func(a *account) {
			lines := map[int]int64{}
			for pos, quantity := range a.lines {
				lines[pos+100] = quantity
			}
			a.lines = lines
		}, func(d dialect) string { return d.shift })
	case 7:
		return swap(one, other)
	default:
		return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error {
			delete(b, one)
			_, err := tx.Exec(ctx, d.remove, one)
			return err
		}
	}
}

// changing is an operation that changes one account by one statement.
func changing(id int64, change func(a *account), query func(d dialect) string, args ...any) operation {
	return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error {
		a := b[id]
		change(&a)
		b[id] = a
		_, err := tx.Exec(ctx, query(d), append([]any{id}, args...)...)
		return err
	}
}

func (b book) credit(ctx context.Context, tx pgx.Tx, d dialect, id, cents int64) error {
	a := b[id]
	a.cents += cents
	b[id] = a
	_, err := tx.Exec(ctx, d.amount, id, cents)
	return err
}

// swap exchanges two unique codes in one transaction.
func swap(one, other int64) operation {
	return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error {
		if one == other {
			return nil
		}
		first, second := b[one], b[other]
		for _, step := range []struct {
			id   int64
			code string
		}{{one, first.code + "-aside"}, {other, first.code}, {one, second.code}} {
			if _, err := tx.Exec(ctx, d.code, step.id, step.code); err != nil {
				return err
			}
		}
		first.code, second.code = second.code, first.code
		b[one], b[other] = first, second
		return nil
	}
}

// insertion inserts an account with lines.
func (w *client) insertion() operation {
	a := account{
		code: fmt.Sprintf("%s-%d", w.name, w.n), cents: w.dice.Int64N(100_000),
		status: statuses[w.dice.IntN(len(statuses))], memo: w.memo(), lines: map[int]int64{},
	}
	for pos := range w.dice.IntN(4) {
		a.lines[pos+1] = 1 + w.dice.Int64N(50)
	}
	return func(ctx context.Context, tx pgx.Tx, d dialect, b book) error {
		var id int64
		if err := tx.QueryRow(ctx, d.insert, a.code, a.cents, a.status, a.memo).Scan(&id); err != nil {
			return err
		}
		for pos, quantity := range a.lines {
			if _, err := tx.Exec(ctx, d.line, id, pos, quantity); err != nil {
				return err
			}
		}
		b[id] = a
		return nil
	}
}

// memo is a text that is now and then too long to be stored in its row.
func (w *client) memo() string {
	letters := make([]byte, []int{8, 40, 6000}[w.dice.IntN(3)])
	for i := range letters {
		letters[i] = byte('!' + w.dice.IntN(90))
	}
	return string(letters)
}
