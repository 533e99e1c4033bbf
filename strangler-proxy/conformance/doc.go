// Package conformance holds the proxy to its promises from outside: it starts
// the whole proxy on a socket, as a user would, and looks at nothing but bytes,
// logs and metrics. It has tests only:
//
//   - one suite for every kind of listener in front of every kind of backend,
//   - the desync grid: hostile bytes through the proxy to other servers, none
//     of which may see a request that the proxy has not counted,
//   - h2spec, beside Go's own HTTP/2 server,
//   - hostile and clumsy inputs with the answers that docs/conformance.md
//     promises,
//   - services that are killed, hang, crawl and break off under load.
//
// What does not hold is listed, with the reason, in expected_test.go; a case
// that is listed there and holds is a failure as well, so that the list is
// never longer than the truth.
//
// Start at start in proxy_test.go, the one place that knows how a proxy is
// started.
package conformance
