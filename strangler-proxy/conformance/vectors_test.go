package conformance

import (
	"fmt"
	"strings"
)

// What vectors are made of. A request below smuggled must never be seen by
// anybody; one below next is a request of its own, as it should be.
const (
	post     = "POST {}/first HTTP/1.1\r\nHost: shop\r\n"
	get      = "GET {}/first HTTP/1.1\r\nHost: shop\r\n"
	chunked  = "Transfer-Encoding: chunked\r\n"
	smuggled = "GET {}/smuggled HTTP/1.1\r\nHost: shop\r\n\r\n"
	next     = "GET {}/next HTTP/1.1\r\nHost: shop\r\n\r\n"
	lastOne  = "0\r\n\r\n"
)

// room stands for the path that {} becomes.
const room = "/v000"

// expand puts a vector's own path in.
func expand(text string, number int) string {
	return strings.ReplaceAll(text, "{}", fmt.Sprintf("/v%03d", number))
}

// sized is a body behind its length.
func sized(body string) string {
	return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(strings.ReplaceAll(body, "{}", room)), body)
}

// chunk is a piece of a chunked body.
func chunk(body string) string {
	return fmt.Sprintf("%x\r\n%s\r\n", len(strings.ReplaceAll(body, "{}", room)), body)
}

// vectors are what the grid sends over HTTP/1.1.
var vectors = slicesOf(encodings, lengths, pieces, lines, hosts, manners)

func slicesOf(all ...[]vector) []vector {
	var one []vector
	for _, part := range all {
		one = append(one, part...)
	}
	return one
}

// encodings disagree about Transfer-Encoding.
var encodings = []vector{
	{"length, then encoding", post + "Content-Length: 6\r\n" + chunked + "\r\n" + lastOne + "G" + smuggled, "400"},
	{"encoding, then length", post + chunked + "Content-Length: 4\r\n\r\n" + chunk(smuggled) + lastOne, "400"},
	{"encoding and a length of nothing", post + chunked + "Content-Length: 0\r\n\r\n" + lastOne + smuggled, "400"},
	{"encoding and a length in lower case", post + chunked + "content-length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"blank before the colon", post + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"tab before the colon", post + "Transfer-Encoding\t: chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"tab behind the colon", post + "Transfer-Encoding:\tchunked\r\n\r\n" + lastOne + next, "+ +"},
	{"nothing behind the colon", post + "Transfer-Encoding:chunked\r\n\r\n" + lastOne + next, "+ +"},
	{"in capitals", post + "TRANSFER-ENCODING: CHUNKED\r\n\r\n" + lastOne + next, "+ +"},
	{"unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n" + lastOne + smuggled, "501"},
	{"unknown coding beside a length", post + "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n" + lastOne + smuggled, "400"},
	{"identity", post + "Transfer-Encoding: identity\r\n\r\n" + smuggled, "501"},
	{"chunked, then identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n" + lastOne + smuggled, "400"},
	{"gzip, then chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + lastOne + smuggled, "400"},
	{"twice in one field", post + "Transfer-Encoding: chunked, chunked\r\n\r\n" + lastOne + smuggled, "400"},
	{"twice in two fields", post + chunked + chunked + "\r\n" + lastOne + smuggled, "400"},
	{"chunked, and identity in another field", post + chunked + "Transfer-Encoding: identity\r\n\r\n" + lastOne + smuggled, "400"},
	{"identity, and chunked in another field", post + "Transfer-encoding: identity\r\n" + chunked + "\r\n" + lastOne + smuggled, "501"},
	{"an empty one", post + "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"a leading comma", post + "Transfer-Encoding: ,chunked\r\n\r\n" + lastOne + smuggled, "400"},
	{"a parameter", post + "Transfer-Encoding: chunked;a=b\r\n\r\n" + lastOne + smuggled, "501"},
	{"quoted", post + "Transfer-Encoding: \"chunked\"\r\n\r\n" + lastOne + smuggled, "501"},
	{"folded before its value", post + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"folded into another field", post + "X-Fold: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"a blank before the first field", "POST {}/first HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: shop\r\n\r\n" + lastOne + smuggled, "400"},
	{"behind a bare line feed", post + "X-Bare: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"behind a bare carriage return", post + "X-Bare: a\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"vertical tab before the value", post + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"form feed behind the value", post + "Transfer-Encoding: chunked\x0c\r\n\r\n" + lastOne + smuggled, "400"},
	{"NUL behind the value", post + "Transfer-Encoding: chunked\x00\r\n\r\n" + lastOne + smuggled, "400"},
	{"NUL in the name", post + "Transfer\x00-Encoding: chunked\r\n\r\n" + lastOne + smuggled, "400"},
	{"a byte beyond ASCII before the colon", post + "Transfer-Encoding\xa0: chunked\r\nContent-Length: 5\r\n\r\n" + lastOne + smuggled, "400"},
	{"a byte beyond ASCII before the value", post + "Transfer-Encoding: \xa0chunked\r\n\r\n" + lastOne + smuggled, "501"},
	{"an underscore in the name", post + "Transfer_Encoding: chunked\r\n" + sized(lastOne) + next, "+ +"},
	{"in HTTP/1.0", "POST {}/first HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n" + chunked + "\r\n" + lastOne + smuggled, "400"},
	{"named by Connection", post + "Connection: transfer-encoding\r\n" + chunked + "\r\n" + lastOne + smuggled, "400"},
}

// lengths disagree about Content-Length.
var lengths = []vector{
	{"a body that looks like a request", post + sized(smuggled) + next, "+ +"},
	{"a body of GET that looks like a request", get + sized(smuggled) + next, "+ +"},
	{"a chunked body of GET that looks like a request", get + chunked + "\r\n" + chunk(smuggled) + lastOne + next, "+ +"},
	{"a body of DELETE that looks like a request", "DELETE {}/first HTTP/1.1\r\nHost: shop\r\n" + sized(smuggled) + next, "+ +"},
	{"no length, and what follows is a request", post + "\r\n" + next, "+ +"},
	{"the same length twice", post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + smuggled, "400"},
	{"two lengths", post + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + smuggled, "400"},
	{"a list of lengths", post + "Content-Length: 5, 5\r\n\r\nhello" + smuggled, "400"},
	{"a sign", post + "Content-Length: +5\r\n\r\nhello" + smuggled, "400"},
	{"a negative length", post + "Content-Length: -5\r\n\r\n" + smuggled, "400"},
	{"blanks within", post + "Content-Length: 5 5\r\n\r\nhello" + smuggled, "400"},
	{"hexadecimal", post + "Content-Length: 0x5\r\n\r\nhello" + smuggled, "400"},
	{"an exponent", post + "Content-Length: 5e0\r\n\r\nhello" + smuggled, "400"},
	{"a vertical tab behind it", post + "Content-Length: 5\x0b\r\n\r\nhello" + smuggled, "400"},
	{"beyond 64 bits", post + "Content-Length: 18446744073709551621\r\n\r\nhello" + smuggled, "400"},
	{"beyond 63 bits", post + "Content-Length: 9223372036854775813\r\n\r\nhello" + smuggled, "400"},
	{"beyond 32 bits", post + "Content-Length: 4294967301\r\n\r\nhello" + smuggled, "+?"},
	{"nothing at all", post + "Content-Length:\r\n\r\n" + smuggled, "400"},
	{"a blank before its colon", post + "Content-Length : 5\r\n\r\nhello" + smuggled, "400"},
	{"folded before its value", post + "Content-Length:\r\n 5\r\n\r\nhello" + smuggled, "400"},
	{"a leading zero", post + "Content-Length: 005\r\n\r\nhello" + next, "+ +"},
	{"another name beside it", post + "Content_Length: 100\r\n" + sized("hello") + next, "+ +"},
	{"named by Connection", post + "Connection: close, content-length\r\n" + sized(smuggled), "400"},
	{"shorter than announced", post + "Content-Length: 100\r\n\r\nhello", "+?"},
}

// pieces disagree about chunks.
var pieces = []vector{
	{"a chunk that looks like a request", post + chunked + "\r\n" + chunk(smuggled) + lastOne + next, "+ +"},
	{"a size with a sign", post + chunked + "\r\n+5\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a negative size", post + chunked + "\r\n-1\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a size with 0x", post + chunked + "\r\n0x5\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a blank behind the size", post + chunked + "\r\n5 \r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a blank before the size", post + chunked + "\r\n 5\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a size beyond 64 bits", post + chunked + "\r\n10000000000000005\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"no size", post + chunked + "\r\n\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"leading zeros", post + chunked + "\r\n0000005\r\nhello\r\n" + lastOne + next, "+ +"},
	{"a bare line feed behind the size", post + chunked + "\r\n5\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a bare line feed in an extension", post + chunked + "\r\n5;a\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a bare carriage return in an extension", post + chunked + "\r\n5;a\rb\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"a line feed in a quoted extension", post + chunked + "\r\n5;a=\"\n\"\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"an extension that hides a request", post + chunked + "\r\n5;\n" + smuggled + lastOne, "+? 400"},
	{"a long extension", post + chunked + "\r\n5;" + strings.Repeat("a", 300) + "\r\nhello\r\n" + lastOne + smuggled, "+? 400"},
	{"an extension that does no harm", post + chunked + "\r\n5;a=\"b\"\r\nhello\r\n" + lastOne + next, "+ +"},
	{"a chunk longer than its size", post + chunked + "\r\n5\r\nhello!\r\n" + lastOne + smuggled, "+? 400"},
	{"a chunk that ends with a bare line feed", post + chunked + "\r\n5\r\nhello\n" + lastOne + smuggled, "+? 400"},
	{"bare line feeds only", post + chunked + "\r\n5\nhello\n0\n\n" + smuggled, "+? 400"},
	{"a request in place of trailers", post + chunked + "\r\n5\r\nhello\r\n0\r\n" + smuggled, "+? 400"},
	{"trailers that frame", post + chunked + "\r\n0\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n" + next, "+ +"},
	{"a folded trailer", post + chunked + "\r\n0\r\nX: a\r\n b\r\n\r\n" + smuggled, "+? 400"},
	{"a bare line feed behind a trailer", post + chunked + "\r\n0\r\nX: a\n\r\n" + smuggled, "+? 400"},
	{"a second end", post + chunked + "\r\n" + lastOne + lastOne + smuggled, "+ 400"},
	{"an end without its empty line", post + chunked + "\r\n5\r\nhello\r\n0\r\n", "+?"},
}
