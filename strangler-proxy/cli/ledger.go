package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"stranglerfig/strangler-proxy/control/api"
)

func (e *env) ledgerVerifyVerb() *cobra.Command {
	var head string
	cmd := verb("verify", "Check that no entry was changed, removed or cut off",
		`Each entry is bound to the one before it by its hash. Entries that were cut off at the
end, and a ledger written anew as a whole, show only by the hash of an entry that was
kept elsewhere: verify prints the last one, and --head asks for it.

  strangler ledger verify --head 5d1c…`, cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			l, err := e.openLedger()
			if err != nil {
				return err
			}
			defer l.Close()
			last, err := l.VerifySince(cmd.Context(), head)
			if err != nil {
				return &api.Error{Text: err.Error(), Hint: fmt.Sprintf("trust what the first %d entries say, and look for a copy of the state's folder", last.Seq), Code: api.ExitNo}
			}
			if e.json {
				e.print(map[string]any{"ok": true, "entries": last.Seq, "head": last.Hash})
				return nil
			}
			fmt.Fprintf(e.out, "%d entries, each bound to the one before it\nhead: %s\n", last.Seq, last.Hash)
			return nil
		})
	cmd.Flags().StringVar(&head, "head", "", "the hash of an entry that was kept elsewhere: it must still be there")
	return cmd
}
