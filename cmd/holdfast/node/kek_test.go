package node

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
)

func TestTheKeysSectionNamesTheProvider(t *testing.T) {
	for want, k := range map[string]config.Keys{
		"kms-v2":              {KMSSocket: "/run/kms.sock"},
		"vault-transit/t/key": {Vault: config.Vault{Address: "https://v.example", Mount: "t", Key: "key", TokenFile: "f"}},
	} {
		kek, err := KEK(&k)
		if err != nil || kek.ID() != want {
			t.Errorf("%s: %v, error %v", want, kek, err)
		}
	}
	if _, err := KEK(&config.Keys{KEKFile: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("a file that is not there: %v", err)
	}
}
