package http1

// Vet refuses the head of a request that came in another version of HTTP, has
// been read by somebody else, and could not be said in HTTP/1.1 or would be
// refused there: a backend of any kind is to see the same requests whatever
// the client speaks. The reasons are those of [Request.Parse], and the error
// is a *Refusal.
//
// The authority is what the client calls the host (:authority in HTTP/2); it
// may not be missing, as it may in a Host field.
func Vet(method, target, authority string, header map[string][]string, l Limits) error {
	switch {
	case !isMethod(method):
		return errMethod
	case authority == "":
		return errHostMissing
	case !isHost(authority):
		return errHost
	}
	r := Request{Method: method, Minor: 1}
	if err := r.target(target); err != nil {
		return err
	}
	if r.Host != "" && !SameName(r.Host, authority) {
		return errAuthority
	}
	r.Host = authority
	count := 0
	for name, values := range header {
		if count += len(values); count > l.Fields {
			return errFields
		}
		if name == "" || !all(name, inName) {
			return errName
		}
		for _, value := range values {
			if err := checkValue(value); err != nil {
				return err
			}
			if _, err := r.look(Field{Name: name, Value: value}); err != nil {
				return err
			}
		}
	}
	return nil
}
