package changetest

import (
	"errors"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

var copying = []promise{
	{"chunks cover every row once, in key order", chunksCoverEveryRow},
	{"an empty table is one empty chunk", func(b *bench) {
		b.leading()
		c, err := b.db.ReadChunk(b.ctx, items, nil, 10)
		b.must(err)
		if !c.Done || len(c.Rows) > 0 || c.Last != nil {
			b.Errorf("%+v", c)
		}
	}},
	{"each chunk and the log after it make what its range holds, under writers", chunksAreExactCuts},
	{"a copy resumes where its chunks end", copyResumes},
	{"a chunk replaces rows of the same keys", func(b *bench) {
		b.following()
		b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(2), Rows: []change.Row{item(1, "a", 1), item(2, "b", 2)}}))
		b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, After: itemKey(2), Last: itemKey(3), Rows: []change.Row{item(2, "c", 3)}}))
		want := state{}
		want.put(items, item(1, "a", 1))
		want.put(items, item(2, "c", 3))
		b.same("rows", b.rows(), want)
	}},
	{"a chunk that cannot be stored changes nothing", func(b *bench) {
		b.following()
		bad := change.Row{mapping.Int(2), mapping.Text("b"), mapping.Null()}
		if err := b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(2), Rows: []change.Row{item(1, "a", 1), bad}, Done: true}); err == nil {
			b.Fatal("a row without its quantity was stored")
		}
		b.same("rows", b.rows(), state{})
		l, err := b.db.Loaded(b.ctx, items)
		b.must(err)
		if l.Done || l.Last != nil || l.Rows > 0 {
			b.Errorf("it is recorded all the same: %+v", l)
		}
	}},
	{"a chunk of a copy that was overtaken changes nothing", overtakenCopies},
	{"a copied table followed from its first chunk equals the leader's", copyAndFollow},
	{"a copy that has ended can go on", func(b *bench) {
		b.seed(5)
		b.leading()
		c, err := b.db.ReadChunk(b.ctx, items, nil, 2)
		b.must(err)
		b.must(b.db.EndCopy(b.ctx))
		b.must(b.db.EndCopy(b.ctx))
		b.exec("DELETE FROM tags")
		c, err = b.db.ReadChunk(b.ctx, items, c.Last, 100)
		b.must(err)
		if len(c.Rows) != 3 || !c.Done {
			b.Errorf("%d rows are left of 5", len(c.Rows))
		}
		c, err = b.db.ReadChunk(b.ctx, tags, nil, 100)
		b.must(err)
		if len(c.Rows) > 0 {
			b.Error("the cut from before is still held")
		}
	}},
	{"count is about the number of rows", func(b *bench) {
		b.seed(30)
		if n, err := b.db.Count(b.ctx, tags); err != nil || n < 0 {
			b.Errorf("%d, %v", n, err)
		}
	}},
}

func chunksCoverEveryRow(b *bench) {
	b.seed(33)
	b.leading()
	for _, limit := range []int{1, 7, 33, 66, 100} {
		for table := range Tables() {
			got := state{}
			var last change.Key
			for done := false; !done; {
				c, err := b.db.ReadChunk(b.ctx, table, last, limit)
				b.must(err)
				if len(c.Rows) > limit {
					b.Fatalf("%d rows in a chunk of %d", len(c.Rows), limit)
				}
				for _, row := range c.Rows {
					key := keyOf(Tables()[table], row)
					if _, twice := got[id(table, key)]; twice {
						b.Fatalf("%s is in two chunks", change.KeyString(key))
					}
					got.put(table, row)
				}
				last, done = c.Last, c.Done
			}
			want := b.rows()
			for key := range want {
				if key[0] != byte('0'+table) {
					delete(want, key)
				}
			}
			b.same("rows of all chunks", got, want)
		}
	}
}

// chunksAreExactCuts reads chunks while writers are at work, and then holds
// against what the tables hold in the end, for each chunk's range, the chunk's
// rows changed by the log after the chunk's own position.
func chunksAreExactCuts(b *bench) {
	b.seed(40)
	b.leading()
	w := b.writers(3)
	var chunks []change.Chunk
	for table := range Tables() {
		var last change.Key
		for done := false; !done; {
			w.wait(6)
			c, err := b.db.ReadChunk(b.ctx, table, last, 9)
			b.must(err)
			chunks = append(chunks, c)
			last, done = c.Last, c.Done
		}
	}
	w.stop()
	covered := map[string]bool{}
	for _, c := range chunks {
		got := state{}
		for _, row := range c.Rows {
			key := id(c.Table, keyOf(Tables()[c.Table], row))
			if covered[key] {
				b.Fatalf("%s is in two chunks", key)
			}
			covered[key] = true
			got.put(c.Table, row)
		}
		changes, _, _ := b.read(c.At)
		for _, ch := range changes {
			if ch.Table == c.Table && within(ch.Key, c) {
				got.follow([]change.Change{ch})
			}
		}
		b.same("a chunk and the log after it", got, b.between(c))
	}
}

// within reports whether a key lies in a chunk's range.
func within(key change.Key, c change.Chunk) bool {
	return (c.After == nil || less(c.After, key)) && (c.Done || !less(c.Last, key))
}

// less orders keys of integers and texts.
func less(a, b change.Key) bool {
	for i := range a {
		switch {
		case a[i].Equal(b[i]):
			continue
		case a[i].Kind() == mapping.KindInt:
			return a[i].Int64() < b[i].Int64()
		default:
			return a[i].Text() < b[i].Text()
		}
	}
	return false
}

// between returns what a chunk's range holds now.
func (b *bench) between(c change.Chunk) state {
	b.Helper()
	all, err := b.db.Scan(b.ctx, c.Table, c.After, 100_000)
	b.must(err)
	held := state{}
	for _, row := range all {
		if within(keyOf(Tables()[c.Table], row), c) {
			held.put(c.Table, row)
		}
	}
	return held
}

// overtakenCopies: an engine that was taken for dead stores the chunk that it had
// read before.
func overtakenCopies(b *bench) {
	b.following()
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(2), Rows: []change.Row{item(1, "a", 1), item(2, "b", 2)}}))
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, After: itemKey(2), Last: itemKey(3), Rows: []change.Row{item(3, "c", 3)}, Done: true}))
	want := b.rows()
	for name, c := range map[string]change.Chunk{
		"from the beginning": {Last: itemKey(2), Rows: []change.Row{item(1, "old", 0)}},
		"in the middle":      {After: itemKey(2), Last: itemKey(3), Rows: []change.Row{item(3, "old", 0)}},
		"after the end":      {After: itemKey(3), Last: itemKey(4), Rows: []change.Row{item(4, "old", 0)}},
		"of another copy":    {Table: tags, After: tagKey(7, "x"), Last: tagKey(8, "y")},
	} {
		if err := b.db.LoadChunk(b.ctx, c); !errors.Is(err, change.ErrStaleRunner) {
			b.Errorf("%s: %v", name, err)
		}
	}
	b.same("rows", b.rows(), want)
	if l, err := b.db.Loaded(b.ctx, items); err != nil || l.Rows != 3 || !l.Done {
		b.Errorf("%+v, %v", l, err)
	}
}

func copyResumes(b *bench) {
	b.following()
	l, err := b.db.Loaded(b.ctx, items)
	b.must(err)
	if l.Done || l.Last != nil || l.Rows != 0 {
		b.Errorf("before the first chunk: %+v", l)
	}
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, Last: itemKey(2), Rows: []change.Row{item(1, "a", 1), item(2, "b", 2)}, At: 17}))
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: items, After: itemKey(2), Last: itemKey(3), Rows: []change.Row{item(3, "c", 3)}, At: 23}))
	b.must(b.db.LoadChunk(b.ctx, change.Chunk{Table: tags, Done: true, At: 29}))
	db := b.reopened()
	l, err = db.Loaded(b.ctx, items)
	b.must(err)
	if change.KeyString(l.Last) != "3" || l.Rows != 3 || l.At != 17 || l.Done {
		b.Errorf("items stand at %+v, want 3 rows to key 3, followed from 17", l)
	}
	l, err = db.Loaded(b.ctx, tags)
	b.must(err)
	if l.Last != nil || l.Rows != 0 || l.At != 29 || !l.Done {
		b.Errorf("tags stand at %+v, want an empty copy that is done", l)
	}
}

// copyAndFollow is a whole move in small: the copy runs beside writers, and the
// stream brings the follower to where the leader is.
func copyAndFollow(b *bench) {
	b.seed(40)
	b.leading()
	f := b.follower()
	w := b.writers(3)
	start := ^change.Position(0)
	for table := range Tables() {
		var last change.Key
		for done := false; !done; {
			w.wait(3)
			c, err := b.db.ReadChunk(b.ctx, table, last, 15)
			b.must(err)
			b.must(f.db.LoadChunk(b.ctx, c))
			last, done = c.Last, c.Done
		}
		l, err := f.db.Loaded(b.ctx, table)
		b.must(err)
		start = min(start, l.At)
	}
	w.wait(20)
	w.stop()
	_, err := f.db.TakeStream(b.ctx, "stream", "runner", start)
	b.must(err)
	f.stream(b, "runner")
	f.same("the follower", f.rows(), b.rows())
}
