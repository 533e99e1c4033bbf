package contract

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// fileBody is a body of version 4. Encoded is false, or names how Content
// encodes the bytes.
type fileBody struct {
	ContentType string          `json:"contentType,omitempty"`
	Encoded     any             `json:"encoded"`
	Content     json.RawMessage `json:"content"`
}

// readBody returns nil if the file has no body, and an empty slice if it has
// an empty one or null; and the media type, as far as the body itself tells.
func readBody(raw json.RawMessage, h headers, version4 bool) (body []byte, media string, err error) {
	if raw == nil {
		return nil, "", nil
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return []byte{}, "", nil
	}
	if version4 {
		var f fileBody
		if err := json.Unmarshal(raw, &f); err != nil {
			return nil, "", fmt.Errorf("want an object with content, contentType and encoded: %w", err)
		}
		media = f.ContentType
		body, err = f.bytes(h)
	} else {
		body, media = older(raw, h)
	}
	if len(body) > MaxBody {
		return nil, "", fmt.Errorf("%d bytes (accepted: up to %d MiB)", len(body), MaxBody>>20)
	}
	return body, media, err
}

// older reads a body of versions up to 3: JSON, or a text. Under a content type
// of JSON, a text may itself be JSON, or else is a JSON string.
func older(raw json.RawMessage, h headers) (body []byte, media string) {
	var text string
	switch err := json.Unmarshal(raw, &text); {
	case err != nil:
		return compact(raw), "application/json"
	case text == "" || !isJSON(contentType(h)) || json.Valid([]byte(text)):
		return []byte(text), ""
	}
	return compact(raw), ""
}

func (b fileBody) bytes(h headers) ([]byte, error) {
	if len(b.Content) == 0 || string(b.Content) == "null" {
		return []byte{}, nil
	}
	var text string
	isText := json.Unmarshal(b.Content, &text) == nil
	switch encoding := b.Encoded; {
	case encoding == nil || encoding == false || encoding == "":
		if isText && !isJSON(cmp.Or(b.ContentType, contentType(h))) {
			return []byte(text), nil
		}
		return compact(b.Content), nil
	case !isText:
		return nil, fmt.Errorf("content must be a text if encoded is %v", encoding)
	case encoding == true || encoding == "base64":
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("content is not base64 as encoded says: %w", err)
		}
		return decoded, nil
	case encoding == "JSON" || encoding == "json":
		return []byte(text), nil
	}
	return nil, fmt.Errorf("encoded is %v (accepted: false, base64, JSON)", b.Encoded)
}

// writeBody picks the most readable form that gives the same bytes, or for
// JSON the same document, when read.
func writeBody(body []byte, h headers) json.RawMessage {
	if body == nil {
		return nil
	}
	f := fileBody{ContentType: contentType(h), Encoded: false}
	trimmed := string(bytes.TrimSpace(body))
	switch {
	case len(body) == 0:
		f.Content = json.RawMessage("null")
	case isJSON(f.ContentType) && trimmed != "null" && json.Valid(body):
		f.Content = compact(body)
	case !utf8.Valid(body):
		f.Encoded = "base64"
		f.Content = quote(base64.StdEncoding.EncodeToString(body))
	case isJSON(f.ContentType):
		// Not JSON after all, or the word null, which would read as empty.
		f.Encoded = "JSON"
		f.Content = quote(string(body))
	default:
		f.Content = quote(string(body))
	}
	raw, err := marshal(f)
	if err != nil {
		return nil
	}
	return raw
}

func quote(text string) json.RawMessage {
	raw, err := marshal(text)
	if err != nil {
		return nil
	}
	return raw
}

func contentType(h map[string][]string) string {
	for name, values := range h {
		if strings.EqualFold(name, "Content-Type") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func isJSON(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	return media == "application/json" || strings.HasSuffix(media, "+json")
}
