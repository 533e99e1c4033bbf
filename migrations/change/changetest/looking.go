package changetest

import (
	"slices"
	"strings"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var looking = []promise{
	{"scan reads every row in key order", func(b *bench) {
		b.seed(25)
		var got []string
		var after change.Key
		for {
			rows, err := b.db.Scan(b.ctx, tags, after, 8)
			b.must(err)
			if len(rows) == 0 {
				break
			}
			for _, row := range rows {
				after = keyOf(Tables()[tags], row)
				got = append(got, change.KeyString(after))
			}
			if len(got) > 50 {
				b.Fatalf("more rows than there are: %v", got)
			}
		}
		var want []string
		for i := int64(1); i <= 25; i++ {
			want = append(want, change.KeyString(tagKey(10*i, "first")), change.KeyString(tagKey(10*i, "second")))
		}
		if !slices.Equal(got, want) {
			b.Errorf("keys %v, want %v", got, want)
		}
	}},
	{"lookup returns the row of each key, nil where there is none", func(b *bench) {
		b.seed(3)
		rows, err := b.db.Lookup(b.ctx, items, []change.Key{itemKey(30), itemKey(5), itemKey(10), itemKey(30)})
		b.must(err)
		want := []string{mapping.EncodeKey(item(30, "seed-3", 3)), "", mapping.EncodeKey(item(10, "seed-1", 1)), mapping.EncodeKey(item(30, "seed-3", 3))}
		for i, row := range rows {
			got := ""
			if row != nil {
				got = mapping.EncodeKey(row)
			}
			if got != want[i] {
				b.Errorf("row %d is %s, want %s", i, got, want[i])
			}
		}
		if rows, err := b.db.Lookup(b.ctx, items, nil); err != nil || len(rows) != 0 {
			b.Errorf("no keys: %v, %v", rows, err)
		}
		rows, err = b.db.Lookup(b.ctx, tags, []change.Key{tagKey(20, "second"), tagKey(20, "third")})
		b.must(err)
		if rows[0] == nil || !rows[0][2].IsNull() || rows[1] != nil {
			b.Errorf("tags: %v", rows)
		}
	}},
	{"prove says what would be refused and stores nothing", func(b *bench) {
		b.seed(2)
		b.leading()
		unchanged, head := b.unchanged(), b.head()
		if n, err := b.db.Prove(b.ctx, items, []change.Row{item(10, "seed-1", 5), item(77, "new", 1)}); err != nil || n != 2 {
			b.Errorf("proving two rows: %d, %v", n, err)
		}
		if n, err := b.db.Prove(b.ctx, items, nil); err != nil || n != 0 {
			b.Errorf("proving none: %d, %v", n, err)
		}
		bad := item(78, "bad", 1)
		bad[2] = mapping.Null()
		if _, err := b.db.Prove(b.ctx, items, []change.Row{item(79, "fine", 1), bad}); err == nil || !strings.Contains(err.Error(), "78") {
			b.Errorf("a row that the database refuses: %v", err)
		}
		unchanged("proving changed rows")
		if changes, _, _ := b.read(head); len(changes) > 0 {
			b.Errorf("proving was captured: %v", keys(changes))
		}
	}},
	{"prove and repair work behind a fence", func(b *bench) {
		b.following()
		_, err := b.db.Prove(b.ctx, items, []change.Row{item(1, "a", 1)})
		b.must(err)
		b.must(b.db.Repair(b.ctx, putItem(1, "a", 1)))
		b.must(b.db.Repair(b.ctx, putItem(1, "b", 2)))
		want := state{}
		want.put(items, item(1, "b", 2))
		b.same("rows", b.rows(), want)
		b.must(b.db.Repair(b.ctx, deleteItem(1)))
		b.must(b.db.Repair(b.ctx, deleteItem(1)))
		b.same("rows", b.rows(), state{})
	}},
	{"retire renames the tables out of the way and may be repeated", func(b *bench) {
		b.seed(4)
		b.leading()
		b.fence(1, "m")
		for range 2 {
			b.must(b.db.Retire(b.ctx, "retired"))
		}
		if n := b.number("SELECT count(*) FROM items_retired"); n != 4 {
			b.Errorf("%d items, want 4", n)
		}
		if n := b.number("SELECT count(*) FROM tags_retired"); n != 8 {
			b.Errorf("%d tags, want 8", n)
		}
		if err := b.try("DELETE FROM items"); err == nil {
			b.Error("the table is still there under its old name")
		}
		b.must(b.db.Unprepare(b.ctx, false))
		if left := b.Objects(b.T); slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, "strangler") }) {
			b.Errorf("left behind: %v", left)
		}
		b.exec("UPDATE items_retired SET qty = 0")
	}},
}
