// Package engine runs moves: it performs what the pure state machine in
// package cutover decides, against two databases and the routes in front of
// them. It is the only owner of goroutines in the data half.
//
// Start at [Engine.Open], which takes a capability under the engine's care and
// finishes or undoes whatever an earlier process left half done; then
// [Engine.Prepare], [Engine.Copy], [Engine.Verify], [Engine.Rehearse],
// [Engine.Switch], [Engine.Cancel] and [Engine.Complete] in the order of the
// playbook.
//
// Who owns a capability is decided by the databases alone: the side with the
// higher epoch. The ledger records the intent of a switch before its first act
// and the outcome after its last; what a crash left in between is read from
// the databases, never guessed from the ledger.
package engine
