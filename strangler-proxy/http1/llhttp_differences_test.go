package http1_test

// llhttpDifference is cases that we read in another way than llhttp does, all
// for one reason. ours is why we refuse them: empty where we do not.
type llhttpDifference struct {
	why, ours string
	cases     []string
}

// llhttpDifferences lists them all: the cases that are not here are read alike.
var llhttpDifferences = []llhttpDifference{
	{"llhttp is told to be lenient: a folded field is refused", "folded-field", []string{
		"request/connection: Multiple tokens with folding",
		"request/connection: Multiple tokens with folding, LWS, and CRLF",
		"request/invalid: Spaces before headers (lenient)",
		"request/sample: Line folding in header value with CRLF",
		"request/sample: X-SSL-Nonsense",
	}},
	{"llhttp is told to be lenient: a blank before the colon is refused", "field-name", []string{
		"request/connection: Invalid whitespace token with `Connection` header field (lenient)",
		"request/content-length: Invalid whitespace token with `Content-Length` header field (lenient)",
	}},
	{"llhttp is told to be lenient: a carriage return ends no head", "field-name", []string{
		"request/invalid: Headers separated by dummy characters (lenient)",
	}},
	{"llhttp is told to be lenient: a carriage return ends no line", "bare-carriage-return", []string{
		"request/lenient-headers: Empty headers separated by CR (lenient)",
	}},
	{"llhttp is told to be lenient: a line feed alone ends no line", "bare-line-feed", []string{
		"request/invalid: Only LFs present (lenient)",
	}},
	{"llhttp is told to be lenient: control characters are refused", "field-value", []string{
		"request/lenient-header-value-relaxed: Control char in header value (relaxed)",
		"request/lenient-headers: Header value (lenient)",
		"request/lenient-headers: Second request header value (lenient)",
	}},
	{"llhttp is told to be lenient: nothing but HTTP/1.0 and 1.1 is spoken", "version", []string{
		"request/lenient-version: Invalid HTTP version (lenient)",
	}},
	{"llhttp is told to be lenient: two lengths are none", "length-and-encoding", []string{
		"request/content-length: No error on simultaneous `Content-Length` and `Transfer-Encoding: identity` (lenient)",
	}},
	{"llhttp is told to be lenient: a chunk's line ends in both characters", "chunk-line", []string{
		"request/transfer-encoding: Chunk header not terminated by CRLF (lenient)",
	}},
	{"llhttp is told to be lenient: a chunk is followed by a line end", "chunk-end", []string{
		"request/transfer-encoding: Chunk data not terminated by CRLF (lenient)",
	}},
	{"llhttp is told to be lenient: a chunk's size is followed by no blank", "chunk-size", []string{
		"request/transfer-encoding: Space after chunk header (lenient)",
	}},
	{"llhttp is told to be lenient: to us the head has not ended", "", []string{
		"request/content-length: Missing CRLF-CRLF before body (lenient)",
	}},
	{"llhttp is told to be lenient: to us the connection has ended before the second request", "", []string{
		"request/connection: Resetting flags when keep-alive is off (1.0, lenient)",
	}},
	{"llhttp is told that there is no body, and we read what the length says", "", []string{
		"request/content-length: Content-Length reset when no body is received",
	}},
	{"llhttp knows a list of methods; which of them there are is the owner's business", "", []string{
		"request/invalid: HTTP protocol and ANNOUNCE method",
		"request/invalid: Invalid method",
	}},
	{"a proxy of this kind makes no tunnels", "connect", []string{
		"request/method: CONNECT request",
		"request/method: CONNECT request with CAPS",
		"request/method: CONNECT with body",
		"request/uri: Underscore in hostname",
	}},
	{"* is a target of OPTIONS alone (RFC 9112, 3.2.4)", "target", []string{
		"request/method: M-SEARCH request",
		"request/method: PRI request HTTP2",
	}},
	{"a user and password in a target are taken for an attempt to mislead (RFC 9110, 4.2.4)", "target", []string{
		"request/uri: `host:port` and basic auth",
	}},
	{"a fragment is no part of a target (RFC 9112, 3.2), and some servers cut it off where others pass it on", "target", []string{
		"request/uri: Fragment in URI",
		"request/transfer-encoding: POST with `Transfer-Encoding` and `Content-Length` (lenient)",
		"request/transfer-encoding: POST with `chunked` before other transfer-coding (lenient)",
		"request/transfer-encoding: POST with `chunked` and duplicate transfer-encoding (lenient)",
		"request/transfer-encoding: POST with `chunked` as last transfer-encoding",
		"request/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)",
	}},
	{"neither RTSP nor ICE nor HTTP/0.9 is spoken", "request-line", []string{
		"request/method: SOURCE request with ICE",
		"request/method: OPTIONS request with RTSP",
		"request/method: ANNOUNCE request with RTSP",
		"request/sample: No HTTP version",
	}},
	{"fields that come too late to be looked at are left out", "", []string{
		"request/transfer-encoding: Trailing headers",
	}},
	{"the length is read alike, and passed on without zeros in front, which some would take for an octal number's", "", []string{
		"request/content-length: `Content-Length` with zeroes",
		"request/content-length: `Content-Length` with follow-up headers",
	}},
	{"answers may have line ends without a carriage return, as browsers read them", "", []string{
		"response/invalid: Only LFs present and no body",
		"response/invalid: Only LFs present",
		"response/sample: No carriage ret",
	}},
	{"llhttp is told to be lenient, or knows other protocols: backends speak HTTP/1.0 or 1.1", "its first line is no status line", []string{
		"response/invalid: Bare CR after response line (lenient)",
		"response/lenient-version: Invalid HTTP version (lenient)",
		"response/sample: RTSP response",
		"response/sample: ICE response",
		"response/sample: HTTP version 0.9",
	}},
	{"llhttp reads answers in unknown codings to the connection's end; their client could not read them", "its Transfer-Encoding is not chunked", []string{
		"response/transfer-encoding: `chunked` before other transfer-encoding",
		"response/transfer-encoding: multiple transfer-encoding where chunked is not the last one",
		"response/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding",
		"response/transfer-encoding: Invalid OBS fold after chunked value",
	}},
}
