// Package postgres runs the released binary on a real PostgreSQL without any
// trouble: what an installation of one and of two replicas does on a good day.
// What they do on bad days is in packages chaos and patroni.
package postgres
