// Package match is the rule language of contracts: which values of an answer
// may differ from the example, and within which bounds.
//
// The semantics are Pact's (specification versions 2 to 4), plus a few
// matchers of our own: [Unordered], [Tolerance], [Moment], [Absent] and [Nullable].
// There is deliberately no matcher that ignores a value: a rule narrows what
// may differ, it never looks away.
//
// Rules are read from the JSON of a Pact file by [Rules.UnmarshalJSON], or
// built with [Rules.WithBody], [Rules.WithHeader] and [Rules.WithStatus]. The
// zero Rules has no rules: everything must be equal. Numbers are expected as
// json.Number, so that 1 and 1.0 can be told apart and large ids stay exact.
//
// The package does no I/O.
package match
