package shadow

import (
	"hash/fnv"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/strangler-proxy/proxy"
)

// longestShaped bounds how much of a body is taken apart for its shape.
const longestShaped = 64 << 10

// shapeOf hashes what kind of a comparison this is: the names of the query's
// parameters, the answer's status and media type, and of JSON which members
// there are and of which kind. Comparisons of one shape prove less each time.
func shapeOf(x *proxy.Exchange) uint64 {
	b := append(make([]byte, 0, 512), x.Method...)
	if x.Query != "" {
		query, _ := url.ParseQuery(x.Query) // what does not parse has no names
		for _, name := range slices.Sorted(maps.Keys(query)) {
			b = append(append(b, '?'), name...)
		}
	}
	media, _, _ := mime.ParseMediaType(x.Answer.Get("Content-Type"))
	b = append(append(append(append(b, ' '), http.StatusText(x.Status)...), ' '), media...)
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if isJSON && len(x.AnswerBody) <= longestShaped {
		b, _ = compare.AppendSkeleton(b, x.AnswerBody)
	}
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}
