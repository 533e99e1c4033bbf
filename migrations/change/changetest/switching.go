package changetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stranglerfig/migrations/change"
)

// ample is a bound that a fence under no load stays far below; brief is one
// that ends while a writer is in the way.
const (
	ample = 20 * time.Second
	brief = 30 * time.Millisecond
)

var switching = []promise{
	{"the leading side starts as owner and the following side fenced", func(b *bench) {
		b.leading()
		b.expectOwner(change.Ownership{Epoch: 1})
		b.exec("INSERT INTO items (code, qty) VALUES ('a', 1)")
		f := b.follower()
		f.expectOwner(change.Ownership{Fenced: true})
		f.expectFenced()
	}},
	{"a fence refuses every writer and lets the applier through", func(b *bench) {
		b.seed(3)
		b.leading()
		b.fence(1, "m")
		b.expectOwner(change.Ownership{Epoch: 1, Fenced: true})
		b.expectFenced()
		b.apply(putItem(10, "applied", 1), putItem(11, "more", 1), deleteItem(20))
		b.must(b.db.Repair(b.ctx, putItem(12, "repaired", 1)))
		b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(13), Rows: []change.Row{item(13, "loaded", 1)}}))
		b.expectFenced()
	}},
	{"a fence still stands after reopening", func(b *bench) {
		b.leading()
		b.fence(1, "m")
		b.db = b.reopened()
		b.expectOwner(change.Ownership{Epoch: 1, Fenced: true})
		b.expectFenced()
	}},
	{"a transaction that read before the fence cannot write after it", func(b *bench) {
		b.seed(1)
		b.leading()
		tx := b.begin()
		var n int
		b.must(tx.QueryRowContext(b.ctx, "SELECT count(*) FROM items").Scan(&n))
		b.fence(1, "m")
		unchanged := b.unchanged()
		_, err := tx.ExecContext(b.ctx, "UPDATE items SET qty = 99")
		if err == nil {
			err = tx.Commit()
		}
		if err == nil {
			b.Error("it wrote and committed")
		}
		tx.Rollback()
		unchanged("rows changed")
	}},
	{"a fence waits for a writer in flight and its marker comes after it", fenceDrains},
	{"a fence gives up within its bound and changes nothing", fenceGivesUp},
	{"the marker comes after everything that was written before the fence", markerComesLast},
	{"a fence at a stale epoch is refused", func(b *bench) {
		b.leading()
		for _, epoch := range []uint64{0, 2} {
			if err := b.db.Fence(b.ctx, change.Fence{Epoch: epoch, Marker: "m", Wait: ample}); !errors.Is(err, change.ErrStaleEpoch) {
				b.Errorf("epoch %d: %v", epoch, err)
			}
		}
		b.expectOwner(change.Ownership{Epoch: 1})
		b.exec("INSERT INTO items (code, qty) VALUES ('a', 1)")
		if _, markers, _ := b.read(0); len(markers) > 0 {
			b.Errorf("a refused fence left its marker: %v", markers)
		}
	}},
	{"unfence lets writers in again, at the epoch held only", func(b *bench) {
		b.leading()
		b.fence(1, "m")
		for _, epoch := range []uint64{0, 2} {
			if err := b.db.Unfence(b.ctx, epoch); !errors.Is(err, change.ErrStaleEpoch) {
				b.Errorf("epoch %d: %v", epoch, err)
			}
		}
		b.expectFenced()
		for range 2 {
			b.must(b.db.Unfence(b.ctx, 1))
		}
		from := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		changes, _, _ := b.read(from)
		b.expectKeys("changes after the fence", changes, "0[1]")
	}},
	{"a side that was fenced and then claimed is not unfenced by its old epoch", func(b *bench) {
		b.leading()
		b.claim(3)
		if err := b.db.Unfence(b.ctx, 1); !errors.Is(err, change.ErrStaleEpoch) {
			b.Error(err)
		}
		b.expectOwner(change.Ownership{Epoch: 3, Attempt: 1})
	}},
	{"a claim makes the follower the owner and its writers are captured", func(b *bench) {
		b.following()
		b.claim(2)
		b.expectOwner(change.Ownership{Epoch: 2, Attempt: 1})
		from := b.head()
		b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'a', 1)")
		changes, _, _ := b.read(from)
		b.expectKeys("changes of the new owner", changes, "0[1]")
	}},
	{"a claim commits once", claimCommitsOnce},
	{"a bump kills every older claim", func(b *bench) {
		b.following()
		older := b.bump()
		if newer := b.bump(); newer <= older {
			b.Fatalf("attempt %d follows %d", newer, older)
		}
		b.refuseClaim(change.Claim{Epoch: 2, Attempt: older, Sequences: change.Sequences{{"id": 500}, nil}})
		b.expectOwner(change.Ownership{Attempt: older + 1, Fenced: true})
		b.expectFenced()
	}},
	{"a claim of an epoch that is not higher is refused", func(b *bench) {
		b.following()
		b.claim(4)
		attempt := b.bump()
		for _, epoch := range []uint64{0, 1, 3, 4} {
			b.refuseClaim(change.Claim{Epoch: epoch, Attempt: attempt})
		}
		b.expectOwner(change.Ownership{Epoch: 4, Attempt: attempt})
	}},
	{"ownership survives reopening", func(b *bench) {
		b.following()
		b.claim(2)
		b.bump()
		b.db = b.reopened()
		b.expectOwner(change.Ownership{Epoch: 2, Attempt: 2})
	}},
	{"no key that either side ever gave out is given out again", sequencesAreHandedOver},
	{"a claim never lowers a sequence", func(b *bench) {
		b.leading()
		b.exec("INSERT INTO items (code, qty) VALUES ('a', 1)")
		b.exec("INSERT INTO items (code, qty) VALUES ('b', 1)")
		b.exec("DELETE FROM items")
		b.must(b.db.Claim(b.ctx, change.Claim{Epoch: 2, Attempt: b.bump(), Sequences: change.Sequences{{"id": 1}, nil}}))
		b.exec("INSERT INTO items (code, qty) VALUES ('c', 1)")
		if got := b.number("SELECT id FROM items"); got <= 2 {
			b.Errorf("id %d is given out a second time", got)
		}
	}},
}

// fence fences the bench, with time enough.
func (b *bench) fence(epoch uint64, marker string) {
	b.Helper()
	b.must(b.db.Fence(b.ctx, change.Fence{Epoch: epoch, Marker: marker, Wait: ample}))
}

func (b *bench) bump() uint64 {
	b.Helper()
	attempt, err := b.db.BumpAttempt(b.ctx)
	b.must(err)
	return attempt
}

func (b *bench) claim(epoch uint64) {
	b.Helper()
	b.must(b.db.Claim(b.ctx, change.Claim{Epoch: epoch, Attempt: b.bump()}))
}

func (b *bench) refuseClaim(c change.Claim) {
	b.Helper()
	if err := b.db.Claim(b.ctx, c); !errors.Is(err, change.ErrClaimRefused) {
		b.Errorf("claim %+v: %v", c, err)
	}
}

func (b *bench) owner() change.Ownership {
	b.Helper()
	o, err := b.db.Owner(b.ctx)
	b.must(err)
	return o
}

func (b *bench) expectOwner(want change.Ownership) {
	b.Helper()
	if got := b.owner(); got != want {
		b.Errorf("the ownership is %+v, want %+v", got, want)
	}
}

// expectFenced fails unless every way to write is refused.
func (b *bench) expectFenced() {
	b.Helper()
	b.apply(putItem(-1, "there", 1), change.Change{Table: tags, Kind: change.Put, Key: tagKey(-1, "there"), Row: change.Row{tagKey(-1, "there")[0], tagKey(-1, "there")[1], itemKey(1)[0]}})
	unchanged, head := b.unchanged(), b.head()
	for _, q := range []string{
		"INSERT INTO items (code, qty) VALUES ('late', 1)",
		"INSERT INTO items (id, code, qty) SELECT id - 1000, 'late', qty FROM items WHERE id = -1",
		"UPDATE items SET qty = qty + 1",
		"UPDATE items SET id = id - 1000",
		"UPDATE items SET note = 'late'",
		"DELETE FROM items",
		"INSERT INTO tags (item, name) VALUES (-2, 'late')",
		"UPDATE tags SET weight = 99",
		"DELETE FROM tags",
	} {
		if err := b.try(q); err == nil {
			b.Errorf("the fence let %q through", q)
		}
	}
	unchanged("writers got past the fence")
	if changes, _, _ := b.read(head); len(changes) > 0 {
		b.Errorf("refused writers were captured: %v", keys(changes))
	}
}

func fenceDrains(b *bench) {
	b.leading()
	from := b.head()
	tx := b.begin()
	_, err := tx.ExecContext(b.ctx, "INSERT INTO items (id, code, qty) VALUES (1, 'in flight', 1)")
	b.must(err)
	fenced := make(chan error, 1)
	go func() { fenced <- b.db.Fence(b.ctx, change.Fence{Epoch: 1, Marker: "m", Wait: ample}) }()
	_, second := tx.ExecContext(b.ctx, "INSERT INTO items (id, code, qty) VALUES (2, 'still', 1)")
	committed := tx.Commit()
	b.must(<-fenced)
	b.must(errors.Join(second, committed))
	changes, markers, _ := b.read(from)
	b.expectKeys("what came with the marker", changes, "0[1]", "0[2]")
	if !slices.Equal(markers, []string{"m"}) {
		b.Errorf("markers %v", markers)
	}
}

func fenceGivesUp(b *bench) {
	b.leading()
	tx := b.begin()
	_, err := tx.ExecContext(b.ctx, "INSERT INTO items (id, code, qty) VALUES (1, 'in flight', 1)")
	b.must(err)
	for range 5 {
		if err := b.db.Fence(b.ctx, change.Fence{Epoch: 1, Marker: "m", Wait: brief}); !errors.Is(err, change.ErrFenceTimeout) {
			b.Errorf("while a writer is in flight: %v", err)
		}
	}
	b.must(tx.Commit())
	b.expectOwner(change.Ownership{Epoch: 1})
	b.exec("INSERT INTO items (id, code, qty) VALUES (2, 'next', 1)")
	if _, markers, _ := b.read(0); len(markers) > 0 {
		b.Errorf("a fence that gave up left its marker: %v", markers)
	}
	canceled, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := b.db.Fence(canceled, change.Fence{Epoch: 1, Marker: "m", Wait: ample}); err == nil || errors.Is(err, change.ErrFenceTimeout) {
		b.Errorf("a caller that went away: %v", err)
	}
	b.expectOwner(change.Ownership{Epoch: 1})
}

// markerComesLast fences while writers are at work: each of them is either
// before the marker and in the log, or refused.
func markerComesLast(b *bench) {
	b.leading()
	var committed atomic.Int64
	var all sync.WaitGroup
	begun := make(chan struct{}, 3)
	for w := range int64(3) {
		all.Go(func() {
			for n := int64(0); ; n++ {
				if err := b.try("INSERT INTO items (id, code, qty) VALUES (?, ?, 1)", 1+w+3*n, time.Now().String()+string(rune('a'+w))); err != nil {
					return
				}
				committed.Add(1)
				if n == 5 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 3 {
		<-begun
	}
	b.fence(1, "m")
	got := state{}
	for from := change.Position(0); ; {
		batch, err := b.db.Read(b.ctx, from, 10)
		b.must(err)
		if batch.To == from {
			b.Fatal("the marker never came")
		}
		got.follow(batch.Changes)
		if from = batch.To; batch.Marker == "m" {
			break
		}
	}
	all.Wait()
	if int64(len(got)) != committed.Load() {
		b.Errorf("%d writes were committed, %d came before the marker", committed.Load(), len(got))
	}
	b.same("what came before the marker", got, b.rows())
}

func claimCommitsOnce(b *bench) {
	b.following()
	c := change.Claim{Epoch: 2, Attempt: b.bump()}
	var committed atomic.Int64
	var all sync.WaitGroup
	for range 6 {
		db := b.reopened()
		all.Go(func() {
			switch err := db.Claim(b.ctx, c); {
			case err == nil:
				committed.Add(1)
			case !errors.Is(err, change.ErrClaimRefused):
				b.Error(err)
			}
		})
	}
	all.Wait()
	if n := committed.Load(); n != 1 {
		b.Errorf("%d claims were committed", n)
	}
	b.expectOwner(change.Ownership{Epoch: 2, Attempt: c.Attempt})
}

func sequencesAreHandedOver(b *bench) {
	b.exec("INSERT INTO items (id, code, qty) VALUES (1, 'old', 1)")
	b.leading()
	for range 3 {
		b.exec("DELETE FROM items")
		b.exec("INSERT INTO items (code, qty) VALUES ('given out', 1)")
	}
	highest := b.number("SELECT max(id) FROM items")
	b.exec("DELETE FROM items")
	b.fence(1, "m")
	given, err := b.db.Sequences(b.ctx)
	b.must(err)
	if len(given) != len(Tables()) || given[items]["id"] < highest || len(given[tags]) > 0 {
		b.Errorf("the sequences are %v; %d was the highest id of items, and tags has none", given, highest)
	}
	f := b.follower()
	f.must(f.db.Claim(f.ctx, change.Claim{Epoch: 2, Attempt: f.bump(), Sequences: given}))
	f.exec("INSERT INTO items (code, qty) VALUES ('first there', 1)")
	if got := f.number("SELECT id FROM items"); got <= highest {
		b.Errorf("the new owner gives out %d, the old one gave out up to %d", got, highest)
	}
}
