/**
 * The generated code of the contract, for calls that this package has no face for: make
 * a client of a service with @connectrpc/connect.
 *
 * @packageDocumentation
 */
export * from "./gen/holdfast/v1/admin_service_pb.js";
export * from "./gen/holdfast/v1/consent_service_pb.js";
export * from "./gen/holdfast/v1/error_reason_pb.js";
export * from "./gen/holdfast/v1/grant_pb.js";
export * from "./gen/holdfast/v1/token_service_pb.js";
