package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"stranglerfig/contract-tests/harness"
)

// leftOut is why a peer is not measured though nothing is wrong; the table says
// it.
type leftOut string

func (l leftOut) Error() string { return string(l) }

const notInstalled leftOut = "not installed"

// peer is a proxy that ours is held against.
type peer struct {
	name  string
	start func(ctx context.Context, s setting) (*server, error)
}

// peers in the order of the table. All of them keep connections to clients and
// backend alive, write an access log in their ordinary way, have a worker for
// each processor and stream uploads.
var peers = []peer{
	{"nginx", startNginx},
	{"haproxy", startHAProxy},
	{"caddy", startCaddy},
	{stock, func(ctx context.Context, s setting) (*server, error) { return startOwn(ctx, stock, s) }},
	{bare, func(ctx context.Context, s setting) (*server, error) { return startOwn(ctx, bare, s) }},
}

// startOwn starts one of the proxies that are in the bench itself.
func startOwn(ctx context.Context, role string, s setting) (*server, error) {
	return startRole(ctx, serving{
		Do: role, Backend: s.backend, Certificate: s.certificate, AccessLog: filepath.Join(s.dir, "access.log"),
	})
}

// startInstalled starts a program with the config that it gets for a free
// address. Packages put some where only root looks.
func startInstalled(ctx context.Context, s setting, name string, config func(addr string) string, args ...string) (*server, error) {
	program, err := exec.LookPath(name)
	if err != nil {
		if program, err = exec.LookPath(filepath.Join("/usr/sbin", name)); err != nil {
			return nil, notInstalled
		}
	}
	addr, err := harness.FreePort()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, configFile), []byte(config(addr)), 0o600); err != nil {
		return nil, err
	}
	return startServer(ctx, addr, harness.Command{
		Name: name, Path: program, Args: args, Dir: s.dir,
		Env: []string{"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir},
	})
}

// configFile is what each program's config is called, in its own folder.
const configFile = "config"

func startNginx(ctx context.Context, s setting) (*server, error) {
	config := func(addr string) string {
		user, tls := "", ""
		if os.Getuid() == 0 {
			user = "user root;" // or its workers may not read its folder
		}
		if s.certificate.File != "" {
			tls, addr = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", s.certificate.File, s.certificate.Key), addr+" ssl"
		}
		return fmt.Sprintf(nginxConfig, user, runtime.NumCPU(), s.dir, s.backend, addr, tls)
	}
	return startInstalled(ctx, s, "nginx", config, "-p", s.dir, "-c", filepath.Join(s.dir, configFile), "-e", filepath.Join(s.dir, "error.log"))
}

// nginxConfig: uploads are streamed as ours are, and answers never go to disk.
const nginxConfig = `daemon off;
%[1]s
worker_processes %[2]d;
pid %[3]s/nginx.pid;
error_log %[3]s/error.log;
events { worker_connections 16384; }
http {
	access_log %[3]s/access.log combined buffer=64k flush=1s;
	client_body_temp_path %[3]s/body;
	proxy_temp_path %[3]s/proxy;
	fastcgi_temp_path %[3]s/fastcgi;
	uwsgi_temp_path %[3]s/uwsgi;
	scgi_temp_path %[3]s/scgi;
	keepalive_timeout 120s;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	upstream backend {
		server %[4]s;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen %[5]s reuseport backlog=4096;
		%[6]s
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_request_buffering off;
			proxy_buffers 32 8k;
			proxy_max_temp_file_size 0;
		}
	}
}
`

// startHAProxy starts HAProxy, which writes no log files: its lines go to a
// socket, as those for syslog would, and are written to a file here.
func startHAProxy(ctx context.Context, s setting) (*server, error) {
	socket := filepath.Join(s.dir, "log.sock")
	lines, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	if err != nil {
		return nil, err
	}
	sink, err := os.Create(filepath.Join(s.dir, "access.log"))
	if err != nil {
		return nil, errors.Join(err, lines.Close())
	}
	written := make(chan error, 1)
	go func() {
		_, err := io.Copy(sink, lines)
		if errors.Is(err, net.ErrClosed) {
			err = nil
		}
		written <- errors.Join(err, sink.Close())
	}()
	closeSink := func() error { return errors.Join(lines.Close(), <-written) }
	config := func(addr string) string {
		tls, scheme := "", "http"
		if s.certificate.File != "" {
			tls, scheme = "ssl crt "+s.certificate.Both, "https"
		}
		return fmt.Sprintf(haproxyConfig, runtime.NumCPU(), socket, addr, tls, scheme, s.backend)
	}
	p, err := startInstalled(ctx, s, "haproxy", config, "-db", "-f", configFile)
	if err != nil {
		return nil, errors.Join(err, closeSink())
	}
	p.after = closeSink
	return p, nil
}

const haproxyConfig = `global
	nbthread %[1]d
	maxconn 12000
	no strict-limits
	log %[2]s format raw local0
	ssl-default-bind-options prefer-client-ciphers
defaults
	mode http
	log global
	option httplog
	option dontlognull
	option forwardfor
	http-reuse always
	timeout connect 5s
	timeout client 120s
	timeout server 120s
	timeout http-keep-alive 120s
frontend clients
	bind %[3]s %[4]s
	http-request set-header X-Forwarded-Proto %[5]s
	default_backend backend
backend backend
	server one %[6]s
`

func startCaddy(ctx context.Context, s setting) (*server, error) {
	config := func(addr string) string {
		tls := ""
		if s.certificate.File != "" {
			tls = fmt.Sprintf("tls %s %s", s.certificate.File, s.certificate.Key)
		}
		_, port, _ := net.SplitHostPort(addr)
		return fmt.Sprintf(caddyConfig, port, s.dir, tls, s.backend)
	}
	return startInstalled(ctx, s, "caddy", config, "run", "--adapter", "caddyfile", "--config", configFile)
}

const caddyConfig = `{
	admin off
	auto_https off
	servers {
		protocols h1
	}
}
:%[1]s {
	bind 127.0.0.1
	log {
		output file %[2]s/access.log {
			roll_disabled
		}
	}
	%[3]s
	reverse_proxy %[4]s {
		transport http {
			keepalive_idle_conns_per_host 1024
		}
	}
}
`
