// Package require says what tests may not do without.
package require

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Env is the variable that lists, with commas, what is required: what is missing
// then fails tests instead of skipping them.
const Env = "STRANGLER_TEST_REQUIRE"

// Asked reports whether something is required.
func Asked(what string) bool {
	return slices.Contains(strings.Split(os.Getenv(Env), ","), what)
}

// Missing leaves a test out because something is missing, or fails it where that is
// required.
func Missing(t testing.TB, what string, why any) {
	t.Helper()
	if Asked(what) {
		t.Fatalf("%s asks for %s: %v", Env, what, why)
	}
	t.Skip(why)
}
