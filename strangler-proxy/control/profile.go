package control

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"stranglerfig/strangler-proxy/control/api"
)

const (
	profileFor  = 30 * time.Second // where it is not said for how long
	profileMost = 5 * time.Minute
)

// getProfile answers with a profile of this process, for go tool pprof: of the
// processors for a while, or of what there is of something now.
func (c *Control) getProfile(x echo.Context) error {
	name := x.Param("name")
	if name == "cpu" {
		return c.profileProcessors(x)
	}
	of := pprof.Lookup(name)
	if of == nil {
		return &api.Error{Text: fmt.Sprintf("there is no profile %q", name), Hint: "accepted are cpu, heap, allocs, goroutine, block, mutex, threadcreate", Code: api.ExitNo}
	}
	x.Response().Header().Set(echo.HeaderContentType, echo.MIMEOctetStream)
	return of.WriteTo(x.Response(), 0)
}

func (c *Control) profileProcessors(x echo.Context) error {
	lasts := profileFor
	if asked := x.QueryParam("seconds"); asked != "" {
		n, err := strconv.Atoi(asked)
		if lasts = time.Duration(n) * time.Second; err != nil || n < 1 || lasts > profileMost {
			return &api.Error{Text: fmt.Sprintf("seconds=%q is no number from 1 to %.0f", asked, profileMost.Seconds()), Code: api.ExitNo}
		}
	}
	x.Response().Header().Set(echo.HeaderContentType, echo.MIMEOctetStream)
	var profile bytes.Buffer // which pprof fills beside us
	if err := pprof.StartCPUProfile(&profile); err != nil {
		x.Response().Header().Del(echo.HeaderContentType)
		return &api.Error{Text: "the processors are being profiled already", Hint: "try again when that has ended", Code: api.ExitNo}
	}
	x.Response().WriteHeader(http.StatusOK)
	x.Response().Flush() // from now on it counts
	timer := time.NewTimer(lasts)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.Request().Context().Done():
	case <-c.ctx.Done():
	}
	pprof.StopCPUProfile()
	_, err := profile.WriteTo(x.Response())
	return err
}
