package engine

import "stranglerfig/migrations/cutover"

// slugs name the actions in steps and points.
var slugs = map[cutover.Action]string{
	cutover.BumpGainer: "bump", cutover.Hold: "hold", cutover.FenceLoser: "fence",
	cutover.AwaitMarker: "drain", cutover.VerifyTouched: "verify", cutover.ClaimGainer: "claim",
	cutover.Flip: "flip", cutover.Release: "release", cutover.Publish: "publish",
	cutover.UnfenceLoser: "unfence", cutover.AskGainer: "ask",

	cutover.PrepareBoth: "install", cutover.Recut: "recut", cutover.Backfill: "backfill", cutover.Follow: "follow",
	cutover.StopStreams: "stop", cutover.Retire: "retire", cutover.Dismantle: "remove",
}

// Points lists the named points that an operation passes when nothing fails, in
// order. The operation is a switch, "cutover" or "rollback", its "rehearsal", or
// another one: "prepare", "copy", "verify", "resume", "cancel" or "complete". Copies pass
// their after-chunk with every chunk.
func Points(operation string) []string {
	names := map[string][]string{
		"prepare":   {"begun", "after-service", "after-monolith", "after-install", "settled"},
		"copy":      {"begun", "after-recut", "after-chunk", "after-backfill", "after-follow", "settled"},
		"verify":    {"begun", "settled"},
		"resume":    {"begun", "after-recut", "after-chunk", "after-backfill", "after-follow", "settled"},
		"rehearsal": {"intent", "after-bump", "after-hold", "after-fence", "after-drain", "after-verify", "after-unfence", "after-release", "settled"},
		"cancel":    {"begun", "after-stop", "after-service", "after-monolith", "after-remove", "settled"},
		"complete":  {"begun", "after-stop", "after-retire", "after-service", "after-monolith", "after-remove", "settled"},
	}[operation]
	if names == nil {
		names = switchPoints
	}
	points := make([]string, len(names))
	for i, name := range names {
		points[i] = operation + "." + name
	}
	return points
}

// switchPoints are those of either switch.
var switchPoints = []string{
	"intent", "after-bump", "after-hold", "after-fence", "after-drain", "after-verify",
	"after-claim", "after-flip", "after-release", "after-publish", "settled",
}
