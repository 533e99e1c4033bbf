package proxy_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestABodyThatIsShorterThanItSaysIsTheClientsFault over HTTP/2, whose ends say
// where a body ends beside its length.
func TestABodyThatIsShorterThanItSaysIsTheClientsFault(t *testing.T) {
	w := newWorld(t)
	w.obey("POST /invoices=monolith")
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "shop"}, {":path", "/invoices"}, {"content-length", "9"}} {
		fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	conn.Write([]byte(http2.ClientPreface))
	frames := http2.NewFramer(conn, conn)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	frames.WriteSettings()
	frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true})
	frames.WriteData(1, true, []byte("abc"))
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if answer, ok := frame.(*http2.MetaHeadersFrame); ok {
			if status := answer.PseudoValue("status"); status != "400" {
				t.Errorf("answered %s", status)
			}
			break
		}
	}
	if n := w.refusals("content-length"); n != 1 {
		t.Errorf("it was counted %v times", n)
	}
}
