// Package clock translates between the times of the database, which are UTC,
// and those of the API, which are local time of Berlin as the shop's callers
// know them.
package clock

import (
	"fmt"
	"time"
	_ "time/tzdata" // the zone must be known on machines without zone files
)

// layout is the form of a time in the API.
const layout = "2006-01-02 15:04:05"

var berlin = zone()

func zone() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic("the embedded zone data has no Europe/Berlin: " + err.Error())
	}
	return zone
}

// Now is the present as the database keeps it: RFC 3339 in UTC, to the second.
func Now() string { return time.Now().UTC().Format(time.RFC3339) }

// Shown is a time of the database as the API shows it. In the hour that
// repeats when summer time ends the text is ambiguous.
func Shown(stored string) (string, error) {
	t, err := time.Parse(time.RFC3339, stored)
	if err != nil {
		return "", fmt.Errorf("time %q in the database is not RFC 3339: %w", stored, err)
	}
	return t.In(berlin).Format(layout), nil
}
