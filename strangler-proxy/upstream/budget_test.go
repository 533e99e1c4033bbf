package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// spent takes retries until there is none.
func (b *budget) spent() (n int) {
	for b.spend() {
		n++
	}
	return n
}

func TestRetriesAreAShareOfTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		if n := b.spent(); n != retryFloor {
			t.Errorf("%d retries without a request, want %d", n, retryFloor)
		}
		for range 20*retryShare + retryShare - 1 {
			b.earn()
		}
		if n := b.spent(); n != 20 {
			t.Errorf("%d retries for %d requests, want 20", n, 21*retryShare-1)
		}
		if used, denied := b.used.Load(), b.denied.Load(); used != retryFloor+20 || denied != 2 {
			t.Errorf("%d are counted as used, %d as refused", used, denied)
		}
	})
}

func TestAFewRetriesASecondAreThereInAnyCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		b.spent()
		for range 4 {
			time.Sleep(time.Second)
			if n := b.spent(); n != retryFloor {
				t.Errorf("%d retries after a second, want %d", n, retryFloor)
			}
		}
	})
}

func TestRetriesThatAreSavedUpAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		for range 100 * retrySaved * retryShare {
			b.earn()
		}
		if n := b.spent(); n != retrySaved+retryFloor {
			t.Errorf("%d retries were saved up, want %d", n, retrySaved+retryFloor)
		}
	})
}
