package orders

import (
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/web"
)

const (
	pollEvery      = 250 * time.Millisecond
	heartbeatEvery = 10 * time.Second
)

// events streams an order's state, at once and whenever it changes, until the
// order is shipped or cancelled, the caller leaves or the shop stops.
func (s *Service) events(c echo.Context) error {
	order, err := s.order(c)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentType, "text/event-stream")
	c.Response().Header().Set(echo.HeaderCacheControl, "no-cache")
	c.Response().WriteHeader(http.StatusOK)
	if err := sendState(c, order); err != nil {
		return err
	}
	return s.follow(c, order)
}

func (s *Service) follow(c echo.Context, last *Order) error {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	ctx := c.Request().Context()
	for !last.St.final() {
		select {
		case <-ctx.Done():
			return nil
		case <-s.stopping:
			return nil
		case <-heartbeat.C:
			if err := send(c, ": heartbeat\n\n"); err != nil {
				return err
			}
		case <-poll.C:
			now, err := s.Find(ctx, web.ViewerOf(c), last.ID)
			if err != nil || now == nil {
				return err
			}
			if now.St != last.St {
				if err := sendState(c, now); err != nil {
					return err
				}
			}
			last = now
		}
	}
	return nil
}

func sendState(c echo.Context, order *Order) error {
	return send(c, fmt.Sprintf("event: status\ndata: {\"id\":%d,\"st\":%d}\n\n", order.ID, order.St))
}

func send(c echo.Context, text string) error {
	_, err := c.Response().Write([]byte(text))
	c.Response().Flush()
	return err
}
