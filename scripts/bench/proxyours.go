package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stranglerfig/contract-tests/harness"
)

// setting is what a case gives a proxy to work with.
type setting struct {
	dir         string // for its files; nobody else's
	binary      string // of our command
	backend     string // host:port
	service     string // host:port of the backend that requests are mirrored to; empty: the same
	admin       string // ours: host:port of its admin API
	certificate certificate
	routes      int  // of ours
	mirrored    bool // ours: the routes of the first capability are mirrored
}

const (
	routesPerCapability = 100
	mirroredShare       = 10 // percent
	adminToken          = "bench"
)

// routePath is a path that belongs to the numbered route and to no other.
func routePath(route int) string {
	return fmt.Sprintf("/c%d/r%d/7", route/routesPerCapability, route%routesPerCapability)
}

// config is a strangler.yaml as a user would have it at that many routes: in
// capabilities, with access log, metrics and admin API. Generations differ in
// one route.
func (s setting) config(generation int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\nadmin: {listen: %s, token: %s}\nstate: ./state\naccess_log: access.log\n", s.admin, adminToken)
	if s.certificate.File != "" {
		fmt.Fprintf(&b, "tls: {certificate: %s, key: %s}\n", s.certificate.File, s.certificate.Key)
	}
	fmt.Fprintf(&b, "monolith: {url: http://%s}\ncapabilities:\n", s.backend)
	service := s.service
	if service == "" {
		service = s.backend
	}
	for route := range s.routes {
		of := route / routesPerCapability
		if route%routesPerCapability == 0 {
			fmt.Fprintf(&b, "  c%d:\n    service: {url: http://%s}\n    routes:\n", of, service)
			if of == 0 {
				fmt.Fprintf(&b, "      %s: monolith\n", generationRoute(generation))
			}
		}
		owner := "monolith"
		if s.mirrored && of == 0 {
			owner = fmt.Sprintf("shadow %d%%", mirroredShare)
		}
		fmt.Fprintf(&b, "      GET /c%d/r%d/{id}: %s\n", of, route%routesPerCapability, owner)
	}
	return b.String()
}

// generationRoute is the route by which a reload can be told to be in force.
func generationRoute(generation int) string {
	return fmt.Sprintf("GET /generation/%d", generation)
}

// file is where the config is.
func (s setting) file() string { return filepath.Join(s.dir, "strangler.yaml") }

// startOurs starts the command as a user does.
func startOurs(ctx context.Context, s setting) (*server, error) {
	if err := os.WriteFile(s.file(), []byte(s.config(0)), 0o600); err != nil {
		return nil, err
	}
	return startServer(ctx, "", harness.Command{Name: ours, Path: s.binary, Args: []string{"serve", "-c", s.file()}, Dir: s.dir})
}
