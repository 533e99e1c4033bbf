package proxy

import (
	"errors"
	"fmt"
	"strconv"

	"stranglerfig/strangler-proxy/http1"
)

// body is what is left of a message's body to be passed on.
type body struct {
	chunked bool
	chunks  http1.Chunks
	open    bool  // it ends when the connection does
	left    int64 // bytes, of a body whose length is known
	sent    int64
	limit   int64 // of sent; 0: none
	done    bool
}

// errTooLong is the error of a body that grew longer than a request's may be.
var errTooLong = errors.New("the body is too long")

func tooLong(limit int64) error {
	return fmt.Errorf("%w: at most %d bytes are taken", errTooLong, limit)
}

// append takes from in what belongs to the body, and appends it to out as
// HTTP/1.1 frames it, or bare. It returns how much of in was used.
func (s *body) append(out, in []byte, framed bool, wanted *capture) (_ []byte, used int, err error) {
	switch {
	case s.open:
		s.sent += int64(len(in))
		wanted.keep(in, false)
		if framed && len(in) > 0 {
			return appendChunk(out, in), len(in), nil
		}
		return append(out, in...), len(in), nil
	case !s.chunked:
		n := int(min(s.left, int64(len(in))))
		s.left -= int64(n)
		s.sent += int64(n)
		s.done = s.left == 0
		wanted.keep(in[:n], s.done)
		return append(out, in[:n]...), n, nil
	}
	for used < len(in) && !s.done {
		data, n, done, err := s.chunks.Next(in[used:])
		if err != nil {
			return out, used, err
		}
		used += n
		s.sent += int64(len(data))
		s.done = done
		if s.limit > 0 && s.sent > s.limit {
			return out, used, tooLong(s.limit)
		}
		wanted.keep(data, done)
		switch {
		case !framed:
			out = append(out, data...)
		case len(data) > 0:
			out = appendChunk(out, data)
		}
		if done && framed {
			out = appendLastChunk(out, s.chunks.Trailers())
		}
	}
	return out, used, nil
}

func appendChunk(out, data []byte) []byte {
	out = strconv.AppendInt(out, int64(len(data)), 16)
	out = append(out, "\r\n"...)
	out = append(out, data...)
	return append(out, "\r\n"...)
}

func appendLastChunk(out []byte, trailers []http1.Field) []byte {
	out = append(out, "0\r\n"...)
	for i := range trailers {
		out = appendField(out, trailers[i].Name, trailers[i].Value)
	}
	return append(out, "\r\n"...)
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, "\r\n"...)
}
