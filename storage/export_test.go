package storage

// WithDurable has f called before and after whatever of a copy a crash may come
// between; an error of f ends the copy there, as a crash would.
func WithDurable(o CopyOptions, f func(what string) error) CopyOptions {
	o.durable = f
	return o
}

// Die ends what a store does by itself, as the death of its process does; Close
// may follow, once nobody looks any more.
func (s *Store) Die() {
	s.failover.end.Do(func() { close(s.failover.stop) })
	<-s.failover.done
}
