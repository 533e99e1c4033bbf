package route_test

import (
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

func TestCanonicalBringsEverySpellingIntoOneForm(t *testing.T) {
	for path, want := range map[string]string{
		"/":                         "/",
		"/invoices/7":               "/invoices/7",
		"/%69nvoices/7":             "/invoices/7",
		"/invoices/%37":             "/invoices/7",
		"/%7euser/%2D%5F%2e":        "/~user/-_.",
		"/a%2fb":                    "/a%2Fb",
		"/a%2Fb":                    "/a%2Fb",
		"/caf%c3%a9":                "/caf%C3%A9",
		"/café":                     "/caf%C3%A9",
		"/a%20b":                    "/a%20b",
		"/%2569nvoices":             "/%2569nvoices", // decoded once, never twice
		"/%25%36%39":                "/%2569",
		"/a/./b":                    "/a/b",
		"/a/../b":                   "/b",
		"/a/%2e%2E/b":               "/b",
		"/a/.%2e/b":                 "/b",
		"/a/%2e/b":                  "/a/b",
		"/a/b/..":                   "/a/",
		"/a/b/.":                    "/a/b/",
		"/..":                       "/",
		"/../../a":                  "/a", // nothing is above the root
		"/%2e%2e/invoices/7":        "/invoices/7",
		"/a/..b/c..":                "/a/..b/c..",
		"/.well-known/x":            "/.well-known/x",
		"/...":                      "/...",
		"//invoices":                "//invoices",
		"/a//b/":                    "/a//b/",
		"/a//../b":                  "/a/b",
		"/a;x=1/b,c":                "/a;x=1/b,c",
		"/a%3bx":                    "/a%3Bx",
		"/!$&'()*+,;=:@":            "/!$&'()*+,;=:@",
		"/{a}|b^c`\"<>[1]":          "/%7Ba%7D%7Cb%5Ec%60%22%3C%3E%5B1%5D",
		"/%7Ba%7D":                  "/%7Ba%7D",
		"/a%3Fb%23c":                "/a%3Fb%23c",
		strings.Repeat("/a", 4<<10): strings.Repeat("/a", 4<<10),
	} {
		got, err := route.Canonical(path)
		if err != nil || got != want {
			t.Errorf("Canonical(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestCanonicalRefusesWhatStacksReadDifferently(t *testing.T) {
	for path, want := range map[string]string{
		"":                                       "does not begin with /",
		"invoices":                               "does not begin with /",
		"*":                                      "does not begin with /",
		"/a%00":                                  "%00",
		"/a\x00b":                                "0x00",
		"/a%0d%0aX":                              "%0D",
		"/a%1F":                                  "%1F",
		"/a%7f":                                  "%7F",
		"/a\x7f":                                 "0x7f",
		"/a\tb":                                  "0x09",
		"/a b":                                   "0x20",
		`/a\..\b`:                                "0x5c",
		"/a%5cb":                                 "%5C",
		"/a%5Cb":                                 "%5C",
		"/a#b":                                   "0x23",
		"/a?b":                                   "0x3f",
		"/a%":                                    "broken escape",
		"/a%2":                                   "broken escape",
		"/a%zz":                                  "broken escape",
		"/a%2g/b":                                "broken escape",
		"/%u0069":                                "broken escape",
		"/" + strings.Repeat("a", route.MaxPath): "longer than 8192 bytes",
	} {
		got, err := route.Canonical(path)
		if err == nil {
			t.Errorf("Canonical(%.40q) = %q, want an error about %q", path, got, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("Canonical(%.40q): %v; want it to say %q", path, err, want)
		}
	}
}
