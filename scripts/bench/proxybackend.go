package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
)

// servedPath asks a backend how many requests it has answered.
const servedPath = "/-/served"

// serveBackend answers every request with the same bytes, which is as little as
// a backend can do. It reads uploads to their end first.
func serveBackend(ctx context.Context, s serving, l net.Listener) error {
	canned := cannedAnswer(s.Answer)
	asked := []byte("GET " + servedPath + " ")
	var served atomic.Int64
	return serveEach(ctx, l, func(c net.Conn) {
		w := newWire(c, wireBuffer)
		for {
			head, err := w.head()
			if err != nil {
				return // the proxy has closed the connection
			}
			answer := canned
			length, known := contentLength(head)
			switch {
			case bytes.HasPrefix(head, asked):
				text := fmt.Sprint(served.Load())
				answer = []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
			case !known && bytes.HasPrefix(head, []byte("POST ")):
				// A chunked body is not understood, and nothing after it would be.
				c.Write([]byte("HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
				return
			default:
				served.Add(1)
			}
			if w.body(length, nil) != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

// cannedAnswer is an ordinary answer whose body has so many bytes.
func cannedAnswer(bytes int) []byte {
	const begin, end = `{"id":7,"number":"2026-0007","note":"`, `"}`
	body := begin + strings.Repeat("x", max(0, bytes-len(begin)-len(end))) + end
	return []byte("HTTP/1.1 200 OK\r\n" +
		"Server: shop\r\n" +
		"Date: Mon, 02 Mar 2026 10:00:00 GMT\r\n" +
		"Content-Type: application/json; charset=utf-8\r\n" +
		"Cache-Control: private, no-cache\r\n" +
		"ETag: \"3f1c6a52\"\r\n" +
		"Vary: Accept, Accept-Language\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body)
}
