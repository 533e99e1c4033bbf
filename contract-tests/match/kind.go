package match

import (
	"slices"
	"strings"
)

// Kind names a matcher as Pact files do.
type Kind string

// The matchers of Pact.
const (
	Equality      Kind = "equality"
	Type          Kind = "type"
	Regex         Kind = "regex"
	Include       Kind = "include"
	Integer       Kind = "integer"
	Decimal       Kind = "decimal"
	Number        Kind = "number"
	Boolean       Kind = "boolean"
	Null          Kind = "null"
	Date          Kind = "date"
	Time          Kind = "time"
	DateTime      Kind = "datetime"
	Values        Kind = "values"
	EachKey       Kind = "eachKey"
	EachValue     Kind = "eachValue"
	ArrayContains Kind = "arrayContains"
	NotEmpty      Kind = "notEmpty"
	StatusCode    Kind = "statusCode"
	ContentType   Kind = "contentType"
	SemVer        Kind = "semver"
)

// The matchers of ours, which Pact tools do not know.
const (
	Unordered    Kind = "unordered"    // an array's elements in any order
	Tolerance    Kind = "tolerance"    // a number within ± Within of the example
	Moment       Kind = "moment"       // a moment within ± Within seconds of the example's
	Absent       Kind = "absent"       // the member must not be there
	Nullable     Kind = "nullable"     // null, or the example's type
	OneOfFormats Kind = "oneOfFormats" // a text in one of some formats
	ID           Kind = "id"           // an identifier that each side may choose, but keeps: see compare.Bijection
)

// Kinds lists every matcher there is, for error messages.
func Kinds() []Kind {
	return []Kind{Equality, Type, Regex, Include, Integer, Decimal, Number, Boolean, Null,
		Date, Time, DateTime, Values, EachKey, EachValue, ArrayContains, NotEmpty,
		StatusCode, ContentType, SemVer, Unordered, Tolerance, Moment, Absent, Nullable, OneOfFormats, ID}
}

// Ours reports whether the matcher is unknown to other Pact tools.
func (k Kind) Ours() bool {
	return slices.Contains([]Kind{Unordered, Tolerance, Moment, Absent, Nullable, OneOfFormats, ID}, k)
}

// others are what the versions and tools of Pact call the same matchers.
var others = map[string]Kind{
	"timestamp": DateTime, "real": Decimal, "content-type": ContentType, "array-contains": ArrayContains,
	"status-code": StatusCode, "not-empty": NotEmpty, "each-key": EachKey, "each-value": EachValue,
	"date-time": DateTime, "ignore-order": Unordered,
}

// kindNamed resolves a name that a file uses.
func kindNamed(name string) Kind {
	if k, ok := others[strings.ToLower(name)]; ok {
		return k
	}
	return Kind(name)
}

func joinKinds() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// cascades reports whether the matcher also holds for what lies below its
// path.
func (k Kind) cascades() bool {
	switch k {
	case Values, EachKey, EachValue, ArrayContains, Unordered, Absent, Nullable, NotEmpty, ID, OneOfFormats:
		return false
	}
	return true
}

// container reports whether the matcher means something for an object or an
// array as a whole.
func (k Kind) container() bool {
	switch k {
	case Type, Equality, Values, EachKey, EachValue, ArrayContains, Unordered, NotEmpty, Nullable, Tolerance:
		return true
	}
	return false
}
