// Package crashes holds tests alone: a move between two PostgreSQL servers of
// its own, under writers, while the engine is killed, a server is killed, or
// the connections between them are cut, at every named point of every
// operation.
//
//	go test ./contract-tests/crashes                a sample that is new each time
//	go test ./contract-tests/crashes -seed 42       that sample again
//	STRANGLER_TEST_SEED=42 go test ./...            the same, beside other packages
//	go test ./contract-tests/crashes -crash.all     every fault at every point
//
// The engine is a process of its own (engine_test.go), and reaches the servers
// through links that can be cut (stage_test.go). Clients write through a gate
// (gate_test.go), which stands for the proxies and outlives every engine, and
// know at any time what must be stored (crew_test.go, operation_test.go); a
// stranger writes past the gate (stranger_test.go). What is to happen is drawn
// beforehand (fate_test.go). What has to hold is looked at after each fault
// (life_test.go) and, where it must hold at every moment, all the time
// (watch_test.go). A life is given up when nothing gets further (progress_test.go).
package crashes
