/**
 * Client of Holdfast, the broker that owns an organisation's Atlassian refresh tokens.
 * See the README for how to begin.
 *
 * @packageDocumentation
 */
export { Client, defaultTimeoutMs, type ClientOptions, type CommonOptions, type PlayedOptions, type SourceOptions } from "./client.js";
export type { ConnectionOptions } from "./connection.js";
export type { Clock } from "./clock.js";
export {
  AppPaused, CallerNotAllowed, CallerUnauthenticated, ClientClosed, ConfigError, ConsentRequired, GrantNotFound,
  GrantQuarantined, GrantRevoked, HoldfastError, InvalidRequest, RefusedOrigin, ScopeNotGranted, SiteAmbiguous,
  SiteNotGranted, Unreachable, type Reason, type Refusal,
} from "./errors.js";
export type { Fetch, FetchOptions } from "./fetch.js";
export type { TokenSource, Waiting } from "./source.js";
export type { AccessToken, Site } from "./token.js";
export type { WatchEvent } from "./watch.js";
export type { Broker } from "./work.js";
