package changetest

import (
	"errors"
	"sync"
	"sync/atomic"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var applying = []promise{
	{"applying the same batch again changes nothing", func(b *bench) {
		b.following()
		b.take("one", 0)
		first := change.Batch{From: 0, To: 5, Changes: []change.Change{putItem(1, "a", 1)}}
		b.must(b.db.Apply(b.ctx, "stream", "one", first))
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 5, To: 9, Changes: []change.Change{putItem(1, "a", 2)}}))
		unchanged := b.unchanged()
		b.refused("one", first)
		unchanged("the first batch was applied twice")
		b.expectCheckpoint(9, "", "one")
	}},
	{"a batch that does not begin where the stream is is refused", func(b *bench) {
		b.following()
		b.take("one", 7)
		for _, from := range []change.Position{0, 6, 8} {
			b.refused("one", change.Batch{From: from, To: 20, Changes: []change.Change{putItem(1, "a", 1)}})
		}
		b.same("rows", b.rows(), state{})
		b.expectCheckpoint(7, "", "one")
	}},
	{"of many appliers of one batch exactly one succeeds", func(b *bench) {
		b.following()
		b.take("one", 0)
		batch := change.Batch{From: 0, To: 5, Changes: []change.Change{putItem(1, "a", 1)}}
		var succeeded atomic.Int64
		var all sync.WaitGroup
		for range 6 {
			db := b.reopened()
			all.Go(func() {
				switch err := db.Apply(b.ctx, "stream", "one", batch); {
				case err == nil:
					succeeded.Add(1)
				case !errors.Is(err, change.ErrStaleRunner):
					b.Error(err)
				}
			})
		}
		all.Wait()
		if n := succeeded.Load(); n != 1 {
			b.Errorf("%d succeeded", n)
		}
	}},
	{"a runner whose stream was taken changes nothing", func(b *bench) {
		b.following()
		b.take("one", 0)
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 0, To: 5, Changes: []change.Change{putItem(1, "a", 1)}}))
		if cp := b.take("two", 0); cp.Position != 5 {
			b.Errorf("the second runner begins at %d, want 5", cp.Position)
		}
		unchanged := b.unchanged()
		b.refused("one", change.Batch{From: 5, To: 6, Changes: []change.Change{putItem(1, "a", 9), putItem(2, "b", 9)}})
		unchanged("a stale runner wrote")
		b.must(b.db.Apply(b.ctx, "stream", "two", change.Batch{From: 5, To: 6, Changes: []change.Change{deleteItem(1)}}))
		b.same("rows", b.rows(), state{})
	}},
	{"streams do not mind each other", func(b *bench) {
		b.following()
		b.take("one", 3)
		cp, err := b.db.TakeStream(b.ctx, "other", "two", 40)
		b.must(err)
		if cp.Position != 40 {
			b.Errorf("the other stream begins at %d", cp.Position)
		}
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 3, To: 4}))
		b.expectCheckpoint(4, "", "one")
	}},
	{"the position moves with the data or not at all", func(b *bench) {
		b.following()
		b.take("one", 0)
		bad := putItem(2, "b", 0)
		bad.Row[2] = mapping.Null()
		err := b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 0, To: 5, Marker: "m", Changes: []change.Change{putItem(1, "a", 1), bad}})
		if err == nil || errors.Is(err, change.ErrStaleRunner) {
			b.Fatalf("a row without its quantity: %v", err)
		}
		b.same("rows", b.rows(), state{})
		b.expectCheckpoint(0, "", "one")
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 0, To: 5, Marker: "m", Changes: []change.Change{putItem(1, "a", 1)}}))
		b.expectCheckpoint(5, "m", "one")
	}},
	{"the last marker stays with the stream", func(b *bench) {
		b.following()
		b.take("one", 0)
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 0, To: 5, Marker: "m"}))
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 5, To: 6}))
		b.expectCheckpoint(6, "m", "one")
		if cp := b.take("two", 0); cp.Position != 6 || cp.Marker != "m" {
			b.Errorf("the next runner is told %+v", cp)
		}
	}},
	{"a stream that was never taken is at the beginning", func(b *bench) {
		b.following()
		b.expectCheckpoint(0, "", "")
	}},
	{"a checkpoint survives reopening", func(b *bench) {
		b.following()
		b.take("one", 0)
		b.must(b.db.Apply(b.ctx, "stream", "one", change.Batch{From: 0, To: 5, Marker: "m"}))
		b.db = b.reopened()
		b.expectCheckpoint(5, "m", "one")
	}},
	{"a put inserts or updates, and a delete of nothing is nothing", func(b *bench) {
		b.following()
		b.apply(putItem(1, "a", 1), deleteItem(99))
		b.apply(putItem(1, "b", 2))
		want := state{}
		want.put(items, item(1, "b", 2))
		b.same("rows", b.rows(), want)
	}},
	{"columns outside the move keep what they hold", func(b *bench) {
		b.leading()
		b.exec("INSERT INTO items (id, code, qty, note) VALUES (1, 'a', 1, 'mine')")
		b.apply(putItem(1, "b", 2))
		b.expectNote(1, "mine")
		b.must(b.db.Repair(b.ctx, putItem(1, "c", 3)))
		b.expectNote(1, "mine")
	}},
	{"a unique value may move from a deleted row to a new one", func(b *bench) {
		b.following()
		b.apply(putItem(1, "a", 1))
		b.apply(putItem(2, "a", 1), deleteItem(1))
		want := state{}
		want.put(items, item(2, "a", 1))
		b.same("rows", b.rows(), want)
	}},
	{"two rows may swap a unique value and keep their other columns", func(b *bench) {
		b.leading()
		b.exec("INSERT INTO items (id, code, qty, note) VALUES (1, 'a', 1, 'first')")
		b.exec("INSERT INTO items (id, code, qty, note) VALUES (2, 'b', 2, 'second')")
		b.apply(putItem(1, "b", 1), putItem(2, "a", 2))
		want := state{}
		want.put(items, item(1, "b", 1))
		want.put(items, item(2, "a", 2))
		b.same("rows", b.rows(), want)
		b.expectNote(1, "first")
		b.expectNote(2, "second")
	}},
	{"a follower reaches every state of a leader that swaps and renumbers", func(b *bench) {
		b.seed(6)
		b.leading()
		f := b.follower()
		b.exec("UPDATE items SET qty = qty")
		b.exec("UPDATE tags SET weight = 1")
		f.stream(b, "runner")
		f.same("the follower", f.rows(), b.rows())
		for _, q := range []string{
			"UPDATE items SET code = 'tmp' WHERE id = 10", "UPDATE items SET code = 'seed-1' WHERE id = 20", "UPDATE items SET code = 'seed-2' WHERE id = 10",
			"UPDATE items SET id = id + 1 WHERE id >= 40", "UPDATE items SET id = 5 WHERE id = 30", "INSERT INTO items (id, code, qty) VALUES (30, 'new', 1)",
			"DELETE FROM tags WHERE item = 10", "UPDATE tags SET item = 10 WHERE item = 20",
		} {
			b.exec(q)
		}
		f.stream(b, "runner")
		f.same("the follower", f.rows(), b.rows())
	}},
}

// take takes the bench's stream.
func (b *bench) take(runner string, start change.Position) change.Checkpoint {
	b.Helper()
	cp, err := b.db.TakeStream(b.ctx, "stream", runner, start)
	b.must(err)
	return cp
}

func (b *bench) refused(runner string, batch change.Batch) {
	b.Helper()
	if err := b.db.Apply(b.ctx, "stream", runner, batch); !errors.Is(err, change.ErrStaleRunner) {
		b.Errorf("a batch from %d by runner %s: %v", batch.From, runner, err)
	}
}

func (b *bench) expectCheckpoint(at change.Position, marker, runner string) {
	b.Helper()
	cp, err := b.db.Stream(b.ctx, "stream")
	b.must(err)
	if want := (change.Checkpoint{Position: at, Marker: marker, Runner: runner}); cp != want {
		b.Errorf("the checkpoint is %+v, want %+v", cp, want)
	}
}

func (b *bench) expectNote(id int64, want string) {
	b.Helper()
	var note string
	if err := b.Writer.QueryRowContext(b.ctx, b.text("SELECT note FROM items WHERE id = ?"), id).Scan(&note); err != nil || note != want {
		b.Errorf("the note of item %d is %q (%v), want %q", id, note, err, want)
	}
}
