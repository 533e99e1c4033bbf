// Package loop runs connections on event loops: a goroutine for each, on which all
// of its connections take turns. Where package net parks a goroutine and has
// Go's scheduler find it again, a loop asks the kernel which of its sockets are
// ready and switches to their coroutines itself, which costs a fraction.
//
// What runs on a loop is a [Task]: a function that is written like any other,
// and that lets others go on wherever it waits for one of its sockets, see
// [Source]. It must not wait for anything else, because all the others would wait
// with it. Where it has to, it has that done [Task.Apart], or it leaves the loop
// for good by [Task.Leave] and goes on as an ordinary goroutine. Tasks that go on
// at the same time also read and write together, where the kernel can do that.
//
// The pattern is the Reactor's (D. Schmidt, 1995), with a coroutine in place of
// each handler. Start at [Start].
package loop

import (
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Group is a number of loops.
type Group struct {
	loops  []*Loop
	work   sync.WaitGroup
	noRing error // why each call is made by itself
}

// Options say what loops are started.
type Options struct {
	Loops int // how many
	// Together is how many tasks have to go on at the same time for their reads
	// and writes to be made together; 2 where it is 0, from which on it is worth it.
	Together int
	OneByOne bool // each read and write is to be made by itself
}

// Start starts loops, which Close ends. The error is [errors.ErrUnsupported] where
// there is no epoll.
//
// A loop keeps one of Go's processors, also while it waits for a moment, so
// GOMAXPROCS is raised, by half as many: with none more, everything else starves
// beside busy loops, and with as many it gets in their way.
func Start(o Options) (*Group, error) {
	if o.Together == 0 {
		o.Together = 2
	}
	g := &Group{}
	for range o.Loops {
		p, err := newPoller()
		if err != nil {
			for _, l := range g.loops {
				l.close()
			}
			return nil, err
		}
		l := &Loop{poller: p, soonest: never}
		if !o.OneByOne && g.noRing == nil {
			l.lots, g.noRing = newLots(o.Together)
		}
		g.loops = append(g.loops, l)
	}
	if g.noRing != nil { // what is true of one loop is true of all
		for _, l := range g.loops {
			l.lots.close()
			l.lots = lots{}
		}
	}
	raiseProcessors(raised(o.Loops))
	for _, l := range g.loops {
		g.work.Go(l.run)
	}
	return g, nil
}

// NoRing is why reads and writes are made one by one, which costs more, although
// they need not be; nil: there is no reason.
func (g *Group) NoRing() error {
	if g == nil {
		return nil
	}
	return g.noRing
}

// Close waits until the tasks of all loops have ended, or left, and ends the
// loops.
func (g *Group) Close() {
	for _, l := range g.loops {
		l.post(func() { l.ending = true })
	}
	g.work.Wait()
	raiseProcessors(-raised(len(g.loops)))
}

// processors are those that loops have added to Go's.
var processors struct {
	sync.Mutex
	added int
}

// raised is by how many processors n loops raise their number.
func raised(n int) int { return (n + 1) / 2 }

func raiseProcessors(by int) {
	processors.Lock()
	defer processors.Unlock()
	processors.added += by
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + by)
}

// Processors is how many processors Go has without those that loops have added.
func Processors() int {
	processors.Lock()
	defer processors.Unlock()
	return runtime.GOMAXPROCS(0) - processors.added
}

// Pick returns the loop that has the fewest tasks; nil where there is none.
func (g *Group) Pick() *Loop {
	if g == nil {
		return nil
	}
	var least *Loop
	for _, l := range g.loops {
		if least == nil || l.tasks.Load() < least.tasks.Load() {
			least = l
		}
	}
	return least
}

// Loop is one of them.
type Loop struct {
	poller poller
	tasks  atomic.Int64 // on the loop

	mu     sync.Mutex // guards the following
	posted []func()
	ended  bool   // nobody performs them any more
	slots  []slot // of sources, by their places
	free   []uint32

	// What follows is the loop's own.
	running *Task
	waiting []*Task // for a source
	turns   []*Task // that have had theirs
	lots    lots
	rested  []*routine // for further tasks
	spent   int        // of the running task's turn
	soonest int64      // no deadline that is waited for comes before it
	now     int64      // nanoseconds after start
	ending  bool
}

// slot has a source. Its generation tells it from those that had the place
// before, of which the kernel may still have something to say.
type slot struct {
	source     *Source
	generation uint32
}

const (
	never    = math.MaxInt64
	batch    = 256              // events that are taken at once
	patience = time.Millisecond // that a loop keeps its processor while nothing happens
)

// start is when time begins.
var start = time.Now()

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(int64(t.Sub(start)), 1)
}

func moment(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(nanos))
}

// post has f done on the loop.
func (l *Loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 && !l.ended {
		l.poller.ring()
	}
}

// run is the loop.
func (l *Loop) run() {
	defer l.end()
	events, ready := make([]event, batch), make([]*Source, batch)
	for !l.ending || l.tasks.Load() > 0 {
		happened := l.wait(events)
		l.now = int64(time.Since(start))
		l.lots.expect(len(happened) + len(l.turns))
		rung := l.sources(happened, ready)
		// All is noted before anyone goes on, who could otherwise take a
		// connection for alive of which the end has been told.
		for i, s := range ready[:len(happened)] {
			if s != nil {
				s.state.Or(happened[i].bits())
			}
		}
		for i, s := range ready[:len(happened)] {
			ready[i] = nil
			if s != nil && s.waiter != nil && happened[i].bits()&s.wanted != 0 {
				l.resume(s.waiter, nil)
			}
		}
		l.makeLots()
		if rung {
			l.perform()
		}
		l.takeTurns()
		l.makeLots() // of those who have had another turn
		if l.now >= l.soonest {
			l.expire()
		}
	}
}

func (l *Loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, r := range l.rested {
		r.next()
	}
	l.close()
}

func (l *Loop) close() {
	l.poller.close()
	l.lots.close()
}

// wait waits until something happens. For a moment it does so without a word to
// Go's scheduler, which would have to be told twice, and be watchful meanwhile.
func (l *Loop) wait(events []event) []event {
	if len(l.turns) > 0 || l.lots.asked() {
		return l.poller.look(events, 0)
	}
	left := l.left()
	if happened := l.poller.look(events, min(left, patience)); len(happened) > 0 || left <= patience {
		return happened
	}
	return l.poller.sleep(events, l.left())
}

// left is how long it is until the next deadline.
func (l *Loop) left() time.Duration {
	return max(time.Duration(l.soonest)-time.Since(start), 0)
}

// sources looks up whom events are about. It reports whether the bell was among
// them.
func (l *Loop) sources(happened []event, to []*Source) (rung bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range happened {
		place, generation := happened[i].token()
		if place == bellPlace {
			rung = true
			continue
		}
		if s := &l.slots[place]; s.generation == generation {
			to[i] = s.source
		}
	}
	return rung
}

// perform does what was posted.
func (l *Loop) perform() {
	l.poller.hush()
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// takeTurns lets those go on who had their turn before.
func (l *Loop) takeTurns() {
	for range len(l.turns) {
		t := l.turns[0]
		l.turns[0] = nil
		l.turns = l.turns[1:]
		l.resume(t, nil)
	}
}

// expire ends the waits whose time is over.
func (l *Loop) expire() {
	l.soonest = never
	var over []*Task
	for _, t := range l.waiting {
		switch by := t.by.Load(); {
		case by == 0:
		case by <= l.now:
			over = append(over, t)
		default:
			l.soonest = min(l.soonest, by)
		}
	}
	for _, t := range over {
		l.resume(t, os.ErrDeadlineExceeded)
	}
}

// resume lets a task go on until it waits again, leaves or ends.
func (l *Loop) resume(t *Task, woken error) {
	if t.by != nil {
		l.forget(t)
	}
	t.woken = woken
	l.running, l.spent = t, 0
	t.routine.next()
	l.running = nil
	switch {
	case t.left:
		l.tasks.Add(-1)
		go t.routine.next()
	case t.routine.waits():
		l.tasks.Add(-1)
		l.rest(t.routine)
	}
}

// await notes that the running task waits until a time, and lets others go on.
func (l *Loop) await(by *atomic.Int64) error {
	t := l.running
	t.by, t.place = by, len(l.waiting)
	l.waiting = append(l.waiting, t)
	if at := by.Load(); at != 0 && at < l.soonest {
		l.soonest = at
	}
	t.pause()
	return t.woken
}

// forget notes that a task does not wait any more.
func (l *Loop) forget(t *Task) {
	last := l.waiting[len(l.waiting)-1]
	l.waiting[t.place], last.place = last, t.place
	l.waiting[len(l.waiting)-1] = nil
	l.waiting = l.waiting[:len(l.waiting)-1]
	t.by = nil
}
