package route_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/route"
)

func TestOwnerWordsAreReadAndPrinted(t *testing.T) {
	for text, want := range map[string]struct {
		owner   route.Owner
		printed string
	}{
		"monolith":        {route.Owner{Stage: route.Monolith, Share: 100}, "monolith"},
		"shadow":          {route.Owner{Stage: route.Shadow, Share: 100}, "shadow"},
		"shadow 100%":     {route.Owner{Stage: route.Shadow, Share: 100}, "shadow"},
		"shadow 25%":      {route.Owner{Stage: route.Shadow, Share: 25}, "shadow 25%"},
		"canary 10%":      {route.Owner{Stage: route.Canary, Share: 10}, "canary 10%"},
		"canary 100%":     {route.Owner{Stage: route.Canary, Share: 100}, "canary 100%"},
		" canary   0.01%": {route.Owner{Stage: route.Canary, Share: 0.01}, "canary 0.01%"},
		"canary 12.50%":   {route.Owner{Stage: route.Canary, Share: 12.5}, "canary 12.5%"},
		"service":         {route.Owner{Stage: route.Service, Share: 100}, "service"},
	} {
		got, err := route.ParseOwner(text)
		if err != nil || got != want.owner || got.String() != want.printed {
			t.Errorf("ParseOwner(%q) = %+v %q, %v; want %+v %q", text, got, got, err, want.owner, want.printed)
		}
	}
}

func TestWrongOwnerWordsAreRefusedWithWhatIsAccepted(t *testing.T) {
	for _, text := range []string{"", "serivce", "Service", "service 10%", "monolith 1%", "canary", "canary 10% now", "10%"} {
		if o, err := route.ParseOwner(text); err == nil || !strings.Contains(err.Error(), route.AcceptedOwners) {
			t.Errorf("ParseOwner(%q) = %v, %v; want an error that lists %q", text, o, err, route.AcceptedOwners)
		}
	}
	for _, share := range []string{"10", "0%", "0.009%", "100.1%", "-1%", "%", "ten%", "NaN%", "Inf%", "-Inf%", "10%%"} {
		if o, err := route.ParseOwner("canary " + share); err == nil || !strings.Contains(err.Error(), "0.01% to 100%") {
			t.Errorf("ParseOwner(%q) = %v, %v; want an error that says 0.01%% to 100%%", "canary "+share, o, err)
		}
	}
}

func TestAnyShareSurvivesPrintingAndReading(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		o := route.Owner{Stage: route.Shadow + route.Stage(random.IntN(2)), Share: 0.01 + random.Float64()*99.99}
		got, err := route.ParseOwner(o.String())
		if err != nil || got != o {
			t.Fatalf("%+v was printed as %q and read as %+v, %v", o, o, got, err)
		}
	}
}

func TestStepsUpAreToldFromStepsDown(t *testing.T) {
	ladder := []string{"monolith", "shadow 5%", "shadow", "canary 1%", "canary 50%", "canary 100%", "service"}
	for i, a := range ladder {
		for j, b := range ladder {
			if got := owner(t, a).Above(owner(t, b)); got != (i > j) {
				t.Errorf("%q above %q: %v", a, b, got)
			}
		}
	}
}

func TestRaisingACanaryKeepsWhoIsInIt(t *testing.T) {
	shares := []float64{0.01, 0.02, 0.5, 1, 5, 10, 33.33, 50, 99.99, 100}
	for bucket := range 10_000 {
		was := false
		for _, share := range shares {
			takes := route.Owner{Stage: route.Canary, Share: share}.Takes(bucket)
			if was && !takes {
				t.Fatalf("bucket %d left the canary when it was raised to %v%%", bucket, share)
			}
			was = takes
		}
		if !was {
			t.Fatalf("bucket %d is not in a canary of 100%%", bucket)
		}
	}
	if (route.Owner{Stage: route.Canary, Share: 0.01}).Takes(1) || !(route.Owner{Stage: route.Canary, Share: 0.01}).Takes(0) {
		t.Error("0.01% is one bucket of 10,000")
	}
}

func TestACanaryGetsItsShareWithinThreeSigma(t *testing.T) {
	const clients = 100_000
	for _, share := range []float64{1, 10, 50} {
		o := route.Owner{Stage: route.Canary, Share: share}
		in := 0
		for i := range clients {
			if o.Takes(route.Bucket("billing", "session-"+strconv.Itoa(i))) {
				in++
			}
		}
		p := share / 100
		sigma := math.Sqrt(clients * p * (1 - p))
		if off := math.Abs(float64(in) - clients*p); off > 3*sigma {
			t.Errorf("canary %v%%: %d of %d clients, %.1f sigma off", share, in, clients, off/sigma)
		}
	}
}

func TestBucketsAreStickyAndIndependentBySalt(t *testing.T) {
	same := 0
	for i := range 10_000 {
		key := strconv.Itoa(i)
		bucket := route.Bucket("billing", key)
		if again := route.Bucket("billing", key); again != bucket || bucket < 0 || bucket > 9999 {
			t.Fatalf("%s is in bucket %d, then in %d", key, bucket, again)
		}
		if route.Bucket("catalog", key) == bucket {
			same++
		}
	}
	if got := route.Bucket("billing", "session-1"); got != 7494 {
		t.Errorf("session-1 is in bucket %d: clients change sides when the proxy is updated", got)
	}
	if same > 10 { // expected is 1
		t.Errorf("%d of 10,000 clients have the same bucket under both salts", same)
	}
}

func owner(t testing.TB, text string) route.Owner {
	t.Helper()
	o, err := route.ParseOwner(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
