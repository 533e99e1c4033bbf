// Package clock writes times the way the shop always has: local time of
// Berlin, to the second, without a zone.
package clock

import (
	"time"
	_ "time/tzdata" // the zone must be known on machines without zone files
)

// Layout is the form of every time in the database and the API.
const Layout = "2006-01-02 15:04:05"

// Berlin is the zone of the texts.
var Berlin = berlin()

func berlin() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic("the embedded zone data has no Europe/Berlin: " + err.Error())
	}
	return zone
}

// Text writes t as the shop does. In the hour that repeats when summer time
// ends the text is ambiguous.
func Text(t time.Time) string { return t.In(Berlin).Format(Layout) }

// Now is the present as text.
func Now() string { return Text(time.Now()) }

// Valid reports whether text is a time as Text writes it.
func Valid(text string) bool {
	_, err := time.Parse(Layout, text)
	return err == nil
}
