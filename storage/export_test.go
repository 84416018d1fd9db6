package storage

// WithDurable has f called before and after whatever of a copy a crash may come
// between; an error of f ends the copy there, as a crash would.
func WithDurable(o CopyOptions, f func(what string) error) CopyOptions {
	o.durable = f
	return o
}
