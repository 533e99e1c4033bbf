package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"stranglerfig/contract-tests/verify"
	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control"
	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) rehearseVerb() *cobra.Command {
	f := verifyFlags{pair: true, rehearsal: true, target: "monolith,service"}
	cmd := verb("rehearse CAPABILITY", "Do everything a cutover does up to its point of no return, and turn back",
		`A rehearsal holds writes, fences, drains and turns back: it proves that a cutover would
work, measures the pause, and proves the way back on real rows.

Where the capability declares a pair, what both sides write is compared before: the pair's
service is filled anew from the pair's monolith, the contract's interactions that write are
replayed on both, and the rows that each side wrote are compared through the mapping. Where
they differ, nobody is held.`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			cfg, p, err := e.declared(args[0])
			if err != nil {
				return err
			}
			q := api.OperateRequest{}
			if p.Pair != nil {
				if _, err := e.status(cmd); err != nil {
					return err // before anything is written for nothing
				}
				if q.Effects, err = e.compareEffects(cmd.Context(), cfg, p, f); err != nil {
					return err
				}
			}
			return e.runSwitch(cmd, p.Name, "rehearse", q)
		})
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "a header for every request to the pair, beside those that the file names")
	return cmd
}

// compareEffects replays what writes on the declared pair and says what became of
// it; where something does not hold, everything is shown.
func (e *env) compareEffects(ctx context.Context, cfg *config.Config, p *config.Capability, f verifyFlags) (*api.Effects, error) {
	r, err := e.replay(ctx, cfg, p, f)
	if err != nil {
		return nil, err
	}
	out := &api.Effects{Rows: r.rows}
	if out.Contract, err = control.ContractDigest(p.Contract); err != nil {
		return nil, err
	}
	if out.MonolithBuild, err = buildAt(ctx, r.targets[0].BaseURL, cfg.Monolith.Build); err != nil {
		return nil, err
	}
	if out.ServiceBuild, err = buildAt(ctx, r.targets[1].BaseURL, p.Service.Build); err != nil {
		return nil, err
	}
	out.Verdict, out.Summary = judgedEffects(r.run.Report, *out)
	if !e.json && out.Verdict != verify.Pass {
		return out, e.tell(r.run)
	}
	if !e.json {
		fmt.Fprintf(e.out, "  %s\n", out.Summary)
	}
	return out, nil
}

// judgedEffects is what a replay proves of what both sides write. A pending
// interaction is held against nobody, and one that was not sent wrote nothing:
// neither proves anything.
func judgedEffects(r verify.Report, e api.Effects) (verdict, summary string) {
	wrote, differ := 0, 0
	for _, i := range r.Interactions {
		if i.Verdict == verify.Evidence && verify.Writes(i) {
			wrote++
		}
		if len(i.Effects) > 0 && !i.Pending {
			differ++
		}
	}
	switch {
	case r.Verdict == verify.Insufficient:
		return r.Verdict, r.Lacks()
	case r.Verdict == verify.Fail:
		return r.Verdict, fmt.Sprintf("on the pair %d of %d interactions do not hold, and %d left different rows", r.Failed, len(r.Interactions), differ)
	case wrote == 0:
		return verify.Insufficient, fmt.Sprintf("none of %d interactions wrote and was held against the sides: %s", len(r.Interactions), aside(r))
	case r.Pending+r.NotExercised > 0:
		return r.Verdict, fmt.Sprintf("both sides of the pair wrote the same in %d of %d interactions, and %s; %d rows of %d tables were compared", r.Passed, len(r.Interactions), aside(r), e.Sum(), len(e.Rows))
	}
	return r.Verdict, fmt.Sprintf("both sides of the pair wrote the same %d rows of %d tables in %d interactions", e.Sum(), len(e.Rows), r.Passed)
}

// aside counts the interactions that prove nothing.
func aside(r verify.Report) string {
	return fmt.Sprintf("%d are pending, %d were not exercised", r.Pending, r.NotExercised)
}
