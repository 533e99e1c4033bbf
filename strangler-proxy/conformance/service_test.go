package conformance

func becomeService() bool { return false }
