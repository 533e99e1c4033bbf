// Command strangler moves a monolith's routes, and the data behind them, to
// extracted services, one at a time. Its verbs live in package cli.
package main

import (
	"os"

	"stranglerfig/strangler-proxy/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
