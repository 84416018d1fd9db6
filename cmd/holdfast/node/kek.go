package node

import (
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/storage/seal"
	"github.com/holdfast-io/holdfast/storage/seal/kmsv2"
	"github.com/holdfast-io/holdfast/storage/seal/transit"
)

// KEK is the key-encryption key that k names. A file is read; nobody else is asked yet.
func KEK(k *config.Keys) (seal.KEK, error) {
	switch {
	case k.KMSSocket != "":
		return kmsv2.New(k.KMSSocket)
	case k.Vault != (config.Vault{}):
		v := k.Vault
		return transit.New(transit.Config{
			Address: v.Address, Mount: v.Mount, Key: v.Key, TokenFile: v.TokenFile, Namespace: v.Namespace, CAFile: v.CAFile,
		})
	}
	return seal.ReadFile(k.KEKFile)
}
