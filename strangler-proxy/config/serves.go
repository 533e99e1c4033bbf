package config

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Serves reports whether a database is one that serves clients, however it is
// written.
func (c *Config) Serves(dsn string) bool {
	if sameDatabase(dsn, c.Monolith.Database) {
		return true
	}
	return slices.ContainsFunc(c.Capabilities, func(p Capability) bool { return sameDatabase(dsn, p.Service.Database) })
}

// sameDatabase reports whether two DSNs name one database: one file, by whatever
// path, or one name on one server, whoever logs in.
func sameDatabase(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	pathA, fileA := strings.CutPrefix(a, "sqlite:")
	pathB, fileB := strings.CutPrefix(b, "sqlite:")
	if fileA != fileB {
		return false
	}
	if fileA {
		return filepath.Clean(pathA) == filepath.Clean(pathB) || SameFile(pathA, pathB)
	}
	serverA, errA := url.Parse(a)
	serverB, errB := url.Parse(b)
	if errA != nil || errB != nil {
		return a == b
	}
	return serverOf(serverA) == serverOf(serverB) && serverA.Path == serverB.Path
}

// serverOf is host and port of a server, this machine's by one name.
func serverOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if ip := net.ParseIP(host); host == "" || host == "localhost" || ip != nil && ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, cmp.Or(u.Port(), "5432"))
}

// SameFile reports whether two paths lead to one file that is there.
func SameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}
