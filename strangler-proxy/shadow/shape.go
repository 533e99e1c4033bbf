package shadow

import (
	"encoding/json"
	"hash"
	"hash/fnv"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/strangler-proxy/proxy"
)

// longestShaped bounds how much of a body is taken apart for its shape.
const longestShaped = 64 << 10

// shapeOf hashes what kind of a comparison this is: the names of the query's
// parameters, the answer's status and media type, and of JSON which members
// there are and of which kind. Comparisons of one shape prove less each time.
func shapeOf(x *proxy.Exchange) uint64 {
	h := fnv.New64a()
	io.WriteString(h, x.Method)
	query, _ := url.ParseQuery(x.Query) // what does not parse has no names
	for _, name := range slices.Sorted(maps.Keys(query)) {
		io.WriteString(h, "?"+name)
	}
	media, _, _ := mime.ParseMediaType(x.Answer.Get("Content-Type"))
	io.WriteString(h, " "+http.StatusText(x.Status)+" "+media)
	var document any
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if isJSON && len(x.AnswerBody) <= longestShaped && json.Unmarshal(x.AnswerBody, &document) == nil {
		skeleton(h, document)
	}
	return h.Sum64()
}

// skeleton writes a document without its values; an array is like its first
// element.
func skeleton(h hash.Hash64, v any) {
	switch v := v.(type) {
	case map[string]any:
		io.WriteString(h, "{")
		for _, name := range slices.Sorted(maps.Keys(v)) {
			io.WriteString(h, name+":")
			skeleton(h, v[name])
		}
		io.WriteString(h, "}")
	case []any:
		io.WriteString(h, "[")
		if len(v) > 0 {
			skeleton(h, v[0])
		}
		io.WriteString(h, "]")
	case string:
		io.WriteString(h, "s")
	case float64:
		io.WriteString(h, "n")
	case bool:
		io.WriteString(h, "b")
	case nil:
		io.WriteString(h, "0")
	}
}
