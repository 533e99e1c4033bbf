// Package schema holds the service's tables as numbered SQL files, one directory
// per database dialect.
package schema

import "embed"

// Files contains the directories "sqlite" and "postgres", each with files
// named as golang-migrate expects them.
//
//go:embed sqlite/*.sql postgres/*.sql
var Files embed.FS
