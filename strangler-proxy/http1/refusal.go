package http1

// Refusal says why a request is not taken.
type Refusal struct {
	Status int    // to answer with
	Reason string // a short constant word, for counting
	Text   string // for the client
}

func (r *Refusal) Error() string { return r.Text }

// refusals are everything that is refused. Each is made once: refusing must
// cost less than attacking.
var (
	errBareCR        = &Refusal{400, "bare-carriage-return", "a carriage return stands without a line feed"}
	errBareLF        = &Refusal{400, "bare-line-feed", "a line ends without a carriage return"}
	errRequestLine   = &Refusal{400, "request-line", "the request line is not METHOD TARGET HTTP/1.1"}
	errMethod        = &Refusal{400, "method", "the method is not a token of at most 32 characters"}
	errConnect       = &Refusal{501, "connect", "CONNECT is for forward proxies, which this is not"}
	errVersion       = &Refusal{505, "version", "the version is neither HTTP/1.0 nor HTTP/1.1"}
	errTarget        = &Refusal{400, "target", "the target is neither a path nor an absolute URL of the host"}
	errTargetLong    = &Refusal{414, "target-too-long", "the target is longer than 8192 bytes"}
	errAuthority     = &Refusal{400, "authority-mismatch", "the target names another host than the Host field does"}
	errFold          = &Refusal{400, "folded-field", "a field is continued on a second line"}
	errName          = &Refusal{400, "field-name", "a field's name is not a token directly followed by a colon"}
	errValue         = &Refusal{400, "field-value", "a field's value has control characters"}
	errHeadLong      = &Refusal{431, "head-too-long", "the request's head is too long"}
	errFields        = &Refusal{431, "too-many-fields", "the request has too many fields"}
	errHostMissing   = &Refusal{400, "host-missing", "HTTP/1.1 needs a Host field"}
	errHosts         = &Refusal{400, "several-hosts", "there is more than one Host field"}
	errHost          = &Refusal{400, "host", "the Host field is not a host"}
	errLength        = &Refusal{400, "content-length", "Content-Length is not a number of bytes"}
	errLengths       = &Refusal{400, "several-content-lengths", "there is more than one Content-Length"}
	errLengthChunked = &Refusal{400, "length-and-encoding", "there are both Content-Length and Transfer-Encoding"}
	errEncoding      = &Refusal{400, "transfer-encoding", "Transfer-Encoding is not exactly one chunked"}
	errCoding        = &Refusal{501, "transfer-coding", "no transfer coding but chunked is known"}
	errOldEncoding   = &Refusal{400, "encoding-in-1.0", "HTTP/1.0 has no Transfer-Encoding"}
	errNominated     = &Refusal{400, "connection-nominates", "Connection names a field that is not about the connection"}
	errNominations   = &Refusal{400, "too-many-nominations", "Connection names more than 16 fields"}
	errExpect        = &Refusal{417, "expect", "nothing but 100-continue can be expected"}
	errUpgrades      = &Refusal{400, "several-upgrades", "there is more than one Upgrade field"}
	errChunkSize     = &Refusal{400, "chunk-size", "the size of a chunk is not a hexadecimal number of bytes"}
	errChunkLine     = &Refusal{400, "chunk-line", "a chunk's line is not ended by a carriage return and a line feed, or has control characters"}
	errChunkLong     = &Refusal{400, "chunk-line-too-long", "the line before a chunk is longer than 256 bytes"}
	errChunkEnd      = &Refusal{400, "chunk-end", "a chunk is not followed by a carriage return and a line feed"}
	errChunkOverhead = &Refusal{400, "chunk-overhead", "too much of the body is extensions of chunks"}
	errTrailers      = &Refusal{431, "trailers-too-long", "the trailers are too long or too many"}
)

// Refusals lists everything that is refused.
func Refusals() []Refusal {
	var list []Refusal
	for _, r := range []*Refusal{
		errBareCR, errBareLF, errRequestLine, errMethod, errConnect, errVersion, errTarget, errTargetLong, errAuthority, errFold, errName,
		errValue, errHeadLong, errFields, errHostMissing, errHosts, errHost, errLength, errLengths, errLengthChunked, errEncoding, errCoding,
		errOldEncoding, errNominated, errNominations, errExpect, errUpgrades, errChunkSize, errChunkLine, errChunkLong, errChunkEnd, errChunkOverhead, errTrailers,
	} {
		list = append(list, *r)
	}
	return list
}
