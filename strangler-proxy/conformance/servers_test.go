package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stranglerfig/contract-tests/harness"
	"stranglerfig/contract-tests/harness/require"
)

// server is an HTTP server of somebody else's, as a legacy application may
// stand behind one: set to take whatever it can make sense of. It answers
// every request by itself and logs "seen STATUS REQUEST-LINE".
type server struct {
	name    string
	program string
	config  string // %[1]s is the port, %[2]s a folder of its own
	args    []string
	stop    syscall.Signal // ends it after its log is written
}

// others are the servers that the desync grid knows. Debian has all of them.
var others = []server{
	{name: "nginx", program: "nginx", args: []string{"-c", "config", "-e", "stderr"}, stop: syscall.SIGQUIT, config: `daemon off; master_process off; pid %[2]s/pid;
events { worker_connections 1024; }
http {
	client_body_temp_path %[2]s/1; proxy_temp_path %[2]s/2; fastcgi_temp_path %[2]s/3; uwsgi_temp_path %[2]s/4; scgi_temp_path %[2]s/5;
	log_format seen escape=none 'seen $status $request';
	access_log %[2]s/seen seen;
	ignore_invalid_headers off; underscores_in_headers on; merge_slashes off; keepalive_requests 100000; client_max_body_size 0;
	server { listen 127.0.0.1:%[1]s; location / { return 200 seen; } }
}
`},
	{name: "apache2", program: "apache2", args: []string{"-X", "-f", "config"}, stop: syscall.SIGTERM, config: `ServerRoot %[2]s
ServerName shop
PidFile %[2]s/pid
DefaultRuntimeDir %[2]s
Mutex posixsem
Listen 127.0.0.1:%[1]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
HttpProtocolOptions Unsafe LenientMethods Allow0.9
MaxKeepAliveRequests 0
KeepAliveTimeout 60
AllowEncodedSlashes On
DocumentRoot %[2]s
ErrorLog %[2]s/errors
LogFormat "seen %%>s %%r" seen
CustomLog %[2]s/seen seen
`},
	{name: "haproxy", program: "haproxy", args: []string{"-db", "-f", "config"}, stop: syscall.SIGUSR1, config: `global
	log stdout format raw local0
	nbthread 1
defaults
	mode http
	log global
	option dontlognull
	timeout client 60s
	timeout server 60s
	timeout connect 5s
frontend all
	bind 127.0.0.1:%[1]s
	option accept-invalid-http-request
	log-format "seen %%ST %%r"
	http-request return status 200 content-type text/plain string seen
`},
	{name: "lighttpd", program: "lighttpd", args: []string{"-D", "-f", "config"}, stop: syscall.SIGINT, config: `server.port = %[1]s
server.bind = "127.0.0.1"
server.document-root = "%[2]s"
server.errorlog = "%[2]s/errors"
server.modules = ("mod_accesslog")
server.http-parseopts = ("header-strict" => "disable", "host-strict" => "disable", "host-normalize" => "disable", "method-get-body" => "enable")
server.max-keep-alive-requests = 10000
server.max-keep-alive-idle = 60
accesslog.filename = "%[2]s/seen"
accesslog.format = "seen %%>s %%r"
`},
}

// missing lists the servers that are not installed.
func missing() []string {
	var names []string
	for _, s := range others {
		if _, err := s.path(); err != nil {
			names = append(names, s.name)
		}
	}
	return names
}

// path finds the program, also where only root looks for it.
func (s server) path() (string, error) {
	path, err := exec.LookPath(s.program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + s.program)
	}
	return path, err
}

// TestTheServersOfTheGridAreThere tells which of them are not, and fails where
// all of them are required.
func TestTheServersOfTheGridAreThere(t *testing.T) {
	if gone := missing(); len(gone) > 0 {
		t.Logf("the desync grid runs without %s", strings.Join(gone, ", "))
		if require.Asked("servers") {
			t.Errorf("%s asks for %s: apt-get install nginx-light apache2 haproxy lighttpd", require.Env, strings.Join(gone, ", "))
		}
	}
}

// start runs the server on a free port.
func (s server) start(t testing.TB) target {
	t.Helper()
	path, err := s.path()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	address, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, s.config, port, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	args := slices.Clone(s.args)
	args[slices.Index(args, "config")] = config
	said := &journal{}
	process, err := harness.Start(t.Context(), harness.Command{Name: s.name, Path: path, Args: args, Dir: dir, Log: said, Ready: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	eventually(t, s.name+" listens", func() bool {
		select {
		case <-process.Done():
			t.Fatalf("%s ended: %v\n%s", s.name, process.Err(), process.Output())
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return target{s.name, address, func(t testing.TB) []string {
		t.Helper()
		if err := process.Signal(s.stop); err != nil {
			t.Fatal(err)
		}
		select {
		case <-process.Done():
		case <-time.After(guard):
			t.Fatalf("%s does not end", s.name)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "seen"))
		if errors.Is(err, os.ErrNotExist) {
			raw = said.bytes()
		} else if err != nil {
			t.Fatal(err)
		}
		return logged(raw)
	}}
}

// logged reads the lines of a log, of which it keeps "METHOD PATH"; where a
// server does not say what it has refused, that is kept as it is.
func logged(raw []byte) []string {
	var all []string
	for line := range bytes.Lines(raw) {
		rest, isRequest := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "seen ")
		if !isRequest {
			continue // a notice among them
		}
		_, request, _ := strings.Cut(rest, " ")
		all = append(all, methodAndPath(request))
	}
	return all
}

// methodAndPath shortens a request line.
func methodAndPath(line string) string {
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return line
	}
	path, _, _ := strings.Cut(parts[1], "?")
	return parts[0] + " " + path
}

// target is what the grid sends requests to.
type target struct {
	name, address string
	// seen ends it and lists the requests that it saw, as "METHOD PATH".
	seen func(t testing.TB) []string
}
