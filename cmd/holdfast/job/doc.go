// Package job owns the way of a token into a command that knows nothing of brokers:
// as variables of its environment, or as a file that is kept fresh while it runs. It
// runs the command as if the caller had: exit code and signals pass, and no token
// stands on a command line, where every user of the machine could read it. How to get
// a token is its caller's affair.
package job
