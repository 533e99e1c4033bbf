package match

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Sniff guesses a media type from content: the magic bytes of common formats,
// else JSON, HTML, XML, text or application/octet-stream.
func Sniff(content []byte) string {
	head := string(content[:min(len(content), 16)])
	for _, f := range magic {
		if len(head) >= f.at && strings.HasPrefix(head[f.at:], f.prefix) {
			return f.media
		}
	}
	text := strings.TrimSpace(string(content))
	lower := strings.ToLower(text[:min(len(text), 64)])
	switch {
	case json.Valid(content):
		return "application/json"
	case strings.HasPrefix(lower, "<!doctype html"), strings.HasPrefix(lower, "<html"):
		return "text/html"
	case strings.HasPrefix(lower, "<?xml"):
		return "application/xml"
	case utf8.Valid(content) && !strings.ContainsRune(text, 0):
		return "text/plain"
	}
	return "application/octet-stream"
}

// magic are the bytes that formats begin with, or have a little further on.
var magic = []struct {
	at            int
	prefix, media string
}{
	{0, "\x89PNG\r\n\x1a\n", "image/png"}, {0, "\xff\xd8\xff", "image/jpeg"}, {0, "GIF8", "image/gif"},
	{8, "WEBP", "image/webp"}, {0, "II*\x00", "image/tiff"}, {0, "MM\x00*", "image/tiff"}, {0, "\x00\x00\x01\x00", "image/x-icon"},
	{4, "ftyp", "video/mp4"}, {0, "\x1aE\xdf\xa3", "video/webm"}, {0, "OggS", "audio/ogg"}, {0, "ID3", "audio/mpeg"}, {8, "WAVE", "audio/wav"},
	{0, "wOF2", "font/woff2"}, {0, "wOFF", "font/woff"}, {0, "\x00asm", "application/wasm"},
	{0, "%PDF-", "application/pdf"}, {0, "PK\x03\x04", "application/zip"}, {0, "\x1f\x8b", "application/gzip"},
	{0, "\x28\xb5\x2f\xfd", "application/zstd"}, {0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
}

// sameMedia compares media types without parameters. Text subtypes, such as
// CSV, have no magic bytes and count as plain text; what is packed as a zip
// counts as one.
func sameMedia(got, want string) bool {
	want, _, _ = strings.Cut(strings.ToLower(want), ";")
	want = strings.TrimSpace(want)
	switch got {
	case want:
		return true
	case "text/plain":
		return strings.HasPrefix(want, "text/")
	case "application/xml":
		return want == "text/xml" || strings.HasSuffix(want, "+xml")
	case "application/json":
		return strings.HasSuffix(want, "+json")
	case "application/zip":
		return strings.HasSuffix(want, "+zip") || strings.HasPrefix(want, "application/vnd.openxmlformats-officedocument") ||
			strings.HasPrefix(want, "application/vnd.oasis.opendocument") || want == "application/java-archive"
	case "application/gzip":
		return want == "application/x-gzip"
	}
	return false
}
