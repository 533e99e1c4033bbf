// Package ledger is the durable journal of a migration: what was done, by
// whom, on what evidence, and where each move stands.
//
// Start at [Open]. One process holds a ledger at a time. Every entry carries
// the hash of the one before it, so that a changed or missing entry is found by
// [Ledger.VerifyChain], and one cut off at the end by
// [Ledger.VerifySince]. A move's record and the entry that explains it are one
// transaction, durable when the call returns.
package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

//go:embed schema/*.sql
var schema embed.FS

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	db    *sql.DB
	lock  *os.File // nil when read-only
	clock func() time.Time
}

// LockedError is returned when another process holds the ledger.
type LockedError struct {
	Dir string
	PID int // 0 when unknown
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("the state in %s is in use by another strangler (pid %d)", e.Dir, e.PID)
}

// Open opens or creates the ledger in a directory and locks it against other
// processes until Close. The error is a *LockedError where another one has it.
func Open(dir string, clock func() time.Time) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	l, err := open(dir, "_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)", clock)
	if err != nil {
		lock.Close()
		return nil, err
	}
	l.lock = lock
	if err := upgrade(dir); err != nil {
		l.Close()
		return nil, fmt.Errorf("bring the ledger's schema up to date: %w", err)
	}
	return l, nil
}

// OpenReadOnly opens a ledger for reading, also while another process has it.
func OpenReadOnly(dir string) (*Ledger, error) {
	if _, err := os.Stat(filepath.Join(dir, "ledger.db")); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return open(dir, "_pragma=query_only(1)&_pragma=busy_timeout(5000)", time.Now)
}

func open(dir, options string, clock func() time.Time) (*Ledger, error) {
	abs, err := filepath.Abs(filepath.Join(dir, "ledger.db"))
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: abs}).EscapedPath()+"?"+options)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", abs, err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("SELECT count(*) FROM sqlite_schema"); err != nil {
		db.Close()
		return nil, fmt.Errorf("open ledger %s: %w", abs, err)
	}
	return &Ledger{db: db, clock: clock}, nil
}

// acquire takes the process lock, which the kernel releases however the
// process ends.
func acquire(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := lockSoon(f); err != nil {
		text, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		f.Close()
		return nil, &LockedError{Dir: dir, PID: pid}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return f, nil
}

// lockWait is how long the lock is waited for: a process that was just killed
// holds it until the kernel has cleaned up after it.
const lockWait = time.Second

func lockSoon(f *os.File) error {
	for deadline := time.Now().Add(lockWait); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// upgrade runs the schema's migrations over a connection of its own, which
// golang-migrate closes.
func upgrade(dir string) error {
	own, err := open(dir, "_pragma=busy_timeout(5000)", time.Now)
	if err != nil {
		return err
	}
	target, err := sqlite.WithInstance(own.db, &sqlite.Config{})
	if err != nil {
		own.db.Close()
		return err
	}
	files, err := iofs.New(schema, "schema")
	if err != nil {
		own.db.Close()
		return err
	}
	m, err := migrate.NewWithInstance("iofs", files, "sqlite", target)
	if err != nil {
		own.db.Close()
		return err
	}
	err = up(m)
	_, closeErr := m.Close()
	return errors.Join(err, closeErr)
}

// up brings the schema up to date. golang-migrate marks a version as dirty
// before it runs it and asks for a person where a kill came in between; every
// statement of ours may be repeated, so the version is simply run again.
func up(m *migrate.Migrate) error {
	version, dirty, err := m.Version()
	if err == nil && dirty {
		before := int(version) - 1
		if before == 0 {
			before = -1 // golang-migrate's word for "none"
		}
		if err := m.Force(before); err != nil {
			return err
		}
	}
	if err := m.Up(); !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	return nil
}

// Close releases the ledger.
func (l *Ledger) Close() error {
	err := l.db.Close()
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	return err
}

// Entry is one line of the journal. Seq, Prev and Hash are set by the ledger,
// and At where it is zero.
type Entry struct {
	Seq        int64           `json:"seq"`
	At         time.Time       `json:"at"`
	Capability string          `json:"capability,omitempty"`
	Kind       string          `json:"kind"`
	Actor      string          `json:"actor"`
	Text       string          `json:"text"`
	Detail     json.RawMessage `json:"detail,omitempty"`
	Prev       string          `json:"prev"`
	Hash       string          `json:"hash"`
}

// sum is the entry's hash: over every field but the hash itself, each written
// as a JSON string so that no two entries read the same.
func (e Entry) sum() string {
	fields, err := json.Marshal([]string{
		strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339Nano), e.Capability, e.Kind, e.Actor, e.Text, string(e.Detail), e.Prev,
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	digest := sha256.Sum256(fields)
	return hex.EncodeToString(digest[:])
}

// Append adds an entry; it is durable when Append returns.
func (l *Ledger) Append(ctx context.Context, e Entry) (Entry, error) {
	err := l.transact(ctx, func(tx *sql.Tx) (err error) {
		e, err = l.append(ctx, tx, e)
		return err
	})
	return e, err
}

func (l *Ledger) transact(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func (l *Ledger) append(ctx context.Context, tx *sql.Tx, e Entry) (Entry, error) {
	err := tx.QueryRowContext(ctx, "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").Scan(&e.Seq, &e.Prev)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e, err
	}
	e.Seq++
	if e.At.IsZero() {
		e.At = l.clock()
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Hash = e.sum()
	_, err = tx.ExecContext(ctx, "INSERT INTO entry (seq, at, capability, kind, actor, text, detail, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.Seq, e.At.Format(time.RFC3339Nano), e.Capability, e.Kind, e.Actor, e.Text, string(e.Detail), e.Prev, e.Hash)
	return e, err
}

// Filter selects entries; its zero value selects all.
type Filter struct {
	Capability string
	Kind       string
	After      int64 // only entries with a higher Seq
	Limit      int   // at most so many, the first ones; 0: all
}

// Entries returns entries in order.
func (l *Ledger) Entries(ctx context.Context, f Filter) ([]Entry, error) {
	query, args := "SELECT seq, at, capability, kind, actor, text, detail, prev, hash FROM entry WHERE seq > ?", []any{f.After}
	if f.Capability != "" {
		query, args = query+" AND capability = ?", append(args, f.Capability)
	}
	if f.Kind != "" {
		query, args = query+" AND kind = ?", append(args, f.Kind)
	}
	query += " ORDER BY seq"
	if f.Limit > 0 {
		query += " LIMIT " + strconv.Itoa(f.Limit)
	}
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer rows.Close()
	var all []Entry
	for rows.Next() {
		var e Entry
		var at, detail string
		if err := rows.Scan(&e.Seq, &at, &e.Capability, &e.Kind, &e.Actor, &e.Text, &detail, &e.Prev, &e.Hash); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		if e.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("read ledger entry %d: %w", e.Seq, err)
		}
		if detail != "" {
			e.Detail = json.RawMessage(detail)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// VerifyChain checks every entry's hash and its link to the one before, and
// returns how many there are. Entries that were cut off at the end leave no
// trace in what is left: see [Ledger.VerifySince].
func (l *Ledger) VerifyChain(ctx context.Context) (int64, error) {
	last, err := l.VerifySince(ctx, "")
	return last.Seq, err
}

// VerifySince checks the chain as [Ledger.VerifyChain] does and, where head is
// not empty, that the entry which had this hash is still in it: whoever kept
// the hash of the last entry elsewhere sees by it that the ledger was cut off
// behind that entry, or written anew as a whole. It returns the last entry that
// holds, whose hash is the one to keep next.
func (l *Ledger) VerifySince(ctx context.Context, head string) (Entry, error) {
	entries, err := l.Entries(ctx, Filter{})
	if err != nil {
		return Entry{}, err
	}
	prev, kept := Entry{}, head == ""
	for _, e := range entries {
		switch {
		case e.Seq != prev.Seq+1:
			return prev, fmt.Errorf("ledger: entry %d is missing", prev.Seq+1)
		case e.Prev != prev.Hash:
			return prev, fmt.Errorf("ledger: entry %d does not follow entry %d", e.Seq, prev.Seq)
		case e.Hash != e.sum():
			return prev, fmt.Errorf("ledger: entry %d was changed after it was written", e.Seq)
		}
		prev, kept = e, kept || e.Hash == head
	}
	if !kept {
		return prev, fmt.Errorf("ledger: no entry has the hash %s that was kept: entries were cut off at the end, or the ledger was written anew", head)
	}
	return prev, nil
}
