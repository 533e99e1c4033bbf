package loop

import "iter"

// routine is a coroutine that runs tasks, one after the other: making one, whose
// stack then has to grow, costs as much as a short task does.
type routine struct {
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	task  *Task // that it runs; nil: it waits for one
	f     func(*Task)
}

// keptRoutines is how many a loop keeps for tasks to come.
const keptRoutines = 16

// routine takes one that waits for a task, or makes one.
func (l *Loop) routine() *routine {
	if last := len(l.rested) - 1; last >= 0 {
		r := l.rested[last]
		l.rested[last] = nil
		l.rested = l.rested[:last]
		return r
	}
	r := &routine{}
	r.next, _ = iter.Pull(r.run)
	return r
}

// run runs tasks until none is given to it, or one has left the loop, where nobody
// could give it another.
func (r *routine) run(yield func(struct{}) bool) {
	r.yield = yield
	for r.task != nil {
		r.f(r.task)
		if r.task.left {
			return
		}
		r.task, r.f = nil, nil
		yield(struct{}{})
	}
}

// waits reports whether the task that it ran has ended.
func (r *routine) waits() bool { return r.task == nil }

// rest keeps one whose task has ended, or ends it where enough are kept.
func (l *Loop) rest(r *routine) {
	if len(l.rested) < keptRoutines {
		l.rested = append(l.rested, r)
		return
	}
	r.next()
}
