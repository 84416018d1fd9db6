/**
 * What unit tests of programs that use this package need.
 *
 * @packageDocumentation
 */
export { FakeBroker, type FakeBrokerOptions } from "./broker.js";
export { FakeClock } from "./clock.js";
