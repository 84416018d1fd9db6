package config

// Keys says what wraps the store's root key, without which nothing in it opens:
// exactly one of the three.
type Keys struct {
	// KEKFile holds the key-encryption key as `holdfast keys create` writes it.
	KEKFile string `yaml:"kek_file"`
	// KMSSocket is the unix socket of a KMS v2 plugin, as Kubernetes uses them.
	KMSSocket string `yaml:"kms_socket"`
	// Vault is the transit secrets engine of HashiCorp Vault or OpenBao.
	Vault Vault `yaml:"vault"`
}

// Vault is a key of a transit secrets engine. The zero value: none.
type Vault struct {
	// Address of the server, https; plain http on loopback only, as of an agent. Required.
	Address string `yaml:"address"`
	// Key is its name. Required. Its token needs update on MOUNT/encrypt/KEY and MOUNT/decrypt/KEY.
	Key string `yaml:"key"`
	// Mount of the engine. Default "transit".
	Mount string `yaml:"mount"`
	// TokenFile holds the token; it is read again for each use. Required.
	TokenFile string `yaml:"token_file"`
	// Namespace that the engine is mounted in. Default: none.
	Namespace string `yaml:"namespace"`
	// CAFile holds the certificates, PEM, that sign the server's. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// paths are the fields that name files.
func (k *Keys) paths() []*string {
	return []*string{&k.KEKFile, &k.KMSSocket, &k.Vault.TokenFile, &k.Vault.CAFile}
}
