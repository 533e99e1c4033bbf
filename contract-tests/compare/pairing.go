package compare

// mostUnordered bounds the pairs that an unordered comparison tries: beyond
// this many elements without an identical partner, it gives up and says so.
const mostUnordered = 256

// pairUp finds as many pairs as possible among those that fit, by augmenting
// paths (the Hungarian method for bipartite graphs): a first come, first served
// choice could leave elements over that fit elsewhere. It returns the partner of
// each of wanted that has one.
func pairUp(wanted, left []int, fits func(e, a int) bool) map[int]int {
	owner := map[int]int{} // by element of left
	known := map[[2]int]bool{}
	var place func(e int, tried map[int]bool) bool
	place = func(e int, tried map[int]bool) bool {
		for _, a := range left {
			if tried[a] {
				continue
			}
			fit, ok := known[[2]int{e, a}]
			if !ok {
				fit = fits(e, a)
				known[[2]int{e, a}] = fit
			}
			if !fit {
				continue
			}
			tried[a] = true
			if previous, taken := owner[a]; !taken || place(previous, tried) {
				owner[a] = e
				return true
			}
		}
		return false
	}
	for _, e := range wanted {
		place(e, map[int]bool{})
	}
	partner := map[int]int{}
	for a, e := range owner {
		partner[e] = a
	}
	return partner
}
