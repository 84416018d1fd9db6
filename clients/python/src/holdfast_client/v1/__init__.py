"""The contract as generated from its protos: messages and gRPC stubs.

Everything here but this text is written by a machine. The face meant for people is the
package above; this one is for what that has no words for, such as ``ConsentService``.
Never log a message: it prints its fields, and tokens are among them.
"""
