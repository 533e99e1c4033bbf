package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

// PostgresEnv is the variable that names a server to use instead of starting
// one. The role must be allowed to create databases.
const PostgresEnv = "STRANGLER_TEST_POSTGRES"

// ImageEnv is the variable that names the image of a container's server;
// default: [Image].
const (
	ImageEnv = "STRANGLER_TEST_POSTGRES_IMAGE"
	Image    = "postgres:15"
)

// ErrNoPostgres is returned where no server is named and none can be started.
var ErrNoPostgres = errors.New("no PostgreSQL: set " + PostgresEnv + " to a DSN, run a Docker daemon, or install PostgreSQL's binaries")

// Server is a PostgreSQL server for tests.
type Server struct {
	DSN  string // of a database that may be written
	How  string // "dsn", "container" or "binaries"
	stop func()
}

// Stop ends the server if this package started it.
func (s *Server) Stop() { s.stop() }

// Postgres returns a server: the one named by the environment, else one in a
// container where a Docker daemon answers, else one from local binaries.
func Postgres(ctx context.Context) (*Server, error) {
	if dsn := os.Getenv(PostgresEnv); dsn != "" {
		return &Server{DSN: dsn, How: "dsn", stop: func() {}}, nil
	}
	if s, err := PostgresContainer(ctx); err == nil {
		return s, nil
	}
	return PostgresBinaries(ctx)
}

// PostgresContainer starts a server in a container.
func PostgresContainer(ctx context.Context) (s *Server, err error) {
	defer func() {
		// The Docker client panics where it finds no daemon at all.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrNoPostgres, r)
		}
	}()
	if _, err := os.Stat("/var/run/docker.sock"); err != nil && os.Getenv("DOCKER_HOST") == "" {
		return nil, fmt.Errorf("%w: no Docker daemon", ErrNoPostgres)
	}
	image := cmp.Or(os.Getenv(ImageEnv), Image)
	c, err := postgres.Run(ctx, image, postgres.WithDatabase("test"), postgres.WithUsername("test"), postgres.WithPassword("test"),
		testcontainers.WithCmdArgs("-c", "wal_level=logical"), postgres.BasicWaitStrategies())
	if err != nil {
		return nil, fmt.Errorf("start a PostgreSQL container: %w", err)
	}
	stop := func() { testcontainers.TerminateContainer(c) }
	dsn, err := c.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		stop()
		return nil, err
	}
	return &Server{DSN: dsn, How: "container", stop: stop}, nil
}

// PostgresBinaries starts a server from the binaries on this machine, in a
// temporary directory. As root it runs as the user postgres, because the
// server refuses root. Settings, each name=value, come after the ones that tests
// need.
func PostgresBinaries(ctx context.Context, settings ...string) (*Server, error) {
	c, err := NewCluster(ctx, append([]string{"fsync=off"}, settings...)...)
	if err != nil {
		return nil, err
	}
	return &c.Server, nil
}

// postgresBin finds the directory that holds initdb and postgres.
func postgresBin() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for i := len(dirs) - 1; i >= 0; i-- {
		if _, err := os.Stat(filepath.Join(dirs[i], "initdb")); err == nil {
			return dirs[i], nil
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrNoPostgres
}

// serverUser returns whom to run the server as, and gives them dir.
func serverUser(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: running as root needs a user postgres", ErrNoPostgres)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// answers waits until a server accepts connections.
func answers(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		}
	}
}

// Database creates an empty database on the server and returns its DSN and
// the function that drops it.
func (s *Server) Database(ctx context.Context, name string) (string, func(), error) {
	conn, err := pgx.Connect(ctx, s.DSN)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close(ctx)
	quoted := pgx.Identifier{name}.Sanitize()
	for _, q := range []string{"DROP DATABASE IF EXISTS " + quoted + " WITH (FORCE)", "CREATE DATABASE " + quoted} {
		if _, err := conn.Exec(ctx, q); err != nil {
			return "", nil, fmt.Errorf("create database %s: %w", name, err)
		}
	}
	config, err := pgx.ParseConfig(s.DSN)
	if err != nil {
		return "", nil, err
	}
	dsn := fmt.Sprintf("postgres://%s:%s@%s:%d/%s?sslmode=disable", config.User, config.Password, config.Host, config.Port, name)
	drop := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if conn, err := pgx.Connect(ctx, s.DSN); err == nil {
			conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quoted+" WITH (FORCE)")
			conn.Close(ctx)
		}
	}
	return dsn, drop, nil
}
