package cli

import (
	"testing"

	"stranglerfig/strangler-proxy/config"
)

func TestADeclaredPairIsOpenedAsItIsWritten(t *testing.T) {
	cluster := "postgres://strangler@one:5432,two:5432/pair"
	p := &config.Capability{Pair: &config.Pair{}}
	p.Pair.Monolith.Database, p.Pair.Service.Database = cluster, "sqlite:pair, the second.db"
	d, err := databasesOf(p, "--pair", "")
	if err != nil || d.monolith != cluster || d.service != "sqlite:pair, the second.db" {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = databasesOf(p, "--pair", "service=sqlite:b.db, monolith=sqlite:a.db")
	if err != nil || d != (databases{by: "--pair", monolith: "sqlite:a.db", service: "sqlite:b.db"}) {
		t.Errorf("a flag comes first: %+v, %v", d, err)
	}
}
