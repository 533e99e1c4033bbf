package loop

import (
	"sync/atomic"

	"stranglerfig/strangler-proxy/kernel"
)

// Task is a function that runs on a loop. Its methods are for itself, and may be
// called on nil, which is no task and on no loop.
type Task struct {
	loop    *Loop
	routine *routine // that runs it
	left    bool

	// What follows is the loop's, while the task waits.
	by    *atomic.Int64 // until when; nil: it does not wait for a source
	place int           // among those who wait
	woken error         // what ended the wait
	call  kernel.Call   // that it has the kernel make
	asks  *Source       // of what
}

// Go runs f on the loop.
func (l *Loop) Go(f func(*Task)) {
	l.tasks.Add(1)
	l.post(func() { l.resume(l.task(f), nil) })
}

// task readies a task, which was counted.
func (l *Loop) task(f func(*Task)) *Task {
	t := &Task{loop: l, routine: l.routine()}
	t.routine.task, t.routine.f = t, f
	return t
}

// Go runs f as another task on the loop that this one is on, as soon as it lets
// others go on; where it is on none, as a goroutine, with no task.
func (t *Task) Go(f func(*Task)) {
	l := t.Loop()
	if l == nil {
		go f(nil)
		return
	}
	l.tasks.Add(1)
	l.turns = append(l.turns, l.task(f))
}

// Loop returns the loop that the task is on; nil if it is on none.
func (t *Task) Loop() *Loop {
	if t == nil || t.left {
		return nil
	}
	return t.loop
}

// Leave has the task go on as an ordinary goroutine from here on. It must have
// no source on the loop any more.
func (t *Task) Leave() {
	if t.Loop() == nil {
		return
	}
	t.left = true
	t.pause()
}

// Apart does what may take a while on a goroutine of its own and waits for it,
// while others go on. What f panics with goes on here.
func (t *Task) Apart(f func()) {
	l := t.Loop()
	if l == nil {
		f()
		return
	}
	var reason any
	go func() {
		defer l.post(func() { l.resume(t, nil) })
		defer func() { reason = recover() }()
		f()
	}()
	t.pause()
	if reason != nil {
		panic(reason)
	}
}

// share is how many times a task may go on without waiting until others have
// their turn.
const share = 64

// spend counts what a task has done without waiting.
func (l *Loop) spend() {
	if l.spent++; l.spent >= share {
		t := l.running
		l.turns = append(l.turns, t)
		t.pause()
	}
}

// pause lets others go on until the loop resumes the task.
func (t *Task) pause() { t.routine.yield(struct{}{}) }
