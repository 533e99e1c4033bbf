package proxy

import (
	"net/url"
	"testing"
)

func TestABackendsNamesBecomeWhatTheClientAskedFor(t *testing.T) {
	var own []*url.URL
	for _, text := range []string{"http://10.0.0.1:9000", "http://shop.internal", "https://secure.internal"} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, u)
	}
	for _, row := range []struct{ name, value, want string }{
		{"Location", "http://10.0.0.1:9000/a?b=http://10.0.0.1:9000#c", "https://shop.example/a?b=http://10.0.0.1:9000#c"},
		{"location", "http://shop.internal/a", "https://shop.example/a"},
		{"Location", "http://SHOP.internal:80/a", "https://shop.example/a"},
		{"Location", "https://secure.internal:443", "https://shop.example"},
		{"Location", "//shop.internal/a", "https://shop.example/a"},
		{"Content-Location", "http://shop.internal/a", "https://shop.example/a"},
		{"Location", "/a//b;c?d#e", "/a//b;c?d#e"},
		{"Location", "a/b", "a/b"},
		{"Location", "", ""},
		{"Location", "http://other.example/a", "http://other.example/a"},
		{"Location", "http://shop.internal.other.example/", "http://shop.internal.other.example/"},
		{"Location", "http://shop.internal:81/a", "http://shop.internal:81/a"},
		{"Location", "https://shop.internal/a", "https://shop.internal/a"}, // another port
		{"Location", "http://[::1", "http://[::1"},
		{"Set-Cookie", "a=b; Domain=shop.internal; Path=/; Secure", "a=b; Path=/; Secure"},
		{"set-cookie", "a=b;domain=.SHOP.internal", "a=b"},
		{"Set-Cookie", "a=b; Domain=10.0.0.1", "a=b"},
		{"Set-Cookie", "a=\"x; Domain=shop.example\"; Domain=example", "a=\"x; Domain=shop.example\"; Domain=example"},
		{"Set-Cookie", "Domain=shop.internal; Path=/", "Domain=shop.internal; Path=/"}, // the cookie's own name
		{"Link", "<http://shop.internal/a>", "<http://shop.internal/a>"},
	} {
		if got := rewriteField(row.name, row.value, own, "https", "shop.example"); got != row.want {
			t.Errorf("%s: %s became %q, want %q", row.name, row.value, got, row.want)
		}
	}
}
