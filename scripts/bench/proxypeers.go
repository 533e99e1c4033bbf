package main

import (
	"context"
	"fmt"
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

// installed finds a program. Packages put some where only root looks.
func installed(name string) (string, error) {
	for _, file := range []string{name, filepath.Join("/usr/sbin", name)} {
		if program, err := exec.LookPath(file); err == nil {
			return program, nil
		}
	}
	return "", notInstalled
}

// startAt starts a program with the config that it gets for a free address.
func startAt(ctx context.Context, s setting, config func(addr string) string, c harness.Command) (*server, error) {
	addr, err := harness.FreePort()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, configFile), []byte(config(addr)), 0o600); err != nil {
		return nil, err
	}
	c.Dir, c.Env = s.dir, []string{"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir}
	return startServer(ctx, addr, c)
}

// configFile is what each program's config is called, in its own folder.
const configFile = "config"

func startNginx(ctx context.Context, s setting) (*server, error) {
	program, err := installed("nginx")
	if err != nil {
		return nil, err
	}
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
	args := []string{"-p", s.dir, "-c", filepath.Join(s.dir, configFile), "-e", filepath.Join(s.dir, "error.log")}
	return startAt(ctx, s, config, harness.Command{Name: "nginx", Path: program, Args: args})
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

// startHAProxy starts HAProxy as in a container: it opens no log files, so its
// lines go to its standard output, which is one. A socket for them, as syslog
// has, drops what comes faster than it is read.
func startHAProxy(ctx context.Context, s setting) (*server, error) {
	program, err := installed("haproxy")
	if err != nil {
		return nil, err
	}
	config := func(addr string) string {
		tls, scheme := "", "http"
		if s.certificate.File != "" {
			tls, scheme = "ssl crt "+s.certificate.Both, "https"
		}
		return fmt.Sprintf(haproxyConfig, runtime.NumCPU(), addr, tls, scheme, s.backend)
	}
	const toFile = `program=$1; shift; exec "$program" "$@" >access.log`
	args := []string{"-c", toFile, "sh", program, "-db", "-f", configFile}
	return startAt(ctx, s, config, harness.Command{Name: "haproxy", Path: "/bin/sh", Args: args})
}

const haproxyConfig = `global
	nbthread %[1]d
	maxconn 12000
	no strict-limits
	log stdout format raw local0
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
	bind %[2]s %[3]s
	http-request set-header X-Forwarded-Proto %[4]s
	default_backend backend
backend backend
	server one %[5]s
`

func startCaddy(ctx context.Context, s setting) (*server, error) {
	program, err := installed("caddy")
	if err != nil {
		return nil, err
	}
	config := func(addr string) string {
		tls := ""
		if s.certificate.File != "" {
			tls = fmt.Sprintf("tls %s %s", s.certificate.File, s.certificate.Key)
		}
		_, port, _ := net.SplitHostPort(addr)
		return fmt.Sprintf(caddyConfig, port, s.dir, tls, s.backend)
	}
	args := []string{"run", "--adapter", "caddyfile", "--config", configFile}
	return startAt(ctx, s, config, harness.Command{Name: "caddy", Path: program, Args: args})
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
