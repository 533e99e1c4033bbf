//go:build !linux

package loop

import (
	"errors"
	"time"
)

const (
	arrived = uint32(1) << iota
	readable
	writable
	broken
)

const bellPlace = ^uint32(0)

// poller is none: there are no loops without epoll.
type poller struct{}

type event struct{}

func (*event) bits() uint32                         { return 0 }
func (*event) token() (place, generation uint32)    { return 0, 0 }
func newPoller() (poller, error)                    { return poller{}, errors.ErrUnsupported }
func (poller) close()                               {}
func (poller) add(int, uint32, uint32) error        { return errors.ErrUnsupported }
func (poller) remove(int)                           {}
func (poller) ring()                                {}
func (poller) hush()                                {}
func (poller) look([]event, time.Duration) []event  { return nil }
func (poller) sleep([]event, time.Duration) []event { return nil }
func shutdown(int)                                  {}
