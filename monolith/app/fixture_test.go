package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"stranglerfig/monolith/app"
	"stranglerfig/monolith/seed"
	"stranglerfig/monolith/storage"
)

const token = "test-token"

// shop is a seeded shop behind a real socket, with a connection of its own
// into the database.
type shop struct {
	t   *testing.T
	url string
	app *app.App
	db  *gorm.DB
}

// open seeds a database with 20 invoices and starts a shop on it.
func open(t *testing.T, database string, options ...func(*app.Options)) *shop {
	t.Helper()
	if _, err := seed.Fill(t.Context(), database, 20, 1); err != nil {
		t.Fatal(err)
	}
	o := app.Options{Database: database, Token: token, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))}
	for _, option := range options {
		option(&o)
	}
	running, err := app.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(running.Handler())
	t.Cleanup(func() {
		running.Stop()
		server.Close()
		if err := running.Close(); err != nil {
			t.Error(err)
		}
		if err := storage.Close(db); err != nil {
			t.Error(err)
		}
	})
	return &shop{t: t, url: server.URL, app: running, db: db}
}

func sqliteFile(t *testing.T) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "shop.db")
}

// postgresDatabase makes a database of its own, or skips the test.
func postgresDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("STRANGLER_TEST_POSTGRES")
	if server == "" {
		if strings.Contains(os.Getenv("STRANGLER_TEST_REQUIRE"), "postgres") {
			t.Fatal("PostgreSQL is required, but STRANGLER_TEST_POSTGRES is not set")
		}
		t.Skip("PostgreSQL is not tested: set STRANGLER_TEST_POSTGRES to the DSN of a role that may create databases")
	}
	name := "shop_" + strings.ToLower(strings.NewReplacer("/", "_").Replace(t.Name()))
	onServer(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	onServer(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { onServer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	dsn, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	dsn.Path = "/" + name
	return dsn.String()
}

func onServer(t *testing.T, dsn, statement string) {
	t.Helper()
	ctx := context.Background() // also runs after the test's own context ended
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request as the service token; headers come in pairs.
func (s *shop) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.askAs("Authorization", "Bearer "+token, method, path, body, headers...)
}

// askAs sends a request with one header that says who asks.
func (s *shop) askAs(header, value, method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(header, value)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Error(err)
	}
	return answer{response.StatusCode, response.Header, string(got)}
}

// login is the cookie of a customer's session.
func (s *shop) login(email, password string) string {
	s.t.Helper()
	a := s.askAs("Accept", "*/*", "POST", "/login", `{"email":"`+email+`","password":"`+password+`"}`)
	a.is(s.t, 200, "")
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return cookie
}

// is checks the status and, unless empty, the body.
func (a answer) is(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || body != "" && a.body != body {
		t.Errorf("answered %d %s\nwant %d %s", a.status, a.body, status, body)
	}
}

// read decodes the body into v.
func (a answer) read(t *testing.T, v any) {
	t.Helper()
	if err := json.NewDecoder(bytes.NewBufferString(a.body)).Decode(v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// count asks the database for a number.
func (s *shop) count(query string, args ...any) int64 {
	s.t.Helper()
	var n int64
	if err := s.db.Raw(query, args...).Scan(&n).Error; err != nil {
		s.t.Fatal(err)
	}
	return n
}

// run executes a statement on the database.
func (s *shop) run(statement string) {
	s.t.Helper()
	if err := s.db.Exec(statement).Error; err != nil {
		s.t.Fatal(err)
	}
}
