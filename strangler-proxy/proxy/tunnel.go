package proxy

import (
	"errors"
	"io"
	"time"

	"stranglerfig/strangler-proxy/http1"
)

// afterwards is how long one direction of a tunnel may go on when the other
// one has ended.
const afterwards = time.Minute

var errTunnel = errors.New("the backend switched to a protocol that the client did not ask for")

// tunnel passes on that the backend has taken up the WebSocket protocol, and
// from then on whatever either side sends. Tunnels of other kinds would bypass
// every route.
func (c *conn) tunnel() error {
	if !http1.SameName(c.req.Upgrade, "websocket") || !http1.SameName(c.res.Upgrade, "websocket") {
		c.flight.status = 0
		return errTunnel
	}
	c.hush()
	c.leave()
	b := c.appendStatus(c.out[:0])
	for i := range c.res.Fields {
		if !c.res.Hop(i) {
			b = appendField(b, c.res.Fields[i].Name, c.res.Fields[i].Value)
		}
	}
	c.out = append(c.appendOurs(append(b, "Connection: Upgrade\r\nUpgrade: "+c.res.Upgrade+"\r\n"...)), "\r\n"...)
	c.begun, c.last = true, true
	if err := c.writeClient(append(c.out, c.back.unread()...)); err != nil {
		return err
	}
	c.back.release()
	c.client.SetDeadline(time.Time{})
	c.up.SetDeadline(time.Time{})
	client, backend := c.client.Conn.(tunnelled), tunnelled(c.up)
	if tcp := c.up.TCP(); tcp != nil {
		backend = tcp // which the kernel can move bytes from
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer c.endTunnel(client, backend)
		if _, err := c.up.Write(c.in.unread()); err == nil {
			c.in.release()
			pour(backend, client)
		}
	}()
	func() {
		defer c.endTunnel(client, backend)
		pour(client, backend)
	}()
	<-ended
	c.up.Close()
	c.up = nil
	return nil
}

// endTunnel ends a tunnel of which one direction has met a defect of ours, so
// that the other one ends as well. It is deferred by both.
func (c *conn) endTunnel(client, backend tunnelled) {
	if reason := recover(); reason != nil {
		c.proxy.mishap(reason)
		client.Close()
		backend.Close()
	}
}

// tunnelled is either end of a tunnel.
type tunnelled interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(time.Time) error
}

// pour passes on what one end sends until it ends, tells the other end, and
// gives that one a while to end as well.
func pour(to, from tunnelled) {
	_, err := io.Copy(to, from)
	if err != nil || to.CloseWrite() != nil {
		to.Close()
		from.Close()
		return
	}
	to.SetDeadline(time.Now().Add(afterwards))
}
