package proxy

import "sync"

// mostInterims is how many interim answers may wait for a client to take them;
// more are left out, which a client must not mind: RFC 9110, 15.2.
const mostInterims = 16

// interims are the interim answers of a backend on their way to a client, as
// net/http hands them out: on the goroutine that reads all that this backend
// sends, also to others. So they are written on another one, whoever takes them
// slowly, and never beside the final answer.
type interims struct {
	write    func([]byte) error
	defect   func(reason any) // told of one of ours
	mu       sync.Mutex
	waiting  [][]byte
	over     bool // none is taken any more
	writing  bool
	failed   error // why one could not be written, perhaps in its middle
	finished sync.WaitGroup
}

// take has an interim answer written, unless too many wait or the final one has
// come.
func (i *interims) take(answer []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over || len(i.waiting) == mostInterims {
		return
	}
	i.waiting = append(i.waiting, answer)
	if !i.writing {
		i.writing = true
		i.finished.Go(i.send)
	}
}

// send writes what waits until nothing does.
func (i *interims) send() {
	defer func() {
		if reason := recover(); reason != nil {
			i.defect(reason)
			i.stop(errGone)
		}
	}()
	for {
		i.mu.Lock()
		if len(i.waiting) == 0 {
			i.writing = false
			i.mu.Unlock()
			return
		}
		next := i.waiting[0]
		i.waiting = i.waiting[1:]
		i.mu.Unlock()
		if err := i.write(next); err != nil {
			i.stop(err)
		}
	}
}

// stop says that nothing can be written any more.
func (i *interims) stop(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over, i.waiting, i.failed = true, nil, err
}

// end waits until what has come is written. What comes later is left out. After
// an error nothing more may be written, since half an answer may have been.
func (i *interims) end() error {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
	i.finished.Wait()
	return i.failed
}
