package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stranglerfig/migrations/change"
	"stranglerfig/migrations/mapping"
)

// typed is a type and values of it that are easily spoiled.
type typed struct {
	of     string
	values []string
}

const ownTypes = `CREATE EXTENSION hstore; CREATE EXTENSION citext;
	CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'a,b{}');
	CREATE TYPE pair AS (a int, b text);
	CREATE TYPE nest AS (p pair, m mood[]);
	CREATE TYPE span AS RANGE (subtype = text);
	CREATE DOMAIN positive AS int CHECK (VALUE > 0);
	CREATE DOMAIN small AS positive CHECK (VALUE < 100);
	CREATE DOMAIN code AS varchar(3);
	CREATE DOMAIN codes AS code[];
	CREATE DOMAIN couple AS pair;`

var everyMovableType = []typed{
	{"smallint", []string{"-32768", "32767", "0"}},
	{"int", []string{"-2147483648", "2147483647", "0"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807", "0"}},
	{"numeric", []string{"NaN", "Infinity", "-Infinity", "0", "-0.000", "1.10", "1" + strings.Repeat("0", 2000), "1e-300", "123456789012345678901234567890.123456789"}},
	{"numeric(12,3)", []string{"NaN", "123456789.120", "-0.001"}},
	{"real", []string{"NaN", "Infinity", "-Infinity", "-0", "0", "0.1", "1e-45", "3.4028235e38"}},
	{"double precision", []string{"NaN", "Infinity", "-Infinity", "-0", "0", "0.1", "5e-324", "1.7976931348623157e308", "0.30000000000000004"}},
	{"text", []string{"", "NULL", "null", `\N`, `{"a\\b",NULL} ''ü𝄞`, "a\tb\nc\r\n", " x ", `"`, `\`, "\u200b", strings.Repeat("long ", 4000)}},
	{"varchar(5)", []string{"", "äöüßé", "  a  "}},
	{"char(5)", []string{"", "ab", "äöüßé"}},
	{"bool", []string{"true", "false"}},
	{"date", []string{"infinity", "-infinity", "2024-02-29", "4713-01-01 BC", "0044-03-15 BC", "5874897-12-31", "10000-01-01"}},
	{"time", []string{"00:00", "24:00", "23:59:59.999999"}},
	{"timetz", []string{"00:00+14", "24:00-12", "12:34:56.000001+05:30"}},
	{"timestamp", []string{"infinity", "-infinity", "0044-03-15 01:02:03 BC", "2024-02-29 01:02:03.5", "294276-12-31 23:59:59.999999", "10000-01-01"}},
	{"timestamptz", []string{"infinity", "-infinity", "0044-03-15 01:02:03+00 BC", "2024-02-29 01:02:03.000004+05:45", "294276-12-31 23:59:59+00", "10000-01-01"}},
	{"timestamptz(0)", []string{"2024-02-29 01:02:03+05"}},
	{"interval", []string{"0", "1 year -2 mons +3 days -04:05:06.000007", "-178000000 years", "P1Y2M3DT4H5M6S", "-1 day", "00:00:00.000001"}},
	{"uuid", []string{"00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}},
	{"json", []string{"null", `{"b": 1,  "a":"\"", "b": 2}`, `"\u0000"`, "1.00", "[]"}},
	{"jsonb", []string{"null", `{"b": 1,  "a":"\""}`, "1.00", `"\\"`, "123456789012345678901234567890"}},
	{"jsonpath", []string{`$.a[*] ? (@.b > 1)`}},
	{"xml", []string{"<a b='c'>&lt;</a>", "text <b/> text", ""}},
	{"bytea", []string{"", `\x00ff5c22`, `\x`}},
	{"bit(3)", []string{"101", "000"}},
	{"varbit", []string{"", "1", "10101010101"}},
	{"inet", []string{"192.168.0.1/24", "::1", "10.1.2.3"}},
	{"cidr", []string{"192.168.0.0/24", "2001:db8::/32"}},
	{"macaddr", []string{"08:00:2b:01:02:03"}},
	{"macaddr8", []string{"08:00:2b:01:02:03:04:05"}},
	{"point", []string{"(0.1,-0)"}},
	{"circle", []string{"<(1,2),0.30000000000000004>"}},
	{"tsvector", []string{"", `'it''s':1A 'b':2,3`}},
	{"tsquery", []string{`'a' & !'b:c'`}},
	{"int4range", []string{"empty", "[1,5)", "(,)", "[,3)"}},
	{"numrange", []string{"(1.10,2.20]", "[NaN,NaN]"}},
	{"tstzrange", []string{`["2024-02-29 01:02:03+05",infinity)`, "(,)"}},
	{"span", []string{`["a,b","c""d\\e")`, "[a,b]"}},
	{"int4multirange", []string{"{}", "{[1,3),[5,7)}", "{(,)}"}},
	{"int[]", []string{"{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:2]={7,8,9}", "[-1:0][5:6]={{1,2},{3,4}}"}},
	{"text[]", []string{`{"",NULL,"NULL","a,b","c\"d","e\\f","{}"," g "}`}},
	{"numeric[]", []string{"{NaN,1.10,Infinity}"}},
	{"double precision[]", []string{"{NaN,-0,0.1}"}},
	{"bool[]", []string{"{t,f,NULL}"}},
	{"timestamptz[]", []string{`{"2024-02-29 01:02:03+05",infinity,"0044-03-15 01:02:03+00 BC"}`}},
	{"interval[]", []string{`{"1 year -04:05:06",NULL}`}},
	{"bytea[]", []string{`{"\\x00ff",""}`}},
	{"uuid[]", []string{"{00000000-0000-0000-0000-000000000000}"}},
	{"jsonb[]", []string{`{"{\"a\": [1, null]}",NULL}`}},
	{"int4range[]", []string{`{"[1,5)",empty}`}},
	{"mood", []string{"sad", `it's "ok"`, "a,b{}"}},
	{"mood[]", []string{`{sad,"it's \"ok\"","a,b{}",NULL}`}},
	{"pair", []string{`(1,"a,""b\\")`, "(,)", `(2,"")`}},
	{"pair[]", []string{`{"(1,\"a,b\")",NULL}`}},
	{"nest", []string{`("(1,x)","{sad,NULL}")`}},
	{"positive", []string{"1", "2147483647"}},
	{"small", []string{"99"}},
	{"code", []string{"äb ", ""}},
	{"codes", []string{"{abc,NULL}", "{}"}},
	{"couple", []string{"(1,a)"}},
	{"positive[]", []string{"{1,NULL}"}},
	{"hstore", []string{`"a"=>"1", "b"=>NULL, "c,d"=>"\"e\\"`, ""}},
	{"citext", []string{"Äb", "aB"}},
	{"hstore[]", []string{`{"\"a\"=>\"1\""}`}},
}

// typesPlan maps one table for each type to one of the same name, so that all
// of them are one move.
func typesPlan(t testing.TB) (plan *mapping.Plan, schema string) {
	t.Helper()
	spec := mapping.Spec{Capability: "types"}
	all := []string{ownTypes}
	for i, of := range everyMovableType {
		name := fmt.Sprintf("t%d", i)
		all = append(all, fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v %s, n int)", name, of.of))
		spec.Tables = append(spec.Tables, mapping.TableSpec{To: name, From: name, Key: []string{"id"},
			Columns: []mapping.ColumnSpec{{To: "id", From: "id"}, {To: "v", From: "v"}, {To: "n", From: "n"}}})
	}
	plan, problems := mapping.Compile(spec)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return plan, strings.Join(all, ";\n")
}

// fill gives each table a row of every value, and one of NULL, from an id on.
func (s *side) fill(from int) {
	s.Helper()
	for i, of := range everyMovableType {
		for j, value := range of.values {
			exec(s.T, s.app, fmt.Sprintf("INSERT INTO t%d VALUES (%d, '%s', 0)", i, from+j, strings.ReplaceAll(value, "'", "''")))
		}
		exec(s.T, s.app, fmt.Sprintf("INSERT INTO t%d VALUES (%d, NULL, 0)", i, from+len(of.values)))
	}
}

// stir updates values, their neighbours and their keys, and deletes.
func (s *side) stir(from int) {
	s.Helper()
	for i, of := range everyMovableType {
		rows := len(of.values) + 1
		exec(s.T, s.app, fmt.Sprintf(`BEGIN;
			UPDATE t%[1]d SET n = n + 1 WHERE id >= %[2]d;
			UPDATE t%[1]d AS t SET v = o.v FROM t%[1]d AS o WHERE t.id >= %[2]d AND o.id = %[2]d + (t.id - %[2]d + 1) %% %[3]d;
			UPDATE t%[1]d SET id = id + 100 WHERE id = %[2]d;
			DELETE FROM t%[1]d WHERE id = %[2]d + 1; COMMIT`, i, from, rows))
	}
}

func expectSameTypes(t *testing.T, a, b *side) {
	t.Helper()
	for i, of := range everyMovableType {
		if d := cmp.Diff(a.rows(fmt.Sprintf("t%d", i)), b.rows(fmt.Sprintf("t%d", i))); d != "" {
			t.Errorf("%s differs (-leader +follower):\n%s", of.of, d)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// TestEveryTypeSurvivesTheWayThereAndBack by either kind of copy, by the log,
// and by the log of the other side after a switch. Verification sees it as well.
func TestEveryTypeSurvivesTheWayThereAndBack(t *testing.T) {
	needServer(t)
	plan, schema := typesPlan(t)
	for name, load := range map[string]func(t *testing.T, leader, follower *side, table int){
		"row by row": func(t *testing.T, leader, follower *side, table int) {
			c, err := leader.db.ReadChunk(t.Context(), table, nil, 1000)
			must(t, err)
			must(t, follower.db.LoadChunk(t.Context(), c))
		},
		"by COPY": func(t *testing.T, leader, follower *side, table int) {
			parts, ok, err := leader.db.Parts(t.Context(), follower.db, table, 4)
			must(t, err)
			if !ok || len(parts) != 1 {
				t.Fatalf("table %d is not copied in one part: %v", table, parts)
			}
			_, _, err = leader.db.PushPart(t.Context(), follower.db, plan.Tables[table], parts[0], 1000)
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			leader := prepared(t, change.Leading, schema, tables(plan, change.Monolith)...)
			follower := prepared(t, change.Following, schema, tables(plan, change.Monolith)...)
			expectNothingFatal(t, leader, change.Leading)
			leader.fill(1)
			for table := range plan.Tables {
				load(t, leader, follower, table)
			}
			expectSameTypes(t, leader, follower)
			leader.fill(1000)
			leader.stir(1000)
			follower.follow(leader)
			expectSameTypes(t, leader, follower)
			expectVerified(t, plan, leader, follower)

			must(t, leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
			must(t, follower.db.Claim(t.Context(), change.Claim{Epoch: 2}))
			follower.fill(2000)
			follower.stir(2000)
			leader.follow(follower)
			expectSameTypes(t, follower, leader)
		})
	}
}

// hostile are settings of a role, each of which would spoil values, statements or
// connections if they held for ours.
const hostile = `ALTER USER ROLE SET datestyle = 'German, DMY'; ALTER USER ROLE SET intervalstyle = 'iso_8601'; ALTER USER ROLE SET timezone = 'Asia/Kathmandu';
	ALTER USER ROLE SET extra_float_digits = -15; ALTER USER ROLE SET bytea_output = 'escape'; ALTER USER ROLE SET client_encoding = 'LATIN1';
	ALTER USER ROLE SET standard_conforming_strings = off; ALTER USER ROLE SET array_nulls = off; ALTER USER ROLE SET xmloption = 'document'; ALTER USER ROLE SET xmlbinary = 'hex';
	ALTER USER ROLE SET statement_timeout = 1; ALTER USER ROLE SET lock_timeout = 1; ALTER USER ROLE SET idle_in_transaction_session_timeout = 1;
	ALTER USER ROLE SET default_transaction_isolation = 'serializable'; ALTER USER ROLE SET default_transaction_read_only = on; ALTER USER ROLE SET synchronous_commit = off`

// TestNoSettingOfARoleSpoilsAnything: of dates, numbers, texts, timeouts and
// transactions.
func TestNoSettingOfARoleSpoilsAnything(t *testing.T) {
	unlessShort(t)
	needServer(t)
	plan, schema := typesPlan(t)
	leader, _ := fresh(t, schema, tables(plan, change.Monolith)...).as("SUPERUSER", hostile)
	follower, _ := fresh(t, schema, tables(plan, change.Monolith)...).as("SUPERUSER", hostile)
	must(t, leader.db.Prepare(t.Context(), change.Leading))
	must(t, follower.db.Prepare(t.Context(), change.Following))
	leader.fill(1)
	for table := range plan.Tables {
		parts, _, err := leader.db.Parts(t.Context(), follower.db, table, 4)
		must(t, err)
		_, _, err = leader.db.PushPart(t.Context(), follower.db, plan.Tables[table], parts[0], 1000)
		must(t, err)
	}
	leader.fill(1000)
	leader.stir(1000)
	follower.follow(leader)
	expectSameTypes(t, leader, follower)
	expectVerified(t, plan, leader, follower)
	must(t, leader.db.Unprepare(t.Context(), false))
	must(t, follower.db.Unprepare(t.Context(), false))
}

func expectNothingFatal(t *testing.T, s *side, role change.Role) {
	t.Helper()
	found, err := s.db.Preflight(t.Context(), role)
	must(t, err)
	if slices.ContainsFunc(found, func(p change.Problem) bool { return p.Fatal }) {
		t.Fatal(found)
	}
}

// expectVerified compares all rows as a verification does: by hashes where that
// can be, and value by value.
func expectVerified(t *testing.T, plan *mapping.Plan, leader, follower *side) {
	t.Helper()
	for i := range plan.Tables {
		of := everyMovableType[i].of
		here, there, ok, err := leader.db.Digests(t.Context(), follower.db, plan.Tables[i], change.Monolith, change.Range{Table: i})
		must(t, err)
		if ok && here != there {
			t.Errorf("%s: %v is hashed as %v", of, here, there)
		}
		ours, err := leader.db.Scan(t.Context(), i, nil, 1000)
		must(t, err)
		theirs, err := follower.db.Scan(t.Context(), i, nil, 1000)
		must(t, err)
		for j := range ours {
			if !slices.EqualFunc(ours[j], theirs[j], mapping.Value.Equal) {
				t.Errorf("%s: %v is compared with %v and differs", of, ours[j], theirs[j])
			}
		}
	}
}

// TestTablesWithOddNamesCanBeMoved: a part of a name that has dots in it is
// written in double quotes.
func TestTablesWithOddNamesCanBeMoved(t *testing.T) {
	for declared, sql := range map[string]string{
		`plain`:                        `plain`,
		`Shop.Order`:                   `"Shop"."Order"`,
		`"Odd Schema"."Tbl.with.dot"`:  `"Odd Schema"."Tbl.with.dot"`,
		`"Odd Schema".says "hi"`:       `"Odd Schema"."says ""hi"""`,
		`"Odd Schema".""""`:            `"Odd Schema".""""`,
		`"Tbl.with.dot"`:               `"Tbl.with.dot"`,
		`Shop."select"`:                `"Shop"."select"`,
		`"begins and does not end`:     `"""begins and does not end"`,
		`"Odd Schema"."ü, ; -- 'x' $1`: `"Odd Schema"."""ü, ; -- 'x' $1"`,
	} {
		t.Run(declared, func(t *testing.T) {
			schema := `CREATE SCHEMA "Shop"; CREATE SCHEMA "Odd Schema"; CREATE TABLE ` + sql + ` ("Id.x" int, "a""b" int, "select" text, PRIMARY KEY ("a""b", "Id.x"))`
			table := change.Table{Name: declared, Columns: []string{"Id.x", `a"b`, "select"}, Key: []int{0, 1}}
			leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
			expectNothingFatal(t, leader, change.Leading)
			exec(t, leader.app, "INSERT INTO "+sql+" VALUES (1, 2, 'x')")
			c, err := leader.db.ReadChunk(t.Context(), 0, nil, 10)
			must(t, err)
			must(t, follower.db.LoadChunk(t.Context(), c))
			must(t, leader.db.EndCopy(t.Context()))
			exec(t, leader.app, "INSERT INTO "+sql+" VALUES (2, 2, 'x')")
			exec(t, leader.app, `UPDATE `+sql+` SET "select" = 'y' WHERE "Id.x" = 1`)
			follower.follow(leader)
			expectSame(t, leader, follower, sql)
			must(t, leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
			if _, err := leader.app.Exec("DELETE FROM " + sql); err == nil || !strings.Contains(err.Error(), "strangler:") {
				t.Error(err)
			}
			must(t, leader.db.Retire(t.Context(), "old"))
			if n := leader.number("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_old'"); n != 1 {
				t.Error(n)
			}
		})
	}
}

// TestTablesOfEveryShapeAreFollowed: cut into partitions and those again, with
// keys that the database gives out, with columns that it computes, without a
// primary key.
func TestTablesOfEveryShapeAreFollowed(t *testing.T) {
	const insert = "INSERT INTO x (id, kind, v) SELECT i, mod(i, 3), 'v' FROM generate_series(%d, %d) AS i"
	for name, c := range map[string]struct {
		schema, during string
		key            []int
	}{
		"partitions by range": {`CREATE TABLE x (id int, kind int, v text, PRIMARY KEY (id, kind)) PARTITION BY RANGE (id);
			CREATE TABLE x1 PARTITION OF x FOR VALUES FROM (0) TO (50); CREATE TABLE x2 PARTITION OF x DEFAULT`, "", []int{0, 1}},
		"partitions by list": {`CREATE TABLE x (id int, kind int, v text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
			CREATE TABLE x1 PARTITION OF x FOR VALUES IN (0, 1); CREATE TABLE x2 PARTITION OF x FOR VALUES IN (2)`, "", []int{0, 1}},
		"partitions by hash": {`CREATE TABLE x (id int, kind int, v text, PRIMARY KEY (id, kind)) PARTITION BY HASH (id);
			CREATE TABLE x1 PARTITION OF x FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE x2 PARTITION OF x FOR VALUES WITH (MODULUS 2, REMAINDER 1)`, "", []int{0, 1}},
		"partitions of partitions": {`CREATE TABLE x (id int, kind int, v text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
			CREATE TABLE x1 PARTITION OF x FOR VALUES IN (0, 1) PARTITION BY RANGE (id); CREATE TABLE x11 PARTITION OF x1 DEFAULT; CREATE TABLE x2 PARTITION OF x DEFAULT`, "", []int{0, 1}},
		"a partition that is attached": {`CREATE TABLE x (id int, kind int, v text, PRIMARY KEY (id, kind)) PARTITION BY RANGE (id);
			CREATE TABLE x1 PARTITION OF x FOR VALUES FROM (0) TO (1000)`,
			`CREATE TABLE x2 (LIKE x INCLUDING ALL); ALTER TABLE x ATTACH PARTITION x2 FOR VALUES FROM (1000) TO (2000)`, []int{0, 1}},
		"an identity by default":     {"CREATE TABLE x (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, kind int, v text)", "", []int{0}},
		"a generated column":         {"CREATE TABLE x (id int PRIMARY KEY, kind int, v text, w text GENERATED ALWAYS AS (v || kind) STORED)", "", []int{0}},
		"a unique key only":          {"CREATE TABLE x (id int NOT NULL, kind int NOT NULL, v text, UNIQUE (id, kind)); ALTER TABLE x REPLICA IDENTITY USING INDEX x_id_kind_key", "", []int{0, 1}},
		"a full identity":            {"CREATE TABLE x (id int NOT NULL, kind int NOT NULL, v text, UNIQUE (id, kind)); ALTER TABLE x REPLICA IDENTITY FULL", "", []int{1, 0}},
		"a primary key and one more": {"CREATE TABLE x (id int PRIMARY KEY, kind int NOT NULL, v text, UNIQUE (id, kind)); ALTER TABLE x REPLICA IDENTITY USING INDEX x_id_kind_key", "", []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			table := change.Table{Name: "x", Columns: []string{"id", "kind", "v"}, Key: c.key}
			leader, follower := prepared(t, change.Leading, c.schema, table), prepared(t, change.Following, c.schema, table)
			expectNothingFatal(t, leader, change.Leading)
			expectNothingFatal(t, follower, change.Following)
			exec(t, leader.app, fmt.Sprintf(insert, 1, 100))
			chunk, err := leader.db.ReadChunk(t.Context(), 0, nil, 1000)
			must(t, err)
			must(t, follower.db.LoadChunk(t.Context(), chunk))
			expectSame(t, leader, follower, "x")
			for _, s := range []*side{leader, follower} {
				exec(t, s.app, c.during)
			}
			if c.during != "" {
				exec(t, leader.app, fmt.Sprintf(insert, 1001, 1010))
			}
			exec(t, leader.app, fmt.Sprintf(insert, 101, 110))
			exec(t, leader.app, "UPDATE x SET v = 'w' WHERE id % 2 = 0")
			exec(t, leader.app, "UPDATE x SET id = id + 200 WHERE id BETWEEN 10 AND 20")
			exec(t, leader.app, "DELETE FROM x WHERE id % 7 = 0")
			follower.follow(leader)
			expectSame(t, leader, follower, "x")

			must(t, leader.db.Fence(t.Context(), change.Fence{Epoch: 1, Marker: "m", Wait: 20 * time.Second}))
			must(t, follower.db.Claim(t.Context(), change.Claim{Epoch: 2}))
			exec(t, follower.app, fmt.Sprintf(insert, 500, 510))
			exec(t, follower.app, "UPDATE x SET v = 'back' WHERE id % 3 = 0")
			exec(t, follower.app, "DELETE FROM x WHERE id % 5 = 0")
			leader.follow(follower)
			expectSame(t, leader, follower, "x")
		})
	}
}

// TestAnIdentityThatIsAlwaysGeneratedGoesThereAndBack: the service gives numbers
// out after the monolith's, and the monolith after those; those of another column
// too, and without a gap.
func TestAnIdentityThatIsAlwaysGeneratedGoesThereAndBack(t *testing.T) {
	const schema = "CREATE TABLE x (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, receipt serial)"
	table := change.Table{Name: "x", Columns: []string{"id", "v", "receipt"}, Key: []int{0}}
	leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, "SELECT setval('x_receipt_seq', 5000)")
	expectNothingFatal(t, leader, change.Leading)
	expectNothingFatal(t, follower, change.Following)
	exec(t, leader.app, "INSERT INTO x (v) SELECT i FROM generate_series(1, 20) AS i")
	chunk, err := leader.db.ReadChunk(t.Context(), 0, nil, 10)
	must(t, err)
	must(t, follower.db.LoadChunk(t.Context(), chunk))
	parts, _, err := leader.db.Parts(t.Context(), follower.db, 0, 4)
	must(t, err)
	if len(parts) > 0 {
		t.Fatal("a copy that was begun in one piece is cut")
	}
	stir := func(s *side) {
		exec(t, s.app, "INSERT INTO x (v) VALUES (100), (101)")
		exec(t, s.app, "UPDATE x SET v = v + 1 WHERE id % 3 = 0")
		exec(t, s.app, "DELETE FROM x WHERE id = (SELECT max(id) FROM x)")
	}
	for epoch, from, to := uint64(1), leader, follower; epoch < 5; epoch, from, to = epoch+1, to, from {
		stir(from)
		to.follow(from)
		expectSame(t, from, to, "x")
		given, err := from.db.Sequences(t.Context())
		must(t, err)
		must(t, from.db.Fence(t.Context(), change.Fence{Epoch: epoch, Marker: "m", Wait: 20 * time.Second}))
		attempt, err := to.db.BumpAttempt(t.Context())
		must(t, err)
		must(t, to.db.Claim(t.Context(), change.Claim{Epoch: epoch + 1, Attempt: attempt, Sequences: given}))
		exec(t, to.app, "INSERT INTO x (v) VALUES (7)")
		if next := to.number("SELECT max(id) FROM x"); next != given[0]["id"]+1 {
			t.Errorf("at epoch %d the number %d is given out after %d", epoch+1, next, given[0]["id"])
		}
		if next := to.number("SELECT max(receipt) FROM x"); next != given[0]["receipt"]+1 {
			t.Errorf("at epoch %d the receipt %d is given out after %d", epoch+1, next, given[0]["receipt"])
		}
	}
}

// TestRowsOfMegabytesArrive, also where an update leaves the large value alone.
func TestRowsOfMegabytesArrive(t *testing.T) {
	const schema = "CREATE TABLE x (id int PRIMARY KEY, n int, b bytea, v text)"
	table := change.Table{Name: "x", Columns: []string{"id", "n", "b", "v"}, Key: []int{0}}
	leader, follower := prepared(t, change.Leading, schema, table), prepared(t, change.Following, schema, table)
	exec(t, leader.app, `INSERT INTO x SELECT i, 0, string_agg(sha256((i::text || j)::bytea), ''), repeat(i::text, 3000000)
		FROM generate_series(1, 3) AS i, generate_series(1, 100000) AS j GROUP BY i`)
	c, err := leader.db.ReadChunk(t.Context(), 0, nil, 2)
	must(t, err)
	must(t, follower.db.LoadChunk(t.Context(), c))
	exec(t, leader.app, "UPDATE x SET n = 1")
	exec(t, leader.app, "UPDATE x SET b = b || b WHERE id = 3")
	follower.follow(leader)
	if a, b := leader.number("SELECT sum(hashtextextended(t::text, 0) % 1000000) FROM x AS t"), follower.number("SELECT sum(hashtextextended(t::text, 0) % 1000000) FROM x AS t"); a != b {
		t.Errorf("the rows are hashed as %d and %d", a, b)
	}
}
