package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"stranglerfig/migrations/change"
)

const (
	// patience is how long the server may stay silent before it is asked how
	// far it has come.
	patience = 50 * time.Millisecond
	// statusEvery is how often the server hears of us at least; it gives up on
	// those it has not heard of for wal_sender_timeout, a minute by default.
	statusEvery = 5 * time.Second
	// takeoverWait bounds waiting for another session to let go of the slot.
	takeoverWait = 10 * time.Second
	// answerWait bounds what every server answers at once, so that a connection
	// at whose other end nobody is any more does not hold a stream up.
	answerWait = 10 * time.Second
	// suspicious is the silence of a server that was asked after which it is asked
	// by another connection what the session does, and unbearable the one after
	// which it does not matter, at first: it may work through large transactions of
	// tables that are none of ours.
	suspicious, unbearable = 5 * time.Second, time.Minute
)

// replicationConn opens a connection that speaks the replication protocol.
func (db *DB) replicationConn(ctx context.Context) (*pgconn.PgConn, error) {
	config := db.raw.Copy()
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a replication connection: %w", err)
	}
	return conn, nil
}

// session is one run of START_REPLICATION. It is used by one caller at a time.
type session struct {
	conn  *pgconn.PgConn
	told  time.Time // when the server last heard of us
	heard time.Time // when it last said anything, while anybody listened
}

// errLost says that the log no longer goes back to where the move needs it.
var errLost = fmt.Errorf("the replication slot is gone or was cut off: %w", change.ErrForgotten)

// startSession streams the slot's changes from what was last confirmed on. A
// slot serves one session; another one that holds it belongs to an engine that
// was replaced, or to a connection that nobody has noticed is dead, and is
// ended.
func (db *DB) startSession(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, takeoverWait)
	defer cancel()
	for {
		s, err := db.tryStart(ctx)
		switch code(err) {
		case objectInUse:
			if err := db.evict(ctx); err != nil {
				return nil, err
			}
		case undefinedObject, wrongState:
			return nil, fmt.Errorf("%w: %w", errLost, err)
		default:
			return s, err
		}
		if !pause(ctx, 5*time.Millisecond) {
			return nil, fmt.Errorf("replication slot %s is held by another session: %w", db.name, err)
		}
	}
}

func (db *DB) tryStart(ctx context.Context) (*session, error) {
	conn, err := db.replicationConn(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.continuous(ctx, conn); err != nil {
		hangUp(conn)
		return nil, err
	}
	conn.Frontend().SendQuery(&pgproto3.Query{String: fmt.Sprintf(
		"START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names %s, messages 'true')", quote(db.name), literal(quote(db.name)))})
	err = conn.Frontend().Flush()
	for err == nil {
		var m pgproto3.BackendMessage
		if m, err = conn.ReceiveMessage(ctx); err != nil {
			break
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return &session{conn: conn}, conn.Conn().SetReadDeadline(time.Now().Add(patience))
		case *pgproto3.ErrorResponse:
			err = pgconn.ErrorResponseToPgError(m)
		}
	}
	hangUp(conn)
	return nil, fmt.Errorf("stream from replication slot %s: %w", db.name, err)
}

// hangUp closes a connection without waiting for the server to agree.
func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn.Close(ctx)
}

// evict ends the session that holds the slot.
func (db *DB) evict(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL", db.name)
	return err
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *session) close() { hangUp(s.conn) }

// received is what one message of the session said.
type received struct {
	message any             // of pgoutput, or nil
	reached change.Position // everything before it has been received, or 0
	asked   bool            // the server wants to hear of us
	silent  bool            // there was no message
}

// receive waits for the next message, but not longer than patience allows. With
// skip, changes of rows are not decoded.
func (s *session) receive(skip bool) (received, error) {
	// Where messages come in a stream, the deadline that is there will do.
	m, err := s.conn.ReceiveMessage(context.Background())
	if err == nil {
		s.heard = time.Now()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return received{silent: true}, s.conn.Conn().SetReadDeadline(time.Now().Add(patience))
	}
	if err != nil {
		return received{}, fmt.Errorf("read the replication stream: %w", err)
	}
	switch m := m.(type) {
	case *pgproto3.CopyData:
		return parseCopy(m.Data, skip)
	case *pgproto3.ErrorResponse:
		return received{}, fmt.Errorf("read the replication stream: %w", pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CopyDone:
		return received{}, errors.New("read the replication stream: the server ended it")
	}
	return received{}, nil
}

// parseCopy reads the frame around a message of pgoutput, or a keepalive.
func parseCopy(data []byte, skip bool) (received, error) {
	switch {
	case len(data) >= 18 && data[0] == 'k':
		return received{reached: change.Position(binary.BigEndian.Uint64(data[1:])), asked: data[17] != 0}, nil
	case len(data) > 25 && data[0] == 'w' && skip && isChange(data[25]):
		return received{}, nil
	case len(data) > 25 && data[0] == 'w':
		m, err := parseMessage(data[25:])
		if commit, ok := m.(commitMessage); ok {
			return received{message: m, reached: change.Position(commit.end)}, err
		}
		return received{message: m}, err
	}
	return received{}, fmt.Errorf("read the replication stream: %d bytes are neither changes nor a keepalive", len(data))
}

// tell reports to the server what was received and what is durable; the log up
// to there may be forgotten. With ask, it answers how far it has come.
func (s *session) tell(reached, durable change.Position, ask bool) error {
	m := make([]byte, 0, 34)
	m = append(m, 'r')
	m = binary.BigEndian.AppendUint64(m, uint64(reached))
	m = binary.BigEndian.AppendUint64(m, uint64(durable))
	m = binary.BigEndian.AppendUint64(m, uint64(durable))
	m = binary.BigEndian.AppendUint64(m, uint64(time.Since(epoch2000).Microseconds()))
	if ask {
		m = append(m, 1)
	} else {
		m = append(m, 0)
	}
	s.conn.Frontend().Send(&pgproto3.CopyData{Data: m})
	err := s.conn.Conn().SetWriteDeadline(time.Now().Add(takeoverWait))
	if err = errors.Join(err, s.conn.Frontend().Flush()); err != nil {
		return fmt.Errorf("report to the replication stream: %w", err)
	}
	s.told = time.Now()
	return nil
}

// epoch2000 is where PostgreSQL counts time from.
var epoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
