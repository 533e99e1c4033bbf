//go:build linux

package loop_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"stranglerfig/strangler-proxy/loop"
)

// TestTasksTakeTurnsOnFewGoroutines however many there were at the same time: some
// are kept, and none is left once the loop has ended.
func TestTasksTakeTurnsOnFewGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	g, err := loop.Start(loop.Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	l := g.Pick()
	crowd := func(n int, f func(*loop.Task)) {
		var all sync.WaitGroup
		all.Add(n)
		l.Go(func(t *loop.Task) {
			for range n {
				t.Go(func(t *loop.Task) {
					defer all.Done()
					f(t)
				})
			}
		})
		all.Wait()
	}
	crowd(100, func(*loop.Task) {})
	count := make(chan int)
	l.Go(func(*loop.Task) { count <- runtime.NumGoroutine() })
	if kept := <-count - before; kept < 10 || kept > 20 { // the loop's own is among them
		t.Errorf("%d goroutines are kept", kept)
	}
	// Those who leave go on, and take along what others could have used.
	leave := make(chan struct{})
	var left sync.WaitGroup
	left.Add(10)
	l.Go(func(t *loop.Task) {
		for range 10 {
			t.Go(func(t *loop.Task) {
				defer left.Done()
				t.Leave()
				<-leave
			})
		}
	})
	crowd(100, func(t *loop.Task) {
		if t.Loop() != l {
			panic("a task is not on its loop")
		}
	})
	close(leave)
	left.Wait()
	g.Close()
	for until := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
		}
	}
}
