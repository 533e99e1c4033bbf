// Package match is the rule language of contracts: which values of a request,
// an answer or a message may differ from the example, and within which bounds.
//
// The semantics are Pact's (specification versions 1 to 4), plus matchers of our
// own: [Unordered], [Tolerance], [Moment], [Absent], [Nullable], [OneOfFormats]
// and [ID].
// There is deliberately no matcher that ignores a value: a rule narrows what
// may differ, it never looks away.
//
// Rules are read from the JSON of a Pact file by [Rules.UnmarshalJSON], or
// built with [Rules.WithBody] and its siblings. The zero Rules has no rules:
// everything must be equal. Numbers are expected as json.Number, so that 1 and
// 1.0 can be told apart and large ids stay exact. A walker through a document
// finds the rule of each value with a [Cursor].
//
// An expression must match the whole value, as the specification's own cases
// ask for and as its implementations in Rust and Java do, whatever some pages
// say of a search.
//
// The package does no I/O.
package match
