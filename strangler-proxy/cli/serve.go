package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/control"
)

// crashVariable names a point of an operation at which serve kills itself, as
// kill -9 would: for crash tests.
const crashVariable = "STRANGLER_CRASH_AT"

func (e *env) serveVerb() *cobra.Command {
	return verb("serve", "Stand in front of the monolith and serve", `serve listens for clients and for the admin API, resumes what an earlier
process left half done, and obeys strangler.yaml: saving the file reloads it.
It ends on SIGTERM or Ctrl-C after finishing the requests under way.`,
		cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(e.err, nil))
			c, err := control.Start(cmd.Context(), control.Options{Config: e.config, Log: log, Access: e.out, At: crashAt(os.Getenv(crashVariable))})
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "listening on %s\nadmin API on %s\n", c.URL, c.Admin)
			select {
			case <-cmd.Context().Done():
			case err := <-c.Failed():
				log.Error("a listener failed", "error", err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			return c.Close(ctx)
		})
}

// crashAt returns what is told the points of operations; nil without a point.
func crashAt(point string) func(string) {
	if point == "" {
		return nil
	}
	return func(passed string) {
		if passed != point {
			return
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err == nil {
			select {} // the signal is on its way
		}
	}
}
