package postgres

import (
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A connection may be dead without either end having been told, and whoever waits
// for the other end would wait for hours. So both ends ask for a sign of life where
// nothing is under way, and no transaction that holds locks may stand still.
const (
	// connectWait bounds making a connection where the DSN does not: a pool that
	// waits for four of them gives nobody a fifth.
	connectWait = 20 * time.Second
	// A peer that gives no sign of life is given up after about a minute.
	quietFor, askEvery, askTimes = 30 * time.Second, 10 * time.Second, 3
	// applierIdle bounds how long a transaction of an applier may wait for its next
	// statement: one whose engine stands still must not keep the next engine out.
	applierIdle = time.Minute
	// lockedIdle does so for one that has locked the application's tables: its
	// writers wait as well.
	lockedIdle = 5 * time.Second
)

// stayAlive has both ends of connections watch each other.
func stayAlive(config *pgconn.Config) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectWait
	}
	config.DialFunc = (&net.Dialer{
		Timeout:         config.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: quietFor, Interval: askEvery, Count: askTimes},
	}).DialContext
	config.RuntimeParams["tcp_keepalives_idle"] = seconds(quietFor)
	config.RuntimeParams["tcp_keepalives_interval"] = seconds(askEvery)
	config.RuntimeParams["tcp_keepalives_count"] = strconv.Itoa(askTimes)
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
