package changetest

import (
	"errors"
	"slices"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var capturing = []promise{
	{"an insert, an update and a delete are read back in whole rows", func(b *bench) {
		b.leading()
		from := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		b.exec("INSERT INTO tags (item, name) VALUES (1, 'it''s \"ü\" \\ , [x]')")
		changes, _, at := b.read(from)
		b.expectChange(changes, putItem(1, "a", 1))
		odd := tagKey(1, `it's "ü" \ , [x]`)
		b.expectChange(changes, change.Change{Table: tags, Kind: change.Put, Key: odd, Row: change.Row{odd[0], odd[1], mapping.Null()}})
		b.exec("UPDATE items SET qty = 2 WHERE id = 1")
		b.exec("DELETE FROM tags WHERE item = 1")
		changes, _, _ = b.read(at)
		b.expectChange(changes, putItem(1, "a", 2))
		b.expectChange(changes, change.Change{Table: tags, Kind: change.Delete, Key: odd})
	}},
	{"a change of a key is a delete and a put", func(b *bench) {
		b.seed(1)
		b.leading()
		from := b.head()
		b.exec("UPDATE items SET id = 11 WHERE id = 10")
		b.exec("UPDATE tags SET name = 'third' WHERE name = 'second'")
		changes, _, _ := b.read(from)
		b.expectChange(changes, deleteItem(10))
		b.expectChange(changes, putItem(11, "seed-1", 1))
		b.expectChange(changes, change.Change{Table: tags, Kind: change.Delete, Key: tagKey(10, "second")})
		third := tagKey(10, "third")
		b.expectChange(changes, change.Change{Table: tags, Kind: change.Put, Key: third, Row: change.Row{third[0], third[1], mapping.Null()}})
	}},
	{"a statement over many rows is captured row by row", func(b *bench) {
		b.seed(20)
		b.leading()
		from := b.head()
		b.exec("UPDATE items SET qty = qty + 1000")
		b.exec("DELETE FROM tags")
		changes, _, _ := b.read(from)
		if got := len(keys(changes)); got != 60 {
			b.Errorf("%d keys changed, want 60", got)
		}
	}},
	{"what was rolled back is not captured", func(b *bench) {
		b.leading()
		from := b.head()
		tx := b.begin()
		_, err := tx.ExecContext(b.ctx, "INSERT INTO items (code, qty) VALUES ('a', 1)")
		b.must(err)
		b.must(tx.Rollback())
		b.exec("INSERT INTO items (id, code, qty) VALUES (5, 'b', 1)")
		changes, _, _ := b.read(from)
		b.expectKeys("changes", changes, "0[5]")
	}},
	{"a transaction is read whole or not at all", func(b *bench) {
		b.leading()
		from := b.head()
		tx := b.begin()
		_, err := tx.ExecContext(b.ctx, "INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		b.must(err)
		if changes, _, _ := b.read(from); len(changes) > 0 {
			b.Errorf("read before its commit: %v", changes)
		}
		_, err = tx.ExecContext(b.ctx, "INSERT INTO tags (item, name) VALUES (1, 'x')")
		b.must(err)
		b.must(tx.Commit())
		changes, _, _ := b.read(from)
		b.expectKeys("changes", changes, "0[1]", `1[1,"x"]`)
	}},
	{"batches replayed from any position end in what the tables hold", replayEndsInTruth},
	{"what appliers change is never read back", appliersAreNotCaptured},
	{"writers are captured while an applier is at work", writersAreCapturedBesideAnApplier},
	{"acknowledging forgets nothing that is not acknowledged", func(b *bench) {
		b.leading()
		b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		first := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)")
		head := b.head()
		b.must(b.db.Acknowledge(b.ctx, first))
		b.must(b.db.Acknowledge(b.ctx, first))
		changes, _, _ := b.read(first)
		b.expectKeys("changes", changes, "0[2]")
		b.must(b.db.Acknowledge(b.ctx, head))
		if got := b.head(); got != head {
			b.Errorf("the log ended at %d and ends at %d once it is acknowledged", head, got)
		}
		b.exec("INSERT INTO items (id, code, qty) VALUES (3, 'c', 1)")
		changes, _, _ = b.read(head)
		b.expectKeys("changes", changes, "0[3]")
	}},
	{"a log that was let go cannot be followed, and says so", func(b *bench) {
		b.leading()
		from := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		b.must(b.db.Release(b.ctx))
		b.must(b.db.Release(b.ctx))
		if _, err := b.db.Read(b.ctx, from, 10); !errors.Is(err, change.ErrCannotFollow) {
			b.Errorf("read from before: %v", err)
		}
		if _, err := b.db.Retained(b.ctx); err != nil {
			b.Error(err)
		}
	}},
	{"a log that begins anew has everything from there on", recutGoesOn},
	{"touched lists every key changed since, once", touchedListsEveryKey},
	{"touched says when it cannot list everything", touchedAdmitsGaps},
}

// expectChange fails unless the last change of a key is this one.
func (b *bench) expectChange(changes []change.Change, want change.Change) {
	b.Helper()
	var last *change.Change
	for i, c := range changes {
		if id(c.Table, c.Key) == id(want.Table, want.Key) {
			last = &changes[i]
		}
	}
	switch {
	case last == nil:
		b.Errorf("no change of %s was read", id(want.Table, want.Key))
	case last.Kind != want.Kind:
		b.Errorf("the change of %s has kind %d, want %d", id(want.Table, want.Key), last.Kind, want.Kind)
	case mapping.EncodeKey(last.Row) != mapping.EncodeKey(want.Row):
		b.Errorf("the change of %s carries %s, want %s", id(want.Table, want.Key), mapping.EncodeKey(last.Row), mapping.EncodeKey(want.Row))
	}
}

func recutGoesOn(b *bench) {
	b.leading()
	follower := b.follower()
	from := b.head()
	follower.take("first", from)
	b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	b.must(b.db.Release(b.ctx))
	b.exec("INSERT INTO items (id, code, qty) VALUES (2, 'b', 1)")
	at, err := b.db.Recut(b.ctx)
	b.must(err)
	b.must(follower.db.Restart(b.ctx, "stream", at))
	if err := follower.db.Apply(b.ctx, "stream", "first", change.Batch{From: at, To: at + 1}); !errors.Is(err, change.ErrStaleRunner) {
		b.Errorf("who had the stream still has it: %v", err)
	}
	b.exec("INSERT INTO items (id, code, qty) VALUES (3, 'c', 1)")
	if got := follower.take("second", 0); got.Position != at {
		b.Errorf("the stream restarts at %d, want %d", got.Position, at)
	}
	changes, _, _ := b.read(at)
	b.expectKeys("changes", changes, "0[3]")
}

func replayEndsInTruth(b *bench) {
	b.seed(10)
	b.leading()
	w := b.writers(3)
	type cut struct {
		at   change.Position
		held state
	}
	var cuts []cut
	for range 5 {
		w.wait(20)
		held := state{}
		c, err := b.db.ReadChunk(b.ctx, items, nil, 10_000)
		b.must(err)
		for _, row := range c.Rows {
			held.put(items, row)
		}
		cuts = append(cuts, cut{c.At, held})
	}
	w.stop()
	want := b.rows()
	for key := range want {
		if key[0] != '0' {
			delete(want, key)
		}
	}
	for _, c := range cuts {
		changes, _, _ := b.read(c.at)
		c.held.follow(slices.DeleteFunc(changes, func(c change.Change) bool { return c.Table != items }))
		b.same("the state replayed from a cut", c.held, want)
	}
}

func appliersAreNotCaptured(b *bench) {
	b.leading()
	b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
	from := b.head()
	b.apply(putItem(1, "b", 2), putItem(2, "c", 3))
	b.apply(deleteItem(1))
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(9), Rows: []change.Row{item(9, "d", 4)}}))
	b.must(b.db.Repair(b.ctx, putItem(3, "e", 5)))
	b.must(b.db.Repair(b.ctx, deleteItem(9)))
	_, err := b.db.Prove(b.ctx, items, []change.Row{item(4, "f", 6)})
	b.must(err)
	changes, _, _ := b.read(from)
	b.expectKeys("changes read back from an applier", changes)
	touched, all, err := b.db.Touched(b.ctx, from, 10)
	b.must(err)
	if len(touched) > 0 || !all {
		b.Errorf("keys touched by an applier: %v (all: %t)", touched, all)
	}
	b.exec("UPDATE items SET qty = 50 WHERE id = 3")
	changes, _, _ = b.read(from)
	b.expectKeys("changes after the application has written again", changes, "0[3]")
}

func writersAreCapturedBesideAnApplier(b *bench) {
	b.leading()
	from := b.head()
	w := b.writers(2)
	for i := range int64(40) {
		w.wait(1)
		b.apply(change.Change{Table: tags, Kind: change.Put, Key: tagKey(-1-i, "applied"), Row: change.Row{mapping.Int(-1 - i), mapping.Text("applied"), mapping.Int(1)}})
	}
	w.stop()
	changes, _, _ := b.read(from)
	got := state{}
	got.follow(changes)
	want := b.rows()
	for i := range int64(40) {
		applied := id(tags, tagKey(-1-i, "applied"))
		if _, ok := want[applied]; !ok {
			b.Fatalf("%s was applied but is not there", applied)
		}
		delete(want, applied)
	}
	b.same("what the writers wrote, replayed", got, want)
}

func touchedListsEveryKey(b *bench) {
	b.seed(5)
	b.leading()
	b.exec("UPDATE items SET qty = 100 WHERE id = 10")
	since := b.head()
	for range 3 {
		b.exec("UPDATE items SET qty = qty + 1 WHERE id = 20")
	}
	b.exec("DELETE FROM tags WHERE item = 30 AND name = 'first'")
	b.exec("UPDATE items SET id = 41 WHERE id = 40")
	b.apply(putItem(50, "applied", 1))
	touched, all, err := b.db.Touched(b.ctx, since, 100)
	b.must(err)
	if !all {
		b.Error("it says there are more")
	}
	b.expectKeys("touched", touched, "0[20]", `1[30,"first"]`, "0[40]", "0[41]")
	if len(touched) != 4 {
		b.Errorf("a key is listed twice: %v", touched)
	}
	if _, all, err = b.db.Touched(b.ctx, b.head(), 100); err != nil || !all {
		b.Errorf("at the head: all %t, %v", all, err)
	}
}

func touchedAdmitsGaps(b *bench) {
	b.seed(30)
	b.leading()
	since := b.head()
	b.exec("UPDATE items SET qty = 0")
	touched, all, err := b.db.Touched(b.ctx, since, 29)
	b.must(err)
	if all || len(touched) > 29 {
		b.Errorf("30 keys were touched; it lists %d of 29 and says that is all: %t", len(touched), all)
	}
	b.must(b.db.Acknowledge(b.ctx, b.head()))
	touched, all, err = b.db.Touched(b.ctx, since, 100)
	b.must(err)
	if all && len(touched) != 30 {
		b.Errorf("after the log has forgotten, it lists %d of 30 keys and says that is all", len(touched))
	}
}
