// Package schema holds the service's tables as numbered SQL files.
package schema

import "embed"

// Files contains the directory "sqlite" with files named as golang-migrate
// expects them.
//
//go:embed sqlite/*.sql
var Files embed.FS
